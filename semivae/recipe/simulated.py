"""Labels that are simulated from the true ones of a public data set, for recipes that anybody can run again."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from semivae.recipe.section import ClassName, Fraction, Name, Positive, Section, Seed


class SimulatedLabel(Section):
    """A further label that is made from the true one. Random choices come from a hash of the seed, the label's name and
    the number of the example, so everybody gets the same.

    Exactly one of `accuracy`, `groups` and `candidates` says what it is.
    """

    example: ClassVar[str] = "{accuracy: 0.6, wrong: next, one_of: crowd}"

    accuracy: Fraction | None = Field(
        None, description="What somebody wrote down: the right class with this probability, else a wrong one."
    )
    wrong: Literal["any", "next"] = Field(
        "any", description="Which wrong class is written down: `any`, all alike, or the `next` one in their order."
    )
    groups: dict[ClassName, tuple[ClassName, ...]] | None = Field(
        None, description="A coarse class: by coarse class, the classes in it."
    )
    candidates: Positive | None = Field(
        None, description="A set of candidates: the right class and so many wrong ones, all alike."
    )
    one_of: Name | None = Field(
        None, description="Of all labels that give the same name here, an example has one, drawn evenly."
    )
    seed: Seed = Field(0, description="Makes other random choices.")

    @model_validator(mode="after")
    def _one_form(self) -> SimulatedLabel:
        forms = [name for name in ("accuracy", "groups", "candidates") if getattr(self, name) is not None]
        if len(forms) != 1:
            said = " and ".join(forms) or "none"
            raise ValueError(f"needs exactly one of accuracy, groups and candidates, has {said}")
        if self.wrong != "any" and self.accuracy is None:
            raise ValueError("wrong: only a label with an accuracy can be wrong; remove it")
        return self
