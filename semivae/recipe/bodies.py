"""Bodies that a recipe may ask for: networks of torchvision and timm that were trained elsewhere."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from semivae.recipe.section import FilePath, Section, Side

ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.]*$")]


class BodySection(Section):
    """A network from pictures to features that was trained elsewhere, without its classifier."""

    model: ModelName = Field(description="The model's name in its library: resnet18, efficientnet_b0, vit_b_16, ...")
    weights: FilePath = Field(
        "default",
        description="`default` for those that the library publishes, downloaded once into its cache; a file of weights "
        "(.safetensors, or a state_dict as .pt or .pth, which starts at the data root and may hold no pickled code); "
        "or `none` for random ones.",
    )
    size: Side | None = Field(
        None,
        description="The side to which the network scales pictures (the shorter one; both where the model knows one "
        "size only). By default they stay as they are, of at least 32 pixels a side.",
    )


class TorchvisionBody(BodySection):
    """A model of torchvision."""

    example: ClassVar[str] = "{name: torchvision, model: resnet18}"

    name: Literal["torchvision"] = Field(description="Selects this library.")


class TimmBody(BodySection):
    """A model of timm: `pip install 'semivae[timm]'`."""

    example: ClassVar[str] = "{name: timm, model: tf_efficientnet_lite0, weights: lite0.safetensors}"

    name: Literal["timm"] = Field(description="Selects this library.")


Body = Annotated[TorchvisionBody | TimmBody, Field(discriminator="name")]
