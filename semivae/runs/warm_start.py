"""Starting from the weights of an earlier run: the same networks, perhaps other data and other classes.

The weights are those that the earlier run evaluates: its decoder, and the average of its encoder. Where classes were
added, dropped or put in another order, what belongs to a class goes by its name: its row of a head, its entry of p(y),
and the columns of networks that are given it. What belongs to a class that the earlier run did not know stays as it was
initialised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from semivae.errors import RunError
from semivae.game.conditionals import Conditional
from semivae.game.players import Player
from semivae.recipe import Recipe
from semivae.runs.model import TrainedModel
from semivae.scenario.build import blank_players
from semivae.text import join_names


def start_from(run: TrainedModel, classes: Sequence[str], recipe: Recipe, decoder: Player, encoder: Player) -> None:
    """Gives new players the weights of an earlier run.

    Args:
        run: the earlier run.
        classes: of the primary label in the new data, in the order of their numbers.
        recipe: the new one, as resolved.
        decoder, encoder: its players.

    Raises:
        RunError: factors or networks differ.
    """
    change = _change_of(run, classes, recipe)
    for name, player, earlier in (("decoder", decoder, run.decoder), ("encoder", encoder, run.encoder)):
        _refuse_other_factors(run, name, player, earlier)
        weights, before = player.state_dict(), {key: value.cpu() for key, value in earlier.state_dict().items()}
        if differing := sorted(set(weights) ^ set(before)):
            raise RunError(_refusal(run, f"{name}.{differing[0]} is in one of them only"))
        for key, new in weights.items():
            path, old = f"{name}.{key}", before[key]
            if change is not None and path in change.axes:
                axis, per_class = change.axes[path]
                _refuse_other_shape(run, path, _without(new, axis), _without(old, axis))
                _copy_by_class(new, old, axis, per_class, _factor_of(player, key), change)
            else:
                _refuse_other_shape(run, path, new.shape, old.shape)
                new.copy_(old)


def class_changes(run: TrainedModel, classes: Sequence[str]) -> str:
    """Returns in words which classes the earlier run knew, and which are new or gone; empty where all are the same."""
    if not run.classes or tuple(classes) == run.classes:
        return ""
    new, gone = ([name for name in a if name not in b] for a, b in ((classes, run.classes), (run.classes, classes)))
    parts = [f"{what}: {join_names(names)}" for what, names in (("new classes", new), ("classes gone", gone)) if names]
    return "; ".join(parts) or "the classes are in another order"


@dataclass(frozen=True)
class _Change:
    """How classes have changed.

    Attributes:
        label: whose classes.
        classes: of the new data.
        known: of the earlier run.
        axes: by path of a tensor, its axis that grows with the classes, and by how much for each.
    """

    label: str
    classes: Sequence[str]
    known: Sequence[str]
    axes: Mapping[str, tuple[int, int]]


def _change_of(run: TrainedModel, classes: Sequence[str], recipe: Recipe) -> _Change | None:
    if not run.classes or tuple(classes) == run.classes:
        return None
    label = run.label
    own, theirs = (_class_axes(each, label) for each in (recipe, run.recipe))
    return _Change(label, classes, run.classes, {path: axis for path, axis in own.items() if theirs.get(path) == axis})


def _class_axes(recipe: Recipe, label: str) -> dict[str, tuple[int, int]]:
    """By path of a tensor, its axis that grows with the classes of a label, and by how much for each class.

    Found by building the networks twice without memory, once with one class more.
    """
    if label not in recipe.variables:
        return {}
    variable = recipe.variables[label]
    more = variable.model_copy(update={"classes": (variable.classes or 0) + 1})
    grown = recipe.model_copy(update={"variables": dict(recipe.variables) | {label: more}})
    grown = grown.model_copy(update={"decoder": {**grown.decoder, **_uniform_priors(grown, label)}})
    found = {}
    for name, one, other in zip(("decoder", "encoder"), blank_players(recipe), blank_players(grown), strict=True):
        larger = other.state_dict()
        for key, value in one.state_dict().items():
            for axis, (before, after) in enumerate(zip(value.shape, larger[key].shape, strict=True)):
                if before != after:
                    found[f"{name}.{key}"] = (axis, after - before)
    return found


def _uniform_priors(recipe: Recipe, label: str) -> dict[str, str]:
    """A prior of the label that fits any number of classes, in the place of stated probabilities."""
    stated = label in recipe.decoder and not isinstance(recipe.decoder[label], str)
    return {label: "uniform"} if stated and not hasattr(recipe.decoder[label], "given") else {}


def _factor_of(player: Player, key: str) -> Conditional:
    """The factor that a key of the player's `state_dict` belongs to."""
    return next(player[name] for name in player.names if any(key == own for own in _keys_of(player, name)))


def _keys_of(player: Player, name: str) -> list[str]:
    factor = player[name]
    prefix = next(prefix for prefix, module in player.named_modules() if module is factor)
    return [f"{prefix}.{key}" for key in factor.state_dict()]


def _first_of_classes(factor: Conditional, label: str, length: int, per_class: int, classes: int) -> int:
    """Where the classes of a label begin along an axis: of a target at 0; among given values, vectors come last."""
    if factor.target.name == label:
        return 0
    order = [variable for variable in factor.given]
    place = [variable.name for variable in order].index(label)
    if order[place].is_image:
        return sum(variable.input_shape[0] for variable in order[:place] if variable.is_image) * per_class
    after = sum(math.prod(variable.input_shape) for variable in order[place + 1 :] if not variable.is_image)
    return length - after - classes * per_class


def _copy_by_class(new: Tensor, old: Tensor, axis: int, per_class: int, factor: Conditional, change: _Change) -> None:
    """Copies what belongs to known classes by their names, and what belongs to no class by its place."""
    first = _first_of_classes(factor, change.label, new.shape[axis], per_class, len(change.classes))
    old_first = _first_of_classes(factor, change.label, old.shape[axis], per_class, len(change.known))
    end, old_end = first + len(change.classes) * per_class, old_first + len(change.known) * per_class
    pairs = [(entry, entry - first + old_first, 1.0) for entry in range(first)]
    pairs += [(entry, entry - end + old_end, 1.0) for entry in range(end, new.shape[axis])]
    # a class is given to networks as a one-hot of length sqrt(classes) (`semivae.game.families`)
    scale = 1.0 if factor.target.name == change.label else math.sqrt(len(change.known) / len(change.classes))
    for number, name in enumerate(change.classes):
        if name in change.known:
            start, old_start = first + number * per_class, old_first + change.known.index(name) * per_class
            pairs += [(start + part, old_start + part, scale) for part in range(per_class)]
    if not pairs:
        return
    targets, sources, scales = (torch.tensor(column) for column in zip(*pairs, strict=True))
    shape = [-1 if place == axis else 1 for place in range(new.dim())]
    new.index_copy_(axis, targets, old.index_select(axis, sources) * scales.view(shape).to(old.dtype))


def _without(tensor: Tensor, axis: int) -> tuple[int, ...]:
    return (*tensor.shape[:axis], *tensor.shape[axis + 1 :])


def _refuse_other_factors(run: TrainedModel, name: str, player: Player, earlier: Player) -> None:
    if set(player.names) != set(earlier.names):
        own, theirs = join_names(player.names), join_names(earlier.names)
        raise RunError(_refusal(run, f"the {name} has factors of {own} here, of {theirs} there"))


def _refuse_other_shape(run: TrainedModel, path: str, own: Sequence[int], earlier: Sequence[int]) -> None:
    if tuple(own) != tuple(earlier):
        raise RunError(_refusal(run, f"{path} has the shape {list(own)} here, {list(earlier)} there"))


def _refusal(run: TrainedModel, why: str) -> str:
    return (
        f"{run.path}: training cannot start from this run, whose networks are others: {why}. Use its recipe "
        f"({run.path}/recipe.yaml) with the new data and steps, or let single networks start from it "
        "(net: {name: run, path: ...}), or train without --from"
    )
