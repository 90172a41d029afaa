"""Networks by name. Each maps (images, vectors) to the parameters of one conditional.

Every network is a module with
- `forward(images, vectors)`: images [batch, channels, height, width] or None, vectors [batch, size] or None, to
  parameters [batch, *output_shape];
- `features(images, vectors)`: the representation below its last layer, [batch, features].
"""

from __future__ import annotations

from torch import nn

from semivae.nets.convolutional import Conv, Deconv
from semivae.nets.mlp import Mlp
from semivae.nets.wide_resnet import WideResnet

NETS: dict[str, type[nn.Module]] = {"mlp": Mlp, "conv": Conv, "deconv": Deconv, "wide_resnet": WideResnet}

__all__ = ["NETS", "Conv", "Deconv", "Mlp", "WideResnet"]
