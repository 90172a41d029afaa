"""A run's metrics as charts: errors, codes in use, and the losses of both players."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from semivae.game.graphs import SYMBOL
from semivae.game.losses import mask_rates_of, terms_of
from semivae.page.charts import LineChart, Points, line_chart
from semivae.tasks.task import Headline

Rows = Sequence[Mapping[str, Any]]
MOST_POINTS = 200  # of a curve


def thinned(rows: Rows) -> Rows:
    """At most `MOST_POINTS` rows, evenly chosen, the last one among them."""
    every = -(-len(rows) // MOST_POINTS)
    return rows[(len(rows) - 1) % every :: every] if rows else rows


def measured_charts(curve: Rows, headline: Headline) -> list[LineChart]:
    """What each validation found (the "curve" of `semivae.reports.diagnosis.diagnose`); `headline` is the label's."""
    rows = thinned(curve)
    streams = dict.fromkeys(name for row in rows for name in row["confident"])
    codes = dict.fromkeys(name for row in rows for name in row["bits"])
    charts = [
        line_chart(
            f"Validation {headline.name}",
            {"model": _points(rows, "validation_error"), "twin": _points(rows, "twin_validation_error")},
            share=headline.format.endswith("%"),
            zero=True,
        ),
        line_chart("Samples read as intended", {"own encoder": _points(rows, "read_as_intended")}, share=True),
        line_chart(
            "Confident unlabelled examples",
            {name: [(row["step"], row["confident"][name]) for row in rows if name in row["confident"]]
             for name in streams},
            share=True,
        ),
        line_chart(
            "Bits in use",
            {name: [(row["step"], row["bits"][name]) for row in rows if name in row["bits"]] for name in codes},
        ),
    ]  # fmt: skip
    return [chart for chart in charts if chart is not None]


def loss_charts(metrics: Rows) -> dict[str, list[LineChart]]:
    """By player, a chart for each factor with a curve for each stream; nats per sample, mean since the row before."""
    lines: dict[str, dict[str, dict[str, list[tuple[float, float]]]]] = {"decoder": {}, "encoder": {}}
    for row in thinned([row for row in metrics if row["phase"] == "model"]):
        for term, value in terms_of(row.get("losses", {})).items():
            player = "decoder" if term.kind == "decoder" else "encoder"
            how = "" if term.kind == player else f", {term.kind}"
            symbol = SYMBOL["decoder" if player == "decoder" else "encoder"]
            title = (
                f"-log {symbol}({term.factor} | …)"
                if term.kind != "information"
                else f"I({term.factor}), mutual information"
            )
            points = lines[player].setdefault(title, {}).setdefault(f"{term.stream}{how}", [])
            points.append((row["step"], value))
    charts = {player: [line_chart(title, of) for title, of in by_title.items()] for player, by_title in lines.items()}
    return {player: [chart for chart in found if chart is not None] for player, found in charts.items()}


def last_losses(metrics: Rows) -> dict[str, float]:
    """The last row's loss terms and mask rates, by their names in the metrics."""
    rows = [row for row in metrics if row["phase"] == "model"]
    named = rows[-1].get("losses", {}) if rows else {}
    return {str(term): value for term, value in terms_of(named).items()} | {
        f"confident.{stream}": value for stream, value in mask_rates_of(named).items()
    }


def _points(rows: Rows, key: str) -> Points:
    return [(row["step"], row[key]) for row in rows if row[key] is not None]
