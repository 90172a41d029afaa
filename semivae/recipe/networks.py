"""The networks that a recipe may ask for, by name, with their options. `semivae.nets` makes them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from semivae.recipe.bodies import BodyNetSection, PretrainedUnetSpec, TimmSpec, TorchvisionSpec
from semivae.recipe.registered import NetworkName
from semivae.recipe.section import (
    MOST_STAGES,
    Blocks,
    Depth,
    Dropout,
    FilePath,
    Layers,
    Name,
    NoTruth,
    Positive,
    PositiveFloat,
    Section,
    Stages,
)

Activation = Literal["silu", "tanh", "relu"]
Option = bool | int | float | str


class MlpSpec(Section):
    """A fully connected network: all given variables are flattened and joined."""

    example: ClassVar[str] = "{name: mlp, hidden: [512, 512], dropout: 0.1}"

    name: Literal["mlp"] = Field(description="Selects this network.")
    hidden: Layers = Field((256, 256), description="The width of each hidden layer; [] makes the network linear.")
    dropout: Dropout = Field(0.0, description="The fraction of hidden units that is dropped in training.")
    activation: Activation = Field("silu", description="The activation function after every hidden layer.")
    skip: bool = Field(False, description="Add a linear map from the inputs to the outputs.")
    gain: PositiveFloat = Field(
        1.0,
        description="The scale of the last layer's first weights. With 0.1 a classifier starts undecided, and of few "
        "labels it then learns more.",
    )


class ConvSpec(Section):
    """A convolutional network from image to vector; each stage halves the image, and one hidden layer follows."""

    example: ClassVar[str] = "{name: conv, stem: 32, channels: [64, 128], hidden: 256}"

    name: Literal["conv"] = Field(description="Selects this network.")
    channels: Stages = Field((32, 64, 128), description="The channels of each stage.")
    stem: Positive | None = Field(
        None,
        description="The channels of an additional first 5x5 convolution that halves the image, which saves much time.",
    )
    hidden: Positive = Field(256, description="The width of the hidden layer.")
    dropout: Dropout = Field(0.0, description="The fraction of hidden units that is dropped in training.")


class WideResnetSpec(Section):
    """A wide residual network from image to vector (Zagoruyko and Komodakis 2016), with group norm."""

    example: ClassVar[str] = "{name: wide_resnet, depth: 28, width: 2}"

    name: Literal["wide_resnet"] = Field(description="Selects this network.")
    depth: Depth = Field(28, description="The number of layers, 6 n + 4: 10, 16, 22, 28, 40, ...")
    width: Positive = Field(2, description="The widening factor of the channels 16, 32 and 64.")
    dropout: Dropout = Field(0.0, description="The fraction of features that is dropped inside the blocks in training.")

    @model_validator(mode="after")
    def _depth_fits(self) -> WideResnetSpec:
        if self.depth < 10 or (self.depth - 4) % 6:
            raise ValueError(f"depth {self.depth} is not 6 n + 4; use 10, 16, 22, 28 or 40")
        return self


class PooledResnetSpec(Section):
    """A fast residual network from image to vector; each stage halves the image by pooling, and a mean follows."""

    example: ClassVar[str] = "{name: pooled_resnet, stem: 32, channels: [64, 128, 256]}"

    name: Literal["pooled_resnet"] = Field(description="Selects this network.")
    stem: Positive = Field(32, description="The channels of the first convolution, which works at full size.")
    channels: Stages = Field((64, 128, 256), min_length=1, description="The channels of each stage.")
    blocks: Annotated[int, Field(ge=0, le=MOST_STAGES), NoTruth] = Field(
        1, description="The number of residual blocks per stage, of two convolutions each."
    )
    dropout: Dropout = Field(0.0, description="The fraction of the pooled features that is dropped in training.")


class ValidConvSpec(Section):
    """A network of unpadded convolutions from image to vector (Flach et al. 2024), for images from 16x16 up."""

    example: ClassVar[str] = "{name: valid_conv, width: 32, hidden: 600}"

    name: Literal["valid_conv"] = Field(description="Selects this network.")
    width: Positive = Field(
        32, description="The channels of the first layers; later ones have twice and four times as many."
    )
    hidden: Positive = Field(600, description="The length of the feature vector.")
    activation: Activation = Field("tanh", description="The activation function after every layer but the last.")
    outside: Annotated[float, NoTruth] = Field(
        -1.0,
        description="The pad value beyond the border, as the network sees pixels: -1 is black for `bernoulli` images, "
        "-2 for `discretized_logistic` ones.",
    )


class ValidDeconvSpec(Section):
    """A network of unpadded transposed convolutions from vector to image, the mirror image of `valid_conv`."""

    example: ClassVar[str] = "{name: valid_deconv, width: 32}"

    name: Literal["valid_deconv"] = Field(description="Selects this network.")
    width: Positive = Field(
        32, description="The channels of the last layers; earlier ones have twice and four times as many."
    )
    activation: Activation = Field("tanh", description="The activation function after every layer but the last.")


class DeconvSpec(Section):
    """A convolutional network from vector to image: it starts at a small grid, which each stage doubles."""

    example: ClassVar[str] = "{name: deconv, channels: [128, 64, 32]}"

    name: Literal["deconv"] = Field(description="Selects this network.")
    channels: Stages = Field((128, 64, 32), min_length=1, description="The channels of each stage.")
    blocks: Blocks = Field(1, description="The number of residual blocks per stage.")


class UnetSpec(Section):
    """A U-Net from image to image (a segmentation map counts as an image), with skip connections and a global vector.

    The coarsest grid, averaged over its places, and all given vectors modulate every block on the way up.
    """

    example: ClassVar[str] = "{name: unet, channels: [32, 64, 128], patch: 2}"

    name: Literal["unet"] = Field(description="Selects this network.")
    channels: Stages = Field(
        (32, 64, 128), min_length=1, description="The channels of each level, from fine to coarse."
    )
    blocks: Blocks = Field(1, description="The number of residual blocks per level, on the way down and up.")
    hidden: Positive = Field(128, description="The length of the global vector.")
    patch: Literal[1, 2, 4] = Field(
        1,
        description="The finest level has one place per patch x patch pixels; 2 is about 4 times faster.",
    )
    dropout: Dropout = Field(0.0, description="The fraction of the global vector that is dropped in training.")
    modulate_down: bool = Field(
        False, description="The given vectors modulate the blocks on the way down, too: for flows, whose time is one."
    )


class OwnSpec(Section):
    """A network of your own, which a Python file registers (docs/tasks/own-method.md)."""

    example: ClassVar[str] = "{name: own, network: patches, options: {width: 64}}"

    name: Literal["own"] = Field(description="Selects this network.")
    network: NetworkName = Field(description="The name under which it is registered.")
    options: dict[str, Option | tuple[Option, ...]] = Field(
        {}, description="What its class is given beside the shapes, by name: numbers, strings, true or false, or lists."
    )


PlainNet = (
    MlpSpec
    | ConvSpec
    | WideResnetSpec
    | PooledResnetSpec
    | DeconvSpec
    | UnetSpec
    | ValidConvSpec
    | ValidDeconvSpec
    | OwnSpec
)


class RunSpec(BodyNetSection):
    """The encoder of an earlier run from image to vector, with a new head. That run may have had no labels.

    Its images had the same shape.
    """

    example: ClassVar[str] = "{name: run, path: runs/ladder, train: all, rate: 0.1}"

    name: Literal["run"] = Field(description="Selects this network.")
    path: FilePath = Field(description="The folder of the run; it is needed until the new training has begun.")
    factor: Name | None = Field(
        None,
        description="The encoder's factor whose network is taken; by default the label's, or that of the first "
        "variable inferred from the image alone; of a ladder, the network that its levels share.",
    )
    network: Annotated[PlainNet | TorchvisionSpec | TimmSpec, Field(discriminator="name")] | None = Field(
        None, description="The network of that factor; filled in when training starts."
    )
    family: str | None = Field(
        None, description="The family of the earlier run's images; filled in when training starts."
    )


BodySpec = TorchvisionSpec | TimmSpec | RunSpec | PretrainedUnetSpec
Net = Annotated[PlainNet | BodySpec, Field(discriminator="name")]


def title_of(net: Net) -> str:
    """Returns what a network is called where people read of it: of a user's own the name that it was registered by."""
    return net.network if isinstance(net, OwnSpec) else net.name
