"""The section of a source of digits that are turned by a known angle."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from semivae.recipe.section import NoTruth, Section, Seed, Side

Angle = Annotated[float, Field(ge=-180.0, le=180.0), NoTruth]


class TurnedSource(Section):
    """Digits turned by a known random angle, which is the label y, in degrees; the digit is a further label, c.

    A simulation on real images, to try numbers as labels: the same section always gives the same images.
    """

    example: ClassVar[str] = "{name: turned, of: mnist, low: -60, high: 60, size: 14}"

    name: Literal["turned"] = Field(description="Selects this kind of source.")
    of: Literal["digits", "mnist", "fashion_mnist"] = Field(
        "mnist", description="The data set whose images are turned."
    )
    low: Angle = Field(-60.0, description="The smallest angle, in degrees; positive angles turn anticlockwise.")
    high: Angle = Field(60.0, description="The largest angle, in degrees.")
    size: Side | None = Field(
        None, description="Height and width to which the images are scaled, in pixels. By default they keep their size."
    )
    seed: Seed = Field(0, description="Chooses the angles; independent of `training.seed`.")

    @model_validator(mode="after")
    def _low_is_below_high(self) -> TurnedSource:
        if self.low >= self.high:
            raise ValueError(f"low is {self.low:g} and high {self.high:g}; low must be below high")
        return self
