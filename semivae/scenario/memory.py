"""What training must hold in memory at least, estimated before anything is built or read into it.

The estimates are lower bounds, so that nothing is refused that could run: weights, gradients and moments of the
optimizer, and the values and network outputs of one batch, at 4 bytes a number. What layers keep for the backward pass
comes on top; where that is too much, training itself says so. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from semivae.errors import RecipeError
from semivae.game.plan import Plan
from semivae.recipe.schema import ConditionalSpec, PlayerOptimizers, Recipe
from semivae.scenario.plan import plan_of
from semivae.scenario.shapes import build_variables
from semivae.variables import Variable

if TYPE_CHECKING:
    from semivae.devices import Memory

NUMBER = 4  # bytes of a float32
CLASS = 8  # bytes of an int64
COPIES = {"adam": 4, "adamw": 4, "muon": 3}  # of every weight: itself, its gradient, and the optimizer's moments
WIDE, LONG, GIBIBYTE = 20_000, 1_000_000, 2**30  # layers, values and batches, from which on they look large
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")

Counts = Mapping[str, Mapping[str, int]]


@contextmanager
def refusing_overflow(where: str) -> Iterator[None]:
    """Inside, sizes beyond 64-bit integers, which torch refuses in many words, are a RecipeError at `where`."""
    try:
        yield
    except (RuntimeError, TypeError, OverflowError) as error:
        if "overflow" not in str(error).lower():
            raise
        raise RecipeError(
            f"{where}: more than 10^18 numbers, which no machine can hold; make its layers or the variables' shapes "
            f"smaller"
        ) from None


def refuse_large_networks(counts: Counts, memory: Memory) -> None:
    """Refuses networks whose bare weights do not fit into a memory.

    Args:
        counts: numbers by player and factor, as `semivae.scenario.build.parameter_counts` gives them.
        memory: where they would be built.

    Raises:
        RecipeError: the largest factor is named.
    """
    _refuse_networks(counts, dict.fromkeys(counts, 1), memory, {})


def refuse_large_training(
    recipe: Recipe, plan: Plan, counts: Counts, memory: Memory, frozen: Counts | None = None
) -> None:
    """Refuses a resolved recipe whose training cannot fit into a memory.

    Args:
        recipe: a resolved recipe.
        plan: its plan.
        counts: as for `refuse_large_networks`.
        memory: of the device that would train it.
        frozen: the numbers that do not learn, which are held once.

    Raises:
        RecipeError: the largest network or batch is named, with its bytes and the memory's.
    """
    _refuse_networks(counts, copies_of(recipe), memory, frozen or {})
    batches = batch_bytes(recipe, plan)
    name = max(batches, key=lambda stream: batches[stream])
    if batches[name] > memory.size:
        batch = recipe.streams[name].batch
        remedy = "make the batch smaller" if recipe.streams[name].vote is None else "make it or vote.draws smaller"
        raise RecipeError(
            f"streams.{name}.batch: {batch:,} examples of {batches[name] // batch:,} bytes each need at least "
            f"{in_bytes(batches[name])}, and {memory.owner} has {in_bytes(int(memory.size))} of memory; {remedy}"
        )


def looks_large(recipe: Recipe) -> bool:
    """Whether a recipe with all shapes may need so much memory that its parameters should be counted."""
    factors = [*recipe.encoder.values(), *recipe.decoder.values()]
    nets = [factor.net for factor in factors if isinstance(factor, ConditionalSpec)]
    nets += [recipe.bottom_up] if recipe.bottom_up is not None else []
    nets += [recipe.painter.net] if recipe.painter is not None else []
    options = [option for net in nets for option in net.model_dump().values()]
    widths = [each for option in options for each in (option if isinstance(option, tuple) else (option,))]
    if any(isinstance(width, int) and width > WIDE for width in widths):
        return True
    if any(math.prod(variable.parameter_shape) > LONG for variable in build_variables(recipe).values()):
        return True
    return max(batch_bytes(recipe, plan_of(recipe)).values()) > GIBIBYTE


def _refuse_networks(counts: Counts, copies: Mapping[str, int], memory: Memory, frozen: Counts) -> None:
    needed = {
        (player, factor): (count * copies[player] + frozen.get(player, {}).get(factor, 0)) * NUMBER
        for player, factors in counts.items()
        for factor, count in factors.items()
    }
    total = sum(needed.values())
    if total <= memory.size:
        return
    player, factor = max(needed, key=lambda key: needed[key])
    where = factor if factor == "bottom_up" else f"{player}.{factor}"
    size = counts[player][factor] + frozen.get(player, {}).get(factor, 0)
    raise RecipeError(
        f"{where}: a network of {size:,} parameters; all networks need at least {in_bytes(total)}, "
        f"and {memory.owner} has {in_bytes(int(memory.size))} of memory; make its layers or shapes smaller"
    )


def copies_of(recipe: Recipe) -> dict[str, int]:
    """How often training holds every weight of a player; the moving average of encoder or painter is one more."""
    chosen = recipe.training.optimizer
    if not isinstance(chosen, PlayerOptimizers):
        chosen = PlayerOptimizers(encoder=chosen, decoder=chosen)
    copies = {"decoder": COPIES[chosen.decoder], "encoder": COPIES[chosen.encoder] + 1}
    return copies if recipe.painter is None else copies | {"painter": COPIES[recipe.painter.optimizer] + 1}


def batch_bytes(recipe: Recipe, plan: Plan) -> dict[str, int]:
    """For every stream, the bytes of a batch's values and of the network outputs that score them, at least."""
    variables = build_variables(recipe)
    needed = dict.fromkeys(recipe.streams, 0)
    for lesson in plan.lessons:
        stream = recipe.streams[lesson.stream]
        values = sum(_value_bytes(variables[name]) for name in {*stream.observe, *lesson.draws})
        outputs = sum(_output_bytes(variables[name]) for name in lesson.scores)
        if lesson.vote and stream.vote is not None:  # every image once for each class and draw
            observed = sum(_value_bytes(variables[name]) for name in stream.observe)
            values = max(values, observed * (variables[lesson.scores[0]].classes or 1) * stream.vote.draws)
        needed[lesson.stream] = max(needed[lesson.stream], stream.batch * (values + outputs))
    return needed


def _value_bytes(variable: Variable) -> int:
    return math.prod(variable.shape) * (CLASS if variable.has_classes else NUMBER)


def _output_bytes(variable: Variable) -> int:
    return math.prod(variable.parameter_shape) * NUMBER


def in_bytes(number: int) -> str:
    """`15.6 GiB`; beyond all units a power of ten."""
    if number >= 1000 * 1024 ** (len(UNITS) - 1):
        return f"10^{len(str(number)) - 1} bytes"
    power = next(power for power in range(len(UNITS)) if number < 1000 * 1024**power)
    return f"{number / 1024**power:.3g} {UNITS[power]}"
