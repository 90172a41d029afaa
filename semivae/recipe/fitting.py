"""Whether a network fits between what it is given and what it must put out. Imports no torch."""

from __future__ import annotations

import math

from semivae.recipe.bodies import PretrainedUnetSpec, TimmSpec, TorchvisionSpec
from semivae.recipe.networks import (
    DeconvSpec,
    MlpSpec,
    Net,
    OwnSpec,
    RunSpec,
    UnetSpec,
    ValidConvSpec,
    ValidDeconvSpec,
)

Shape = tuple[int, ...]
SMALLEST_SIDE = 16  # what unpadded convolutions leave nothing of
SMALLEST_OF_BODIES = 32  # what most bodies halve five times


def check_fit(net: Net, image: Shape | None, output: Shape) -> None:
    """Refuses a network that could not be built, or could not run.

    Args:
        net: the network as the recipe asks for it.
        image: (channels, height, width) of the images that it is given, joined; None if there are none.
        output: the shape of the parameters of one value.

    Raises:
        ValueError: the network does not fit; the message says why and which networks might.
    """
    if isinstance(net, MlpSpec | OwnSpec):
        return  # takes and makes anything; of a user's own network its building says so
    if isinstance(net, DeconvSpec | ValidDeconvSpec):
        if image is not None:
            raise ValueError(f"net {net.name} reads vectors, but an image is given; use mlp or conv")
        if len(output) != 3:
            raise ValueError(
                f"net {net.name} puts out an image [channels, height, width], and the variable is none; use mlp"
            )
        if isinstance(net, DeconvSpec):
            _check_stages(net, output)
        else:
            _check_sides(net, output)
        return
    if image is None:
        raise ValueError(f"net {net.name} reads an image, but no given variable is one; use mlp or deconv")
    if isinstance(net, UnetSpec):
        _check_unet(net, image, output)
        return
    if isinstance(net, PretrainedUnetSpec):
        _check_output_image(net, image, output)
        _check_picture(net.name, net.body.size, image)
        return
    if len(output) != 1:
        raise ValueError(f"net {net.name} puts out a vector, but the variable has rows and columns; use deconv or mlp")
    if isinstance(net, ValidConvSpec):
        _check_sides(net, image)
    elif isinstance(net, RunSpec):
        if net.network is not None:
            check_fit(net.network, image, (1,))
    elif isinstance(net, TorchvisionSpec | TimmSpec):
        _check_picture(net.name, net.size, image)


def _check_picture(name: str, size: int | None, image: Shape) -> None:
    """Refuses what a body cannot read."""
    channels, *sides = image
    if channels not in (1, 3):
        raise ValueError(f"net {name} reads one image in grey or in colour, and {channels} channels are given")
    if size is not None and size < SMALLEST_OF_BODIES:
        raise ValueError(f"net {name} needs a size of at least {SMALLEST_OF_BODIES}, not {size}")
    if size is None and min(sides) < SMALLEST_OF_BODIES:
        raise ValueError(
            f"net {name} needs images of at least {SMALLEST_OF_BODIES} pixels a side, not {sides}; say a size to "
            "which it scales them, such as size: 64"
        )


def _check_stages(net: DeconvSpec, output: Shape) -> None:
    enough = math.ceil(math.log2(max(output[1:])))
    if len(net.channels) > enough:
        raise ValueError(
            f"net deconv doubles the grid {len(net.channels)} times; for this image {enough} stages are enough"
        )


def _check_sides(net: ValidConvSpec | ValidDeconvSpec, image: Shape) -> None:
    if min(image[1:]) < SMALLEST_SIDE:
        raise ValueError(
            f"net {net.name} needs images of at least {SMALLEST_SIDE} pixels a side; use mlp, conv or deconv"
        )


def _check_output_image(net: UnetSpec | PretrainedUnetSpec, image: Shape, output: Shape) -> None:
    if len(output) != 3:
        raise ValueError(
            f"net {net.name} puts out an image or a map, and the variable is none; use conv or wide_resnet"
        )
    if output[1:] != image[1:]:
        raise ValueError(f"net {net.name} keeps the size, but {list(image[1:])} are given for {list(output[1:])}")


def _check_unet(net: UnetSpec, image: Shape, output: Shape) -> None:
    _check_output_image(net, image, output)
    sides = list(image[1:])
    multiple = net.patch * 2 ** (len(net.channels) - 1)
    if any(side % multiple for side in sides):
        raise ValueError(
            f"net unet with {len(net.channels)} levels and patch {net.patch} needs sides that are multiples of "
            f"{multiple}, not {sides}; use fewer channels entries, or another size"
        )
