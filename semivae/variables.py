"""A random variable of the model: a name, a family and a shape. A label is a variable that some streams observe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from semivae.family_facts import FAMILY_FACTS, has_classes

if TYPE_CHECKING:
    from torch import Tensor  # whose import takes seconds, and shapes need none

VOID = -1  # at a place of a map, or of a vector of bits: not known; it adds nothing to any log-probability or score
Sample = dict[str, "Tensor"]
"""A batch of some variables, name to tensor [batch, *shape]. A variable that is missing is an absent key."""


def repeated(values: Tensor, count: int) -> Tensor:
    """Returns `count` values of fewer [n, ...]: the first one count / n times, then the second, and so on."""
    return values if len(values) == count else values.repeat_interleave(count // len(values), dim=0)


def drawn_name(variable: str, view: str) -> str:
    """Returns the key under which a batch holds a stored draw of a view beside the variable itself."""
    return f"{variable}.{view}"


Around = tuple["Tensor", "Tensor"]
"""Values [batch, *shape] that are known in part, and booleans of the same shape: where they are missing."""


PARAMETERS_PER_NUMBER = {name: facts.parameters for name, facts in FAMILY_FACTS.items() if not facts.classes}


TIME_FEATURES = 11  # numbers by which a network sees the time of a flow


def seen(values: Tensor) -> Tensor:
    """Returns which values [n, ...] of a label are known, bool [n].

    VOID, or NaN among numbers, stands for what is not known. Of a vector or a map, one known entry is enough.
    """
    known = ~values.isnan() if values.is_floating_point() else values != VOID
    return known.flatten(1).any(dim=1) if known.dim() > 1 else known


@dataclass(frozen=True)
class Variable:
    """One random variable.

    Args:
        name: what streams, factors and recipes call it.
        family: a name in `semivae.game.families.FAMILIES`.
        shape: shape of one value: () for a class or a number, (n,) for a code or a table row, (channels, height, width)
            for an image, (height, width) for a segmentation map.
        classes: number of classes of a variable whose values are classes, else None.
        complete_with: what a player hands to the other when it completes a sample: a draw (the method), the
            distribution's mean (less noise; Bernoulli, Gaussian and logistic variables only), or its mode (categorical
            variables only: the most likely class of every place).
        mean, deviation: of Gaussian numbers in a unit, one entry for each number. Networks see
            (value - mean) / deviation; everybody else sees values in the unit. Empty where there is no unit.
    """

    name: str
    family: str
    shape: tuple[int, ...]
    classes: int | None = None
    complete_with: Literal["sample", "mean", "mode"] = "sample"
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    @property
    def parameter_shape(self) -> tuple[int, ...]:
        """Shape of the parameters of one value, which a network puts out; channels, if any, come first."""
        if self.has_classes:
            return (self.class_count, *self.shape)
        first, *rest = self.shape or (1,)
        return (PARAMETERS_PER_NUMBER[self.family] * first, *rest)

    @property
    def network_shape(self) -> tuple[int, ...]:
        """Shape of what a network puts out of one value: its parameters, or what the family makes them from."""
        facts = FAMILY_FACTS.get(self.family)
        return self.parameter_shape if facts is None or facts.link is None else (facts.link, *self.shape)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one value as a network's input: classes are one-hot, a single number is a vector of one."""
        return (self.class_count, *self.shape) if self.has_classes else self.shape or (1,)

    @property
    def has_classes(self) -> bool:
        """Whether its values are classes."""
        return has_classes(self.family)

    @property
    def is_image(self) -> bool:
        """Whether a network sees it as an image, [channels, height, width]; a map is one."""
        return len(self.input_shape) == 3

    @property
    def is_bit_vector(self) -> bool:
        """Whether it is a vector of bits, of which some may be unknown (`VOID`)."""
        return self.family == "bernoulli" and len(self.shape) == 1

    @property
    def class_count(self) -> int:
        """The number of classes of a variable whose values are classes; ValueError where there is none."""
        if self.classes is None:
            raise ValueError(f"{self.family} variable {self.name} has no number of classes")
        return self.classes


def draft_of(image: Variable) -> Variable:
    """Returns the draft of an image, as a painter is given it; no variable of a recipe can have its name."""
    return Variable("draft picture", image.family, image.shape)


def painted(image: Variable) -> Variable:
    """Returns an image as a painter paints it: of grey pixels, which a decoder may score as bits, levels of 8 bits."""
    grey = image.family == "bernoulli" and image.is_image
    return replace(image, family="discretized_logistic" if grey else image.family, complete_with="sample")


def flow_inputs(target: Variable) -> tuple[Variable, Variable]:
    """Returns what the network of a flow is given beside the parents: the noisy state of the target, and the time.

    Their names are such that no variable of a recipe can have.
    """
    return Variable("noisy state", "gaussian", target.input_shape), Variable("flow time", "gaussian", (TIME_FEATURES,))
