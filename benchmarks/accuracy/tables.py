"""The results of the benchmark: every cell in one JSON file, and from it a page with a table per recipe."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.accuracy.baselines import BASELINES
from benchmarks.accuracy.cells import METHODS
from benchmarks.common.pages import machine_lines, markdown_table, period, read_content
from semivae.cli.tables import summary
from semivae.training.progress import clock

FORMAT = "semivae-benchmark-1"
Content = Mapping[str, Any]

DESCRIPTIONS = {
    **{name: baseline.settings for name, baseline in BASELINES.items()},
    "labels_only": "the same q(label | image), start, split, views, precision and number of steps, on the labels alone",
    "labels_views": "that, and the pair of views on the unlabelled images",
    "game": "the whole recipe without the pair of views: what the players teach each other, the vote included",
    "unknown_prior": "the whole recipe without its label-only stream: p(label) learnt from pairs and unlabelled "
    "images, nothing aligned or adjusted to it",
    "whole": "the recipe as it is",
    "all_labels": "the ceiling: `labels_only` with every label, its batch as large as labelled and unlabelled together",
}


def section(about: str, changes: Sequence[str], cells: Iterable[Content]) -> dict[str, Any]:
    """A recipe's part of the JSON file: its cells in the order of the table, and their summary by variant."""
    ordered = sorted(cells, key=lambda cell: (METHODS.index(cell["variant"]), cell["seed"]))
    groups = by_variant(ordered)
    return {
        "about": about,
        "set": list(changes),
        "summary": {variant: summarise(group) for variant, group in groups.items()},
        "cells": ordered,
    }


def by_variant(cells: Iterable[Content]) -> dict[str, list[Content]]:
    """The cells of each variant."""
    groups: dict[str, list[Content]] = {}
    for cell in cells:
        groups.setdefault(cell["variant"], []).append(cell)
    return groups


def summarise(cells: Sequence[Content]) -> dict[str, Any]:
    """Means over the splits, and the standard deviation (n - 1) of the errors; None where nothing was measured."""
    results = [cell["result"] for cell in cells]
    errors = [result["error"] for result in results]
    numbers = {
        "nll": [result["nll"] for result in results],
        "ece": [result["ece"] for result in results],
        "seconds": [result["seconds"] for result in results],
        "read_as_intended": [cell.get("generation", {}).get("read_as_intended") for cell in cells],
        "bits": [sum(result["bits"].values()) if result.get("bits") else None for result in results],
    }
    return {
        "seeds": [cell["seed"] for cell in cells],
        "errors": errors,
        "error": mean(errors),
        "error_std": stdev(errors) if len(errors) > 1 else None,
        **{name: None if None in values else mean(values) for name, values in numbers.items()},
        "gpu": any(cell["machine"]["gpu"] for cell in cells),
    }


def read_tables(path: Path) -> dict[str, Any]:
    """The sections of a JSON file by recipe, {} where there is none. Raises RunError for any other file."""
    recipes: dict[str, Any] = read_content(path, FORMAT).get("recipes", {})
    return recipes


def json_text(sections: Mapping[str, Content]) -> str:
    """The text of the JSON file, with one line per cell, which keeps diffs readable."""
    parts = []
    for name, content in sections.items():
        heads = [f"   {json.dumps(key)}: {json.dumps(content[key])}" for key in ("about", "set", "summary")]
        cells = ",\n".join(f"    {json.dumps(cell)}" for cell in content["cells"])
        parts.append(f"  {json.dumps(name)}: {{\n" + ",\n".join(heads) + f',\n   "cells": [\n{cells}\n   ]\n  }}')
    return f'{{\n "format": "{FORMAT}",\n "recipes": {{\n' + ",\n".join(parts) + "\n }\n}\n"


def markdown(sections: Mapping[str, Content]) -> str:
    """The whole page."""
    parts = [
        "# Accuracy",
        "Test error of the last checkpoint, nothing chosen on the test images. Mean ± standard deviation over split "
        "seeds, then each split's error; for a single split its 95% interval (Clopper-Pearson). NLL in nats, ECE in 15 "
        "bins. Times are of training, for baselines of fitting and predicting.",
        *(recipe_section(name, content) for name, content in sections.items()),
        variants_section(sections),
    ]
    return "\n\n".join(parts) + "\n"


def recipe_section(name: str, content: Content) -> str:
    """Heading, table, and below it how it was measured."""
    changed = f" Changed: `{' '.join(content['set'])}`." if content["set"] else ""
    rows = table_rows(content["summary"], by_variant(content["cells"]))
    parts = [f"## {name}", f"{content['about']}{changed}", markdown_table(rows), "\n".join(origin(name, content))]
    return "\n\n".join(parts)


def table_rows(summaries: Mapping[str, Content], groups: Mapping[str, Sequence[Content]]) -> list[list[str]]:
    """The heading and a row for every variant; columns about samples and codes only where a variant has codes."""
    columns = ["variant", "test error", "each split, %", "NLL", "ECE", "one run"]
    generates = any(row["bits"] is not None for row in summaries.values())
    if generates:
        columns += ["samples read as intended", "bits in use"]
    rows = [columns]
    for variant, row in summaries.items():
        cells = [variant, f"**{summary(row['errors'])}**", each_split(groups[variant])]
        cells += [number(row["nll"], ".3f"), number(row["ece"], ".4f"), time_text(row)]
        if generates:
            cells += [number(row["read_as_intended"], ".1%"), number(row["bits"], ".1f")]
        rows.append(cells)
    return rows


def each_split(cells: Sequence[Content]) -> str:
    """The error of each split in percent; of a single split its 95% interval."""
    if len(cells) == 1:
        low, high = cells[0]["result"]["error_interval"]
        return f"split {cells[0]['seed']}: {100 * low:.2f} to {100 * high:.2f}"
    return ", ".join(f"{100 * cell['result']['error']:.2f}" for cell in cells)


def number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def time_text(row: Content) -> str:
    short = f"{row['seconds']:.1f} s" if row["seconds"] < 10 else clock(row["seconds"])
    return f"{short} on a GPU" if row["gpu"] else short


def origin(name: str, content: Content) -> list[str]:
    """Commands, test images, machines, versions, dates, and the classifier of the samples."""
    cells = content["cells"]
    lines = [f"- `{command}`" for command in commands(name, content)]
    lines.append(f"- {cells[0]['result']['test_images']:,} test images. {period(cells)}.")
    lines += machine_lines(cells)
    for cell in cells:
        if note := cell["result"].get("note"):
            lines.append(f"- Split {cell['seed']}: {note}.")
        if generation := cell.get("generation"):
            lines.append(
                f"- Split {cell['seed']}: {generation['read_as_intended']:.1%} of {generation['samples']:,} samples "
                f"(decoder means, classes equally often) read as intended by the classifier of {generation['reader']}, "
                f"whose test error is {generation['reader_error']:.2%}."
            )
    return lines


def commands(name: str, content: Content) -> list[str]:
    """The commands that measure these cells again: one for the variants that have the same seeds."""
    variants: dict[str, list[str]] = {}
    for variant, row in content["summary"].items():
        variants.setdefault(",".join(map(str, row["seeds"])), []).append(variant)
    changes = "".join(f" --set {shlex.quote(change)}" for change in content["set"])
    return [
        f"python -m benchmarks.accuracy {name} --seeds {seeds} --variants {','.join(names)}{changes}"
        for seeds, names in variants.items()
    ]


def variants_section(sections: Mapping[str, Content]) -> str:
    """A section that describes each variant in the tables."""
    used = {variant for content in sections.values() for variant in content["summary"]}
    lines = [f"- `{variant}`: {DESCRIPTIONS[variant]}." for variant in METHODS if variant in used]
    return "\n".join(["## The variants", "", *lines])
