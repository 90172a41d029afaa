"""The graphs that a plan is derived from: the factors of both players, what a stream shows, and who follows whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

PlayerName = Literal["decoder", "encoder"]
OTHER_PLAYER: dict[PlayerName, PlayerName] = {"decoder": "encoder", "encoder": "decoder"}
SYMBOL: dict[PlayerName, str] = {"decoder": "p", "encoder": "q"}


@dataclass(frozen=True)
class Factor:
    """A conditional as the plan sees it.

    Args:
        target: its variable.
        given: the parents.
        learnable: whether it learns.
        input: whether the target is what the encoder's inputs were computed from, which says nothing beside them.
    """

    target: str
    given: tuple[str, ...] = ()
    learnable: bool = True
    input: bool = False

    def text(self, player: PlayerName) -> str:
        """Returns the factor as a formula, such as p(x | y, h)."""
        given = f" | {', '.join(self.given)}" if self.given else ""
        return f"{SYMBOL[player]}({self.target}{given})"


Graphs = Mapping[PlayerName, tuple[Factor, ...]]
"""The factors of each player, in its ancestral order."""


@dataclass(frozen=True)
class StreamGraph:
    """A stream as the plan sees it: what it shows, the label of its self-training, and the factors switched off.

    `through` names what it shows that the encoder sees by way of another observed variable, a known function of it.
    """

    name: str
    observes: tuple[str, ...]
    pseudo_label: str | None = None
    vote: bool = False
    without: frozenset[tuple[PlayerName, str]] = frozenset()
    through: frozenset[str] = frozenset()


def variables_of(factors: Iterable[Factor]) -> set[str]:
    """Returns the targets of factors, and their parents."""
    return {name for factor in factors for name in (factor.target, *factor.given)}


def drawable(factors: Iterable[Factor], known: Iterable[str]) -> tuple[str, ...]:
    """Returns the unknown variables that a player can draw, in its order: their parents are known or drawn before."""
    available, draws = set(known), []
    for factor in factors:
        if factor.target not in available and available.issuperset(factor.given):
            available.add(factor.target)
            draws.append(factor.target)
    return tuple(draws)


def evidence_in(graphs: Graphs, observed: Iterable[str]) -> tuple[Factor, ...]:
    """Returns the decoder's factors of observed variables that are evidence: c, given one variable that is inferred.

    The encoder does not know c, and the decoder draws nothing from it. Whether the stream shows the parent, too, is not
    asked here: where it does, c says nothing more.
    """
    inferred = {factor.target for factor in graphs["encoder"]}
    parents = {parent for factor in graphs["decoder"] for parent in factor.given}
    unknown = set(observed) - variables_of(graphs["encoder"]) - parents
    return tuple(
        factor
        for factor in graphs["decoder"]
        if factor.target in unknown and not factor.input and len(factor.given) == 1 and factor.given[0] in inferred
    )


def evidence_of(labels: Iterable[str], evidence: Iterable[Factor]) -> tuple[str, ...]:
    """Returns the variables that are evidence of one of these labels."""
    return tuple(factor.target for factor in evidence if factor.given[0] in labels)


def observed_after(
    name: str, factors: Sequence[Factor], evidence: Sequence[Factor], observed: Iterable[str]
) -> list[str]:
    """Returns the observed descendants of a variable, evidence included, but for evidence of the variable itself."""
    family = {name}
    for factor in (*factors, *evidence):  # in ancestral order, so one pass reaches all descendants
        if family & set(factor.given):
            family.add(factor.target)
    after = family - {name, *evidence_of((name,), evidence)}
    return [other for other in observed if other in after]


def with_ancestors(names: set[str], factors: Sequence[Factor]) -> set[str]:
    """Returns these variables, and all that the factors of their player draw before them."""
    family = set(names)
    for factor in reversed(factors):  # against the ancestral order, so one pass reaches all ancestors
        if factor.target in family:
            family |= set(factor.given)
    return family
