"""Features: a variable that is a known function of the pictures, computed once by a frozen network and kept."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from semivae.recipe.bodies import Body
from semivae.recipe.folder_source import Fit
from semivae.recipe.section import Name, Positive, Section, Side


class FeatureSpec(Section):
    """A variable that is a known function of the pictures: what a frozen network makes of them.

    Every picture, and some random views of it, go through the network once. The results are kept on disk, standardised,
    and the game is played on them (docs/tasks/photographs.md).
    """

    example: ClassVar[str] = (
        "{of: x, net: {name: timm, model: tf_efficientnet_lite0}, size: 160, draws: {weak: 4, strong: 4}}"
    )

    of: Literal["x"] = Field("x", description="The variable that it is a function of: the pictures, x.")
    net: Body = Field(description="The network, which does not learn here.")
    size: Side = Field(
        224,
        description="The side, in pixels, at which the network sees the pictures, whatever size `source` gives to x.",
    )
    fit: Fit | None = Field(
        None, description="How a picture becomes a square of this side (see `source`); by default as x does."
    )
    components: Positive | None = Field(
        None,
        description="Keep so many principal components of the features, those in which pictures differ most. They are "
        "uncorrelated, so that a gaussian decoder of independent numbers is a better judge, and training is faster. By "
        "default all features are kept.",
    )
    mirror: bool = Field(
        False, description="Take the mean over a picture and its mirror image; not for digits or text."
    )
    draws: dict[Name, Positive] = Field(
        {},
        description="By name of an augmentation (from `views`), how many random draws of every training picture are "
        "kept. A stream that asks for such a view shows one of them, another at each step.",
    )
