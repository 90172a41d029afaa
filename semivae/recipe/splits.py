"""Which training examples of a recipe show their label."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from semivae.recipe.section import Count, Name, NoTruth, Positive, Section, Seed


class LongTailSpec(Section):
    """A long-tailed choice of labels: class frequencies fall geometrically, in the order of the classes."""

    example: ClassVar[str] = "{ratio: 10}"

    ratio: Annotated[float, Field(ge=1.0), NoTruth] = Field(
        description="How many times as frequent the first class is as the last one."
    )


class SplitSpec(Section):
    """Which training examples show their label; all others are unlabelled."""

    example: ClassVar[str] = "{labelled: 100, balance: balanced, seed: 0, validation: 1000}"

    labelled: Count | Literal["all"] = Field(
        description="How many training examples show their label; `all` shows every label that the data have, and 0 "
        "none, where further labels alone teach."
    )
    balance: Literal["balanced", "proportional"] | LongTailSpec = Field(
        "balanced",
        description="How the labels are distributed over the classes: equally, as in the data, or with a long tail.",
    )
    seed: Seed = Field(
        0, description="Chooses the labelled and the validation examples; independent of `training.seed`."
    )
    validation: Count = Field(
        0, description="How many further training examples are held out for validation and calibration."
    )
    also_labelled: dict[Name, Positive | Literal["all"]] = Field(
        {},
        description="By further label, such as a coarse class `c` or what an annotator wrote down: how many of the "
        "other training examples show it. The labelled examples show all that is known of them.",
    )

    @model_validator(mode="after")
    def _long_tail_needs_a_number(self) -> SplitSpec:
        if self.labelled == "all" and isinstance(self.balance, LongTailSpec):
            raise ValueError("labelled: all shows every label there is, so a ratio has no use; say how many labels")
        return self
