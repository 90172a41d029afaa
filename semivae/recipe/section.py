"""What every part of a recipe is made of: a section that takes no unknown key, and numbers within bounds."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticKnownError

LARGEST_SEED = 2**63 - 1  # what torch's generators take


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):  # pydantic would take true for 1
        raise PydanticKnownError("float_type")
    return value


NoTruth = BeforeValidator(_no_truth)
Fraction = Annotated[float, NoTruth, Field(ge=0.0, le=1.0)]
ProperShare = Annotated[float, NoTruth, Field(gt=0.0, lt=1.0)]
Dropout = Annotated[float, NoTruth, Field(ge=0.0, lt=1.0)]
Positive = Annotated[int, NoTruth, Field(ge=1)]
PositiveFloat = Annotated[float, NoTruth, Field(gt=0.0)]
NonNegative = Annotated[float, NoTruth, Field(ge=0.0)]
Seed = Annotated[int, NoTruth, Field(ge=0, le=LARGEST_SEED)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="lower-case letters, digits and _")]


class Section(BaseModel):
    """A part of a recipe. Unknown keys are errors, values never change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
