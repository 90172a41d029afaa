"""The page of the segmentation benchmark, from its JSON file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from benchmarks.common.pages import machine_lines, markdown_table
from semivae.training.progress import clock

Content = Mapping[str, Any]


def page(content: Content) -> str:
    """The page in Markdown."""
    runs: list[Content] = content["runs"]
    gains = [run["last"]["mean_iou"] - run["twin"]["mean_iou"] for run in runs]
    classes = list(runs[0]["last"]["per_class"])
    rows = [["", "whole", "supervised twin"], *scores_rows(runs, classes)]
    ceiling_parts: list[str] = []
    if content["ceiling"]:
        ceiling_rows = [["", "whole", "supervised twin"], *scores_rows([content["ceiling"]], classes)]
        title = f"## All {content['ceiling']['pairs']} pairs, split seed {content['ceiling']['seed']}"
        ceiling_parts = [title, markdown_table(ceiling_rows)]
    agreements = [["segmented by", "pixels as in the mask"]]
    agreements += [[name, spread([run["painted"][name] for run in runs])] for name in runs[0]["painted"]]
    parts = [
        "# Segmentation",
        f"{content['recipe']['about']} Last checkpoint, {runs[0]['test_images']} test images, nothing chosen on them. "
        "Mean ± standard deviation over the splits, then each split's. The twin is the same network with the same "
        "pairs, views of them, start and steps, and nothing else.",
        f"## {runs[0]['pairs']} pairs, split seeds {', '.join(str(run['seed']) for run in runs)}",
        markdown_table(rows),
        f"Gain in mean IoU: {100 * mean(gains):.2f} points ({', '.join(f'{100 * gain:+.2f}' for gain in gains)}).",
        *ceiling_parts,
        "## Images generated for the test masks",
        "Fraction of the pixels to which a network gives the class of the mask that the image was generated for; one "
        "image per mask.",
        markdown_table(agreements),
        "Bits of the codes in use: " + ", ".join(f"{run['bits']:.1f}" for run in runs) + ".",
        "## How",
        "\n".join(origin(content)),
    ]
    return "\n\n".join(parts) + "\n"


def scores_rows(runs: Sequence[Content], classes: Sequence[str]) -> list[list[str]]:
    """A row for every score, of the runs and of their twins."""

    def both(form: str, *keys: str) -> list[str]:
        values = [[value_at(run[name], keys) for run in runs] for name in ("last", "twin")]
        return [spread(each) if form == "%" else f"{mean(each):{form}}" for each in values]

    return [
        ["**mean IoU**", *both("%", "mean_iou")],
        *[[f"IoU, {name}", *both("%", "per_class", name)] for name in classes],
        ["pixels right", *both("%", "pixel_accuracy")],
        ["NLL, nats a pixel", *both(".3f", "nll")],
        ["ECE", *both(".3f", "ece")],
    ]


def value_at(content: Content, keys: Sequence[str]) -> float:
    """The number at these keys; NaN where no image has the class."""
    value: Any = content
    for key in keys:
        value = value[key]
    return math.nan if value is None else float(value)


def spread(values: Sequence[float]) -> str:
    """Mean, standard deviation and values: `76.91% ± 0.41 (77.17, 77.13, 76.44)`; of a single value `76.84%`."""
    if any(map(math.isnan, values)):
        return "-"
    text = f"{100 * mean(values):.2f}%"
    if len(values) == 1:
        return text
    return f"{text} ± {100 * stdev(values):.2f} ({', '.join(f'{100 * value:.2f}' for value in values)})"


def origin(content: Content) -> list[str]:
    """Commands, times of training, note, day, machine and versions."""
    runs = [*content["runs"], *([content["ceiling"]] if content["ceiling"] else [])]
    order = "in this order, all pairs last" if content["ceiling"] else "in this order"
    times = {phase: ", ".join(clock(run["seconds"][phase]) for run in runs) for phase in ("model", "twin")}
    return [
        "- Commands: `python -m benchmarks.segmentation --help` shows them.",
        f"- Training, min:s, {order}: {times['model']}; the twins {times['twin']}.",
        *([f"- {content['note']}"] if content.get("note") else []),
        f"- Scored {content['date'][:10]}.",
        *machine_lines([content]),
    ]
