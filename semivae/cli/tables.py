"""What the command line shows after the work, as rich tables: plans, variables, results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from semivae.text import IMAGES, Nouns, count_of

if TYPE_CHECKING:
    from semivae.game.plan import Plan
    from semivae.recipe.schema import Recipe

BAR = 30  # signs of a full bar
NAMES = {
    "last": "model",
    "calibrated": "model, calibrated",
    "voted": "model, calibrated, with the decoder's vote",
    "corrected": "model, under the other prior",
    "selected": "model, chosen on validation",
    "twin": "supervised twin",
}


def plan_table(plan: Plan, objective: str = "symmetric") -> Table:
    """Shows who learns what from which stream; under the lower bound, what of it counts."""
    from semivae.scenario.plan_rows import evidence_notes, plan_rows

    table = new_table("stream", "learns", "completed by", "scores", title="Plan")
    for row in plan_rows(plan):
        table.add_row(*row)
    notes = evidence_notes(plan)
    if objective == "elbo":
        notes.append("objective: elbo. Both players climb the lower bound where the decoder learns; it draws nothing.")
    if notes:
        table.caption, table.caption_justify = "\n".join(notes), "left"
    return table


def variables_table(recipe: Recipe) -> Table:
    """Variables with family, shape, and the factor of each player."""
    table = new_table("variable", "family", "shape", "decoder", "encoder", title="Variables")
    for name, spec in recipe.variables.items():
        size = count_of(spec.classes, "class", "classes") if spec.classes else ""
        if spec.strangers is not None:
            share = spec.strangers.share
            size += f" with strangers, {share if isinstance(share, str) else f'{share:.0%}'}"
        shape = "x".join(str(side) for side in spec.shape) if spec.shape else ""
        factors = [factor_text(getattr(recipe, player).get(name), name) for player in ("decoder", "encoder")]
        table.add_row(name, spec.family, " ".join(part for part in (shape, size) if part) or "from the data", *factors)
    return table


def factor_text(factor: Any, name: str) -> str:
    """A factor in one phrase: `y, h -> x by deconv`, `uniform`, or a dash."""
    if factor is None:
        return "-"
    if isinstance(factor, str):
        return factor
    if hasattr(factor, "probabilities"):
        return f"fixed {list(factor.probabilities)}"
    if hasattr(factor, "form"):
        return f"{factor.given[0]} -> {name} by {factor.form}"
    from semivae.recipe.networks import title_of

    return f"{', '.join(factor.given)} -> {name} by {title_of(factor.net)}{', a ladder' if factor.ladder else ''}"


def parameters_table(counts: Mapping[str, Mapping[str, int]], frozen: Mapping[str, Mapping[str, int]]) -> Table:
    """Parameters per factor; those that do not learn in a column of their own, where there are any."""
    any_frozen = any(count for factors in frozen.values() for count in factors.values())
    table = new_table("player", "factor", *(["learn", "frozen"] if any_frozen else ["parameters"]), title="Parameters")
    for player, factors in counts.items():
        for factor, count in factors.items():
            numbers = [count, frozen[player][factor]] if any_frozen else [count]
            table.add_row(player, factor, *(f"{number:,}" for number in numbers))
    return table


def summary(figures: Sequence[float], form: str = ".2%") -> str:
    """Returns mean and sample standard deviation as text, written as `form` says."""
    spread = f" ± {stdev(figures):{form}}" if len(figures) > 1 else ""
    return f"{mean(figures):{form}}{spread}"


def seeds_table(reports: Mapping[int, Mapping[str, Any]], key: str, form: str, name: str) -> Table:
    """Shows a figure of each checkpoint for each split seed, and its mean and standard deviation.

    Args:
        reports: the evaluations, by seed; a checkpoint that one of them lacks is left out.
        key: of the figure in the scores of a checkpoint.
        form: how it is written.
        name: what it is called.
    """
    figures = {
        each: [report[each][key] for report in reports.values()]
        for each in NAMES
        if all(report.get(each) for report in reports.values())
    }
    table = new_table("split seed", *(NAMES[each] for each in figures), title=f"{name} per split seed")
    for seed, *row in zip(reports, *figures.values(), strict=True):
        table.add_row(str(seed), *(format(figure, form) for figure in row))
    table.add_section()
    table.add_row("mean ± std", *(summary(column, form) for column in figures.values()))
    return table


def bar_text(filled: float, mark: float) -> str:
    """A bar of two fractions: filled as far as the one, with a stroke at the other."""
    bar = ["━" if (place + 0.5) / BAR < filled else " " for place in range(BAR)]
    bar[min(BAR - 1, int(mark * BAR))] = "┃"
    return "".join(bar)


def nouns_of(report: Mapping[str, Any]) -> Nouns:
    """What an evaluation's report calls one example, and several; of older reports, images."""
    one, many = report.get("nouns", IMAGES)
    return one, many


def counted(report: Mapping[str, Any]) -> str:
    """Returns the title of an evaluation's first table: which part was measured on, and how many examples it has."""
    return f"{str(report['split']).capitalize()} {nouns_of(report)[1]}: {report['count']:,}"


def validation_count(report: Mapping[str, Any], count: int) -> str:
    """Returns a number of validation examples of an evaluation's run in words."""
    return count_of(count, *nouns_of(report), before="validation")


def new_table(*columns: str, title: str) -> Table:
    """An empty table in the style of all of them."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
