"""Bodies that a recipe may ask for: networks of torchvision and timm that were trained elsewhere."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from semivae.recipe.section import Blocks, Dropout, FilePath, Layers, NoTruth, Positive, PositiveFloat, Section, Side
from semivae.text import short_repr


def _model(value: str) -> str:
    if not re.fullmatch(r"\w[\w.]*", value):
        raise ValueError(
            f"{short_repr(value)} is no name of a model, such as resnet18; for a file of weights, say its model here, "
            "and weights: FILE"
        )
    return value


ModelName = Annotated[str, AfterValidator(_model)]


class BodySection(Section):
    """A network from pictures to features that was trained elsewhere, without its classifier."""

    model: ModelName = Field(description="The model's name in its library: resnet18, efficientnet_b0, vit_b_16, ...")
    weights: FilePath = Field(
        "default",
        description="`default` for those that the library publishes, downloaded once into its cache; a file of weights "
        "(.safetensors, or a state_dict as .pt or .pth, which starts at the data root and may hold no pickled code); "
        "or `none` for random ones. A run keeps all weights, and needs neither again.",
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


class LearningSection(Section):
    """What of a body learns, and how fast."""

    train: Literal["head", "all"] | Positive = Field(
        "head",
        description="What learns: the `head` (all that is new) alone, `all`, or the head and so many of the body's "
        "last stages. Batch statistics of the body never change.",
    )
    rate: PositiveFloat = Field(0.1, description="The learning rate of the body's last stage, times the player's.")
    decay: Annotated[float, Field(gt=0.0, le=1.0), NoTruth] = Field(
        1.0, description="The factor from the learning rate of each stage to that of the stage before it."
    )

    @model_validator(mode="after")
    def _rates_belong_to_what_learns(self) -> LearningSection:
        defaults = {name: type(self).model_fields[name].default for name in ("rate", "decay")}
        for name, default in defaults.items():
            if self.train == "head" and getattr(self, name) != default:
                raise ValueError(f"{name} is for a body that learns, and train: head keeps it as it is; remove {name}")
        return self


class BodyNetSection(LearningSection):
    """What every network from image to vector on a body has: a head."""

    hidden: Layers = Field(
        (256,),
        description="The width of each hidden layer of the head; [] makes it linear. Other given values join it.",
    )
    dropout: Dropout = Field(
        0.0, description="The fraction of the features and of the head's hidden units that is dropped in training."
    )


class TorchvisionSpec(BodyNetSection, TorchvisionBody):
    """A model of torchvision from image to vector, trained elsewhere, with a new head.

    The image, grey or in colour, is normalised as the model's own training did. Other given values join its features.
    """

    example: ClassVar[str] = "{name: torchvision, model: resnet18, weights: default, train: 1, rate: 0.1}"


class TimmSpec(BodyNetSection, TimmBody):
    """A model of timm from image to vector, trained elsewhere, with a new head: `pip install 'semivae[timm]'`.

    The image, grey or in colour, is normalised as the model's own training did. Other given values join its features.
    """

    example: ClassVar[str] = "{name: timm, model: tf_efficientnet_lite0, weights: lite0.safetensors, hidden: []}"


class PretrainedUnetSpec(LearningSection):
    """A U-Net from one image to a map or an image, whose way down is a model that was trained elsewhere.

    Its way up is that of `unet`: skip connections, and a global vector that modulates every block.
    """

    example: ClassVar[str] = "{name: pretrained_unet, body: {name: torchvision, model: resnet18}, width: 32}"

    name: Literal["pretrained_unet"] = Field(description="Selects this network.")
    body: Body = Field(description="The model; one of convolutions, or a transformer of windows (swin).")
    width: Positive = Field(
        32, description="The channels of the finest level; each coarser one has twice as many, up to 8 times."
    )
    blocks: Blocks = Field(1, description="The number of residual blocks per level on the way up.")
    hidden: Positive = Field(128, description="The length of the global vector.")
    dropout: Dropout = Field(0.0, description="The fraction of the global vector that is dropped in training.")
