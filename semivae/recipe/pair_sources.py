"""Sources that put real images together, to try kinds of labels on them."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from semivae.recipe.section import Section, Seed, Side


class DigitPairsSource(Section):
    """Two digits side by side, and the attributes `y`: which of the ten digits occur. A simulation on real images, to
    try attributes as labels: the same section always gives the same images. The further labels `left` and `right` are
    the digits themselves.
    """

    example: ClassVar[str] = "{name: digit_pairs, of: mnist, size: 14}"

    name: Literal["digit_pairs"] = Field(description="Selects this kind of source.")
    of: Literal["digits", "mnist", "fashion_mnist"] = Field(
        "mnist", description="The data set whose images are put side by side, each of them once."
    )
    size: Side | None = Field(
        None, description="Height and width to which each image is scaled, in pixels. By default they keep their size."
    )
    seed: Seed = Field(0, description="Chooses the pairs; independent of `training.seed`.")
