"""How numbers are shown: beside their examples, and predicted against true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from semivae.classification import Classifier
from semivae.classification.intervals import predict_numbers
from semivae.generative.sampling import draw
from semivae.page.kinds import KindOnPage, Score, labelled_and_not
from semivae.page.looks import Look, drawn_looks, raw_looks, strips_by
from semivae.page.number_charts import SquareChart, number_charts
from semivae.runs.model import TrainedModel
from semivae.variables import Sample, seen

EACH = 10  # samples of a number
STEPS = (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95)  # quantiles of the training numbers, of which samples are drawn
PLOTTED = 2000  # test examples


def bare(value: Tensor | float) -> str:
    """A number, or a vector, as it is read at a glance: three significant digits."""
    entries = torch.as_tensor(value).reshape(-1).tolist()
    return ", ".join(f"{entry:.3g}" if abs(entry) < 1000 else f"{entry:,.0f}" for entry in entries)


def text_of(run: TrainedModel, value: Tensor | float) -> str:
    """The same with its unit."""
    return f"{bare(value)} {run.recipe.variables[run.label].unit}".strip()


def examples(run: TrainedModel, part: Sample) -> list[Look]:
    """Each example under its number."""
    looks = raw_looks(run, part)
    return [
        look.saying(text := text_of(run, value), alt=f"An example of {text}")
        for look, value in zip(looks, part[run.label], strict=True)
    ]


def judged(run: TrainedModel, part: Sample) -> list[Look]:
    """Each example with its number, the prediction, and the interval of the prediction; the unit is in `alt`."""
    found = predict_numbers(Classifier(run), run.examples(part))
    shown = []
    for place, (look, value) in enumerate(zip(raw_looks(run, part), part[run.label], strict=True)):
        mean = torch.from_numpy(found.means)[place]
        note = ""
        if found.low is not None and found.high is not None and found.means.ndim == 1:
            note = f"{bare(found.low[place])} to {bare(found.high[place])}"
        alt = f"An example of {text_of(run, value)}, predicted as {text_of(run, mean)}"
        shown.append(look.saying(f"{bare(value)} → {bare(mean)}", note, alt))
    return shown


def samples(run: TrainedModel) -> list[Look]:
    """`EACH` samples of each of some numbers, a strip or some rows each, from small to large."""
    values = run.dataset().train[run.label]
    known = values[seen(values)]
    first = known if known.dim() == 1 else known[:, 0]
    rows = [int((first - first.quantile(step)).abs().argmin()) for step in STEPS]
    chosen = known[rows]
    drawn = draw(run, EACH * len(rows), {run.label: chosen.repeat_interleave(EACH, dim=0)}, seed=0)
    titles = [text_of(run, value) for value in chosen]
    return strips_by(drawn_looks(run, drawn), titles, f"{EACH} samples that the decoder draws for")


def charts(run: TrainedModel, report: Mapping[str, Any]) -> list[SquareChart]:
    """Predicted against true of the test examples, residuals, and reliability of intervals."""
    part = {name: values[:PLOTTED] for name, values in run.dataset().test.items()}
    found = predict_numbers(Classifier(run), run.examples(part))
    points = list(zip(part[run.label].reshape(-1).tolist(), found.means.reshape(-1).tolist(), strict=True))
    return number_charts(points, report["last"]["levels"], run.recipe.variables[run.label].unit)


SHOWN = KindOnPage(
    scores=(
        Score("rmse", "RMSE", ".4g", "rmse_interval"),
        Score("mae", "MAE", ".4g"),
        Score("r2", "R2", ".3f"),
        Score("nll", "NLL (nats)", ".4f"),
    ),
    per_class="",
    counted="test examples",
    parts=labelled_and_not,
    examples=examples,
    judged=judged,
    samples=samples,
    coloured=lambda labels: None,
    judged_caption="The true number, the predicted one, and below them its 90% interval, in the unit of the label.",
    samples_caption="The decoder's mean for codes drawn from its prior, given each number.",
    charts=charts,
    doubts=False,
)
