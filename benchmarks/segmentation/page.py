"""The page of the segmentation benchmark, from its JSON file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from benchmarks.common.pages import machine_lines, markdown_table
from semivae.cli.progress import clock

Content = Mapping[str, Any]


def page(found: Content) -> str:
    """The page of the JSON file's content."""
    runs: list[Content] = found["runs"]
    gains = [run["last"]["mean_iou"] - run["twin"]["mean_iou"] for run in runs]
    classes = list(runs[0]["last"]["per_class"])
    rows = [["", "whole", "supervised twin"], *scores_rows(runs, classes)]
    ceiling_parts: list[str] = []
    if found["ceiling"]:
        ceiling_rows = [["", "whole", "supervised twin"], *scores_rows([found["ceiling"]], classes)]
        title = f"## All {found['ceiling']['pairs']} pairs, split seed {found['ceiling']['seed']}"
        ceiling_parts = [title, markdown_table(ceiling_rows)]
    painted = [["who reads", "pixels as the mask says"]]
    painted += [[name, spread([run["painted"][name] for run in runs])] for name in runs[0]["painted"]]
    parts = [
        "# Segmentation",
        f"{found['recipe']['about']} Last checkpoint, {runs[0]['test_images']} test images, nothing chosen on them. "
        "Mean ± standard deviation over the splits, then each split's. The twin is the same network with the same "
        "pairs, views of them, start and steps, and nothing else.",
        f"## {runs[0]['pairs']} pairs, split seeds {', '.join(str(run['seed']) for run in runs)}",
        markdown_table(rows),
        f"Gain in mean IoU: {100 * mean(gains):.2f} points ({', '.join(f'{100 * gain:+.2f}' for gain in gains)}).",
        *ceiling_parts,
        "## Images painted for the test masks",
        "Share of the pixels that a network reads as the mask says, which the image was painted for; one image a mask.",
        markdown_table(painted),
        "Bits of the codes in use: " + ", ".join(f"{run['bits']:.1f}" for run in runs) + ".",
        "## How",
        "\n".join(origin(found)),
    ]
    return "\n\n".join(parts) + "\n"


def scores_rows(runs: Sequence[Content], classes: Sequence[str]) -> list[list[str]]:
    """A row for every score: of the whole, and of the twin."""

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
    """A number; not a number where no image has the class."""
    value: Any = content
    for key in keys:
        value = value[key]
    return math.nan if value is None else float(value)


def spread(values: Sequence[float]) -> str:
    """`76.91% ± 0.41 (77.17, 77.13, 76.44)`, of a single value `76.84%`."""
    if any(map(math.isnan, values)):
        return "-"
    text = f"{100 * mean(values):.2f}%"
    if len(values) == 1:
        return text
    return f"{text} ± {100 * stdev(values):.2f} ({', '.join(f'{100 * value:.2f}' for value in values)})"


def origin(found: Content) -> list[str]:
    runs = [*found["runs"], *([found["ceiling"]] if found["ceiling"] else [])]
    order = "in this order, all pairs last" if found["ceiling"] else "in this order"
    times = {phase: ", ".join(clock(run["seconds"][phase]) for run in runs) for phase in ("model", "twin")}
    return [
        "- Commands: `python -m benchmarks.segmentation --help` shows them.",
        f"- Training, min:s, {order}: {times['model']}; the twins {times['twin']}.",
        *([f"- {found['note']}"] if found.get("note") else []),
        f"- Scored {found['date'][:10]}.",
        *machine_lines([found]),
    ]
