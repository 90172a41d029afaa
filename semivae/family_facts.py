"""What is known of each family of distributions without torch: the one place that says whose values are classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class FamilyFacts:
    """What is known of a family of distributions without torch.

    Attributes:
        words: what its values are, for people.
        parameters: for each number of a value, such as 2 for location and scale; of classes it is one for each class.
        classes: whether its values are classes.
        link: how many numbers a network puts out where the family makes the parameters of a value from them
            (`Family.linked`); None: the parameters themselves.
    """

    words: str
    parameters: int = 1
    classes: bool = False
    link: int | None = None


FAMILY_FACTS: Mapping[str, FamilyFacts] = {
    "bernoulli": FamilyFacts("bits or grey values"),
    "categorical": FamilyFacts("classes", classes=True),
    "ordinal": FamilyFacts("ordered classes", classes=True, link=2),  # location and scale
    "gaussian": FamilyFacts("real numbers", parameters=2),  # location and scale
    "discretized_logistic": FamilyFacts("8-bit pixels", parameters=2),
}
"""The families that semivae itself gives, in order."""


def has_classes(family: str) -> bool:
    """Returns whether the values of a family are classes; those of a user's own families are numbers."""
    return family in FAMILY_FACTS and FAMILY_FACTS[family].classes


def is_discrete(family: str) -> bool:
    """Returns whether the values of a family are bits or classes."""
    return family == "bernoulli" or has_classes(family)
