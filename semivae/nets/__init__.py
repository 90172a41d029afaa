"""Networks by name. Each maps (images, vectors) to the parameters of one conditional.

Each is made from the shape of the given images (or None), the length of the given vectors, the shape of the output and
its options. `semivae.recipe.fitting.check_fit` says which shapes fit which network; the networks do not check again.

Every network is a module with
- `forward(images, vectors)`: images [batch, channels, height, width] or None, vectors [batch, size] or None, to
  parameters [batch, *output_shape];
- `features(images, vectors)`: the representation below its last layer, [batch, features].

A network that says `takes_fewer_images = True` may be given fewer images than vectors. Each image then goes with as
many vectors as the others, one after the other, and is read once: the decoder's vote asks of each with every class.
"""

from __future__ import annotations

from torch import nn

from semivae.nets.body_net import RunNet, TimmNet, TorchvisionNet
from semivae.nets.body_unet import PretrainedUnet
from semivae.nets.convolutional import Conv, Deconv
from semivae.nets.mlp import Mlp
from semivae.nets.pooled_resnet import PooledResnet
from semivae.nets.unet import Unet
from semivae.nets.valid_convolutional import ValidConv, ValidDeconv
from semivae.nets.wide_resnet import WideResnet

NETS: dict[str, type[nn.Module]] = {
    "mlp": Mlp,
    "conv": Conv,
    "deconv": Deconv,
    "wide_resnet": WideResnet,
    "pooled_resnet": PooledResnet,
    "unet": Unet,
    "valid_conv": ValidConv,
    "valid_deconv": ValidDeconv,
    "torchvision": TorchvisionNet,
    "timm": TimmNet,
    "run": RunNet,
    "pretrained_unet": PretrainedUnet,
}

__all__ = ["NETS", "Conv", "Deconv", "Mlp", "PooledResnet", "Unet", "ValidConv", "ValidDeconv", "WideResnet"]
