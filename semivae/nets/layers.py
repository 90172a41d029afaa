"""Pieces that several networks share: initialisation, norms, and joining what a network is given."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from semivae.nets.group_norm import GroupNorm

Shape = tuple[int, ...]


class _ByOutputs(torch.autograd.Function):
    """A tanh, whose gradient needs the outputs alone, which are saved."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (outputs,) = ctx.saved_tensors
        return torch.ops.aten.tanh_backward(gradient, outputs)  # type: ignore[no-any-return]


class _QuickTanh(_ByOutputs):
    """tanh(x) = 2 sigmoid(2 x) - 1, in place, within 3e-7: three times as fast on CPUs as torch 2.15's tanh.

    It is for the ladders of codes: their networks have tanh because those of Flach et al. 2024 have it, and they are
    measured beside the authors' code on CPUs (`benchmarks/hierarchies/`). Where torch's own is as fast, it can go.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values.mul_(2.0).sigmoid_().mul_(2.0).sub_(1.0)
        ctx.mark_dirty(values)
        ctx.save_for_backward(values)
        return values


class _OneDnnTanh(_ByOutputs):
    """tanh of oneDNN, as exact as torch's: in bfloat16 on CPUs it takes 0.4 of its time."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        last = values.dim() > 1 and not values.is_contiguous()  # of images, channels may lie last
        lying = values.movedim(1, -1) if last else values
        found = lying.reshape(-1).to_mkldnn().tanh_().to_dense().view(lying.shape)
        outputs = found.movedim(-1, 1) if last else found
        ctx.save_for_backward(outputs)
        return outputs


class Tanh(nn.Module):
    """tanh; on CPUs a quick one, torch's everywhere else, in exports too.

    Args:
        inplace: write over the input, as torch's other activations may; its own gradient needs only the outputs.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, values: Tensor) -> Tensor:
        quick: Tensor
        if torch.compiler.is_compiling() or values.device.type != "cpu":
            return values.tanh()
        if values.dtype == torch.bfloat16 and torch.cpu._is_avx512_bf16_supported():
            quick = _OneDnnTanh.apply(values)
            return quick
        if values.dtype != torch.float32:
            return values.tanh_() if self.inplace else values.tanh()
        quick = _QuickTanh.apply(values if self.inplace else values.clone())
        return quick


# a module for it, and the gain that keeps unit signal before it
ACTIVATIONS: dict[str, tuple[type[nn.Module], float]] = {
    "silu": (nn.SiLU, math.sqrt(2.0)),
    "tanh": (Tanh, 5.0 / 3.0),
    "relu": (nn.ReLU, math.sqrt(2.0)),
}


class WithoutInitialisation(TorchFunctionMode):
    """Inside, new networks keep whatever values their memory holds.

    It is for networks that are counted and not used, on the meta device: random numbers there would make torch import
    its compiler, which takes seconds.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.normal_, Tensor.uniform_) or getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def linear(inputs: int, outputs: int, gain: float = math.sqrt(2.0)) -> nn.Linear:
    """A linear layer at unit signal; `gain` is that of the activation that follows; biases zero (He et al. 2015)."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs))
    nn.init.zeros_(layer.bias)
    return layer


def convolution(
    inputs: int, outputs: int, size: int = 3, stride: int = 1, gain: float = math.sqrt(2.0), padding: int | None = None
) -> nn.Conv2d:
    """A convolution at unit signal gain, biases zero; padded to keep the size, unless `padding` says otherwise."""
    layer = nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2 if padding is None else padding)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs * size * size))
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def norm(channels: int) -> GroupNorm:
    """Group norm: the players' inputs differ in their statistics, so batch statistics would not do."""
    return GroupNorm(math.gcd(8, channels), channels)


def channels_last(images: Tensor) -> Tensor:
    """Returns images [batch, channels, height, width] with the channels of a place side by side in memory.

    All layers that follow keep that layout. On CPUs convolutions, and even more so poolings, are faster in it. Images
    of one channel lie either way, and torch takes their usual strides for channels that come first: they get others.
    """
    if images.shape[1] == 1 and not torch.compiler.is_compiling():
        return images.contiguous()[:, 0].unsqueeze(-1).movedim(-1, 1)
    return images.contiguous(memory_format=torch.channels_last)


def gradient_laid_last(images: Tensor) -> Tensor:
    """Returns images as they are; on CPUs the channels of their gradient will lie last, as theirs do.

    Gradients through `flatten` do not lie so, nor do those that are a part of a larger one: for the layer before, one
    copy then costs less than walking through memory in two orders at once.
    """
    if images.requires_grad and images.device.type == "cpu" and not torch.compiler.is_compiling():
        images.register_hook(channels_last)  # type: ignore[no-untyped-call]
    return images


def doubled(images: Tensor) -> Tensor:
    """Returns images with two places, down and across, for each of theirs."""
    return gradient_laid_last(F.interpolate(images, scale_factor=2, mode="nearest"))


def mean_over_places(images: Tensor) -> Tensor:
    """Returns the mean over height and width, [batch, channels], of images whose channels lie last.

    Its gradient lies like them. That of `mean(dim=(2, 3))` does not, and the layer before it then walks through memory
    in two orders at once: on CPUs five times as slow.
    """
    return images.movedim(1, -1).flatten(1, 2).mean(dim=1)


def joined(images: Tensor | None, vectors: Tensor | None) -> Tensor:
    """Returns everything that is given, flattened: [batch, size]. Of fewer images than vectors each is repeated."""
    if images is not None and vectors is not None and _fewer(images, vectors):
        images = images.repeat_interleave(len(vectors) // len(images), dim=0)
    parts = [part.flatten(1) for part in (images, vectors) if part is not None]
    return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


def linear_of_joined(layer: nn.Linear, images: Tensor | None, vectors: Tensor | None) -> Tensor:
    """Returns layer(joined(images, vectors)); of fewer images than vectors each is multiplied once."""
    if images is None or vectors is None or not _fewer(images, vectors):
        whole: Tensor = layer(joined(images, vectors))
        return whole
    flat, times = images.flatten(1), len(vectors) // len(images)
    of_images = F.linear(flat, layer.weight[:, : flat.shape[1]], layer.bias)
    of_vectors = F.linear(vectors, layer.weight[:, flat.shape[1] :])
    both: Tensor = (of_images.unsqueeze(1) + of_vectors.view(len(images), times, -1)).flatten(0, 1)
    return both


def _fewer(images: Tensor, vectors: Tensor) -> bool:
    return not torch.compiler.is_exporting() and len(images) != len(vectors)  # an export has one batch size


class SharedScale(nn.Module):
    """A network of locations, and beside them one learnt scale for each number, whatever is given.

    Args:
        net: puts out locations [batch, *shape].
        shape: of one value.
    """

    def __init__(self, net: nn.Module, shape: Shape) -> None:
        super().__init__()
        self.net = net
        self.raw_scale = nn.Parameter(torch.zeros(shape))

    def features(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        features: Tensor = self.net.features(images, vectors)  # type: ignore[operator]
        return features

    def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        """Returns locations and scales as a family takes them, [batch, 2 * shape[0], *shape[1:]]."""
        location: Tensor = self.net(images, vectors)
        return torch.cat([location, self.raw_scale.expand_as(location)], dim=1)


def without_head(net: nn.Module) -> tuple[nn.Module, int]:
    """The network up to its features, for others to build upon, and their number. It must put out a vector.

    Raises:
        ValueError: its last layer is not `head`, a linear one, as of a user's own network it may not be.
    """
    head = getattr(net, "head", None)
    if not isinstance(head, nn.Linear):
        raise ValueError("features of this network are built upon, so it must call its last layer head, an nn.Linear")
    net.head = nn.Identity()
    return net, head.in_features
