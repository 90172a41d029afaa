"""What every part of a recipe is made of: a section that takes no unknown key, and numbers within bounds."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticKnownError

from semivae.recipe.parsing import ESCAPED

LARGEST = LARGEST_SEED = 2**63 - 1  # of 64-bit integers, in which torch has sizes and seeds
MOST_LAYERS = 1000  # of a network without stages
MOST_STAGES = 50  # of one with stages, and blocks of a stage
MOST_PIXELS = 16_384  # a side of an image


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):  # pydantic would take true for 1
        raise PydanticKnownError("float_type")
    return value


NoTruth = BeforeValidator(_no_truth)
Fraction = Annotated[float, Field(ge=0.0, le=1.0), NoTruth]
ProperShare = Annotated[float, Field(gt=0.0, lt=1.0), NoTruth]
Dropout = Annotated[float, Field(ge=0.0, lt=1.0), NoTruth]
Positive = Annotated[int, Field(ge=1, le=LARGEST), NoTruth]
Count = Annotated[int, Field(ge=0, le=LARGEST), NoTruth]
Depth = Annotated[int, Field(ge=1, le=MOST_LAYERS), NoTruth]
Blocks = Annotated[int, Field(ge=1, le=MOST_STAGES), NoTruth]
Number = Annotated[float, NoTruth]
PositiveFloat = Annotated[float, Field(gt=0.0), NoTruth]
NonNegative = Annotated[float, Field(ge=0.0), NoTruth]
Layers = Annotated[tuple[Positive, ...], Field(max_length=MOST_LAYERS)]
Stages = Annotated[tuple[Positive, ...], Field(max_length=MOST_STAGES)]
Pixels = Annotated[int, Field(ge=1, le=MOST_PIXELS), NoTruth]
Side = Annotated[int, Field(ge=4, le=MOST_PIXELS), NoTruth]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED), NoTruth]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


ClassName = Annotated[str, BeforeValidator(_as_text)]  # YAML reads the class 3 as a number


def _path(value: str) -> str:
    for sign in value:
        if sign < " ":
            shown = repr(sign).strip("'")
            raise ValueError(f"has the control character {shown}: {ESCAPED}")
    return value


FilePath = Annotated[str, AfterValidator(_path)]


class Section(BaseModel):
    """A part of a recipe. Unknown keys are errors; values never change after reading.

    `example` is the section as a recipe may write it, shown in docs/recipe.md.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    example: ClassVar[str] = ""
