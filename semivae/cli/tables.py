"""What the command line shows after the work, as rich tables: plans, variables, results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

if TYPE_CHECKING:
    from semivae.game.plan import Plan
    from semivae.recipe.schema import Recipe

NAMES = {
    "last": "model",
    "calibrated": "model, calibrated",
    "voted": "model, calibrated, with the decoder's vote",
    "corrected": "model, under the other prior",
    "selected": "model, chosen on validation",
    "twin": "supervised twin",
}
BAR = 30  # signs of a full bar


def plan_table(plan: Plan, objective: str = "symmetric") -> Table:
    """Who learns what from which stream; under the lower bound, what of it counts."""
    table = new_table("stream", "learns", "completed by", "scores", title="Plan")
    for row in plan.table():
        table.add_row(*row)
    if objective == "elbo":
        table.caption = (
            "objective: elbo. Both players climb the lower bound where the decoder learns; it draws nothing."
        )
        table.caption_justify = "left"
    return table


def variables_table(recipe: Recipe) -> Table:
    """Variables with family, shape, and the factor of each player."""
    table = new_table("variable", "family", "shape", "decoder", "encoder", title="Variables")
    for name, spec in recipe.variables.items():
        size = f"{spec.classes} classes" if spec.classes else ""
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
    return f"{', '.join(factor.given)} -> {name} by {factor.net.name}{', a ladder' if factor.ladder else ''}"


def parameters_table(counts: Mapping[str, Mapping[str, int]]) -> Table:
    """Parameters per factor."""
    table = new_table("player", "factor", "parameters", title="Parameters")
    for player, factors in counts.items():
        for factor, count in factors.items():
            table.add_row(player, factor, f"{count:,}")
    return table


def results_table(report: Mapping[str, Any]) -> Table:
    """Error with its 95% interval and calibration, for each checkpoint in an evaluation's report."""
    split, count = report["split"], report["count"]
    title = f"{str(split).capitalize()} images: {count:,}{', class shares as asked' if 'test_prior' in report else ''}"
    table = new_table("", "error", "95% interval", "NLL", "Brier", "ECE", title=title)
    for key, name in NAMES.items():
        scores = report.get(key)
        if scores:
            low, high = scores["error_interval"]
            numbers = (f"{scores['nll']:.4f}", f"{scores['brier']:.4f}", f"{scores['ece']:.4f}")
            table.add_row(name, f"{scores['error']:.2%}", f"{low:.2%} to {high:.2%}", *numbers)
    return table


def per_class_table(report: Mapping[str, Any]) -> Table:
    """Error and confusions of each class, for the last checkpoint."""
    scores = report["last"]
    classes = list(scores["per_class"])
    table = new_table("class", "images", "error", "most often taken for", title="Per class")
    for row, (name, error) in enumerate(scores["per_class"].items()):
        counts = list(scores["confusion"][row])
        total = sum(counts)
        counts[row] = 0
        worst = max(range(len(counts)), key=counts.__getitem__)
        taken = f"{classes[worst]} ({counts[worst]})" if counts[worst] else ""
        table.add_row(name, str(total), "-" if error is None else f"{error:.2%}", taken)
    return table


def confusion_table(report: Mapping[str, Any]) -> Table:
    """Confusion matrix of the last checkpoint: a row per true class, a column per answer."""
    scores = report["last"]
    classes = list(scores["per_class"])
    table = new_table("true \\ answered", *classes, title="Confusion")
    for name, counts in zip(classes, scores["confusion"], strict=True):
        table.add_row(name, *(str(count) if count else "." for count in counts))
    return table


def reliability_table(report: Mapping[str, Any]) -> Table:
    """How often answers are right that are so sure: of the last step that was measured. A bar is the share of right
    answers, a stroke the mean confidence: beyond the bar it is too sure, within it too doubtful.
    """
    key = next(key for key in ("corrected", "voted", "calibrated", "last") if report.get(key))
    title = f"Reliability: {NAMES[key]}"
    table = new_table("confidence", "images", "right", "0% to 100%", title=title)
    for row in report[key]["reliability"]:
        bar = ["━" if (place + 0.5) / BAR < row["right"] else " " for place in range(BAR)]
        bar[min(BAR - 1, int(row["confidence"] * BAR))] = "┃"
        table.add_row(f"{row['confidence']:.1%}", f"{row['count']:,}", f"{row['right']:.1%}", "".join(bar))
    return table


def seeds_table(reports: Mapping[int, Mapping[str, Any]]) -> Table:
    """Test error per split seed, with mean and standard deviation."""
    keys = [key for key in NAMES if all(report.get(key) for report in reports.values())]
    table = new_table("split seed", *(NAMES[key] for key in keys), title="Test error per split seed")
    for seed, report in reports.items():
        table.add_row(str(seed), *(f"{report[key]['error']:.2%}" for key in keys))
    table.add_section()
    table.add_row("mean ± std", *(summary([report[key]["error"] for report in reports.values()]) for key in keys))
    return table


def summary(errors: Sequence[float]) -> str:
    """Mean and sample standard deviation of fractions, in percent."""
    spread = f" ± {stdev(errors):.2%}" if len(errors) > 1 else ""
    return f"{mean(errors):.2%}{spread}"


def new_table(*columns: str, title: str) -> Table:
    """An empty table in the style of all of them."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
