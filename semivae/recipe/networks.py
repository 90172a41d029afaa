"""The networks that a recipe may ask for, by name, with their options. `semivae.nets` makes them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from semivae.recipe.section import Dropout, NoTruth, Positive, Section

Activation = Literal["silu", "tanh", "relu"]


class MlpSpec(Section):
    """Fully connected: every given variable flattened and joined."""

    name: Literal["mlp"]
    hidden: tuple[Positive, ...] = (256, 256)
    dropout: Dropout = 0.0
    activation: Activation = "silu"
    skip: bool = Field(False, description="also a linear map from the inputs to the outputs")


class ConvSpec(Section):
    """Convolutional, image to vector: one stage per entry of `channels`, each halves the image; one hidden layer."""

    name: Literal["conv"]
    channels: tuple[Positive, ...] = (32, 64, 128)
    stem: Positive | None = Field(
        None, description="channels of a 5x5 convolution before, that halves the image: quick"
    )
    hidden: Positive = 256
    dropout: Dropout = 0.0


class WideResnetSpec(Section):
    """Wide residual network (Zagoruyko and Komodakis 2016) with group norm; depth is 6 n + 4."""

    name: Literal["wide_resnet"]
    depth: Positive = 28
    width: Positive = 2
    dropout: Dropout = 0.0

    @model_validator(mode="after")
    def _depth_fits(self) -> WideResnetSpec:
        if self.depth < 10 or (self.depth - 4) % 6:
            raise ValueError(f"depth {self.depth} is not 6 n + 4; use 10, 16, 22, 28 or 40")
        return self


class PooledResnetSpec(Section):
    """Residual, image to vector, made for few operations: one stage per entry of `channels`, each halves the image."""

    name: Literal["pooled_resnet"]
    stem: Positive = Field(32, description="channels of the first convolution, at full size")
    channels: tuple[Positive, ...] = Field((64, 128, 256), min_length=1)
    blocks: Annotated[int, NoTruth, Field(ge=0)] = 1
    dropout: Dropout = Field(0.0, description="of the features")


class ValidConvSpec(Section):
    """Image to vector by unpadded convolutions, as in Flach et al. 2024: width, then twice, then four times as many."""

    name: Literal["valid_conv"]
    width: Positive = 32
    hidden: Positive = 600
    activation: Activation = "tanh"
    outside: Annotated[float, NoTruth] = Field(
        -1.0, description="what is fed beyond the border: -1 is black in bits, -2 in bytes"
    )


class ValidDeconvSpec(Section):
    """Vector to image by unpadded transposed convolutions, the mirror of valid_conv (Flach et al. 2024)."""

    name: Literal["valid_deconv"]
    width: Positive = 32
    activation: Activation = "tanh"


class DeconvSpec(Section):
    """Convolutional, vector to image: starts at a small grid, one stage per entry of `channels`, each doubles it."""

    name: Literal["deconv"]
    channels: tuple[Positive, ...] = Field((128, 64, 32), min_length=1)
    blocks: Positive = 1


class UnetSpec(Section):
    """Image to image (a map counts as one): halves and doubles the grid, with skips and a global path.

    One level per entry of `channels`, from fine to coarse; the finest grid has `patch` times fewer places a side than
    the image. The pooled coarsest grid and all given vectors modulate every block on the way up.
    """

    name: Literal["unet"]
    channels: tuple[Positive, ...] = Field((32, 64, 128), min_length=1)
    blocks: Positive = 1
    hidden: Positive = 128
    patch: Literal[1, 2, 4] = 1
    dropout: Dropout = 0.0


Net = Annotated[
    MlpSpec | ConvSpec | WideResnetSpec | PooledResnetSpec | DeconvSpec | UnetSpec | ValidConvSpec | ValidDeconvSpec,
    Field(discriminator="name"),
]
