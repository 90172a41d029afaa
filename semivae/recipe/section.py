"""What every part of a recipe is made of: a section that takes no unknown key, and numbers within bounds."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticKnownError

LARGEST = 2**63 - 1  # of 64-bit integers, which torch computes sizes in
LARGEST_SEED = LARGEST  # what torch's generators take


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):  # pydantic would take true for 1
        raise PydanticKnownError("float_type")
    return value


NoTruth = BeforeValidator(_no_truth)
Fraction = Annotated[float, Field(ge=0.0, le=1.0), NoTruth]
ProperShare = Annotated[float, Field(gt=0.0, lt=1.0), NoTruth]
Dropout = Annotated[float, Field(ge=0.0, lt=1.0), NoTruth]
Positive = Annotated[int, Field(ge=1), NoTruth]
PositiveFloat = Annotated[float, Field(gt=0.0), NoTruth]
NonNegative = Annotated[float, Field(ge=0.0), NoTruth]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED), NoTruth]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Section(BaseModel):
    """A part of a recipe. Unknown keys are errors; values never change after reading.

    `example` is the section as a recipe may write it, shown in docs/recipe.md.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    example: ClassVar[str] = ""
