"""The page of the comparisons with other code, and the JSON file that it is made from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common.pages import json_path, machine_lines, markdown_table, period, read_content, write_page
from benchmarks.speed.time_to_error import reached
from benchmarks.speed.turns import ratio

FORMAT = "semivae speed 1"


def add_entries(out: Path, part: str, entries: Sequence[Mapping[str, Any]]) -> None:
    """Puts entries, each with the name of what it measures, in the place of former ones; writes the page again."""
    content = read_content(json_path(out), FORMAT)
    names = {entry["name"] for entry in entries}
    kept = [entry for entry in content.get(part, []) if entry["name"] not in names]
    content = {"format": FORMAT, **content, part: [*kept, *entries]}
    write_page(out, json.dumps(content, indent=1) + "\n", page(content))


def page(content: Mapping[str, Any]) -> str:
    """The page in Markdown."""
    steps, errors, ladders = (content.get(part, []) for part in ("steps", "errors", "ladders"))
    every = [*steps, *errors, *ladders]
    blocks = [
        "# Speed, beside other code",
        "One thread each, taking turns in one process, so that all meet the same machine in the same state. *Processor "
        "time* is what the process computed for, which other jobs on the machine change little; times by the clock are "
        "in the JSON file. Ratios are ours over theirs, below 1 where ours is faster: the median of the rounds, and "
        "the ends in brackets.",
    ]
    if steps:
        blocks += ["## An image of a training step", *(_steps(entry) for entry in steps)]
    if errors:
        blocks += ["## Time to an error", *(_errors(entry) for entry in errors)]
    if ladders:
        blocks += ["## The authors' code", _ladders(ladders)]
    if notes := content.get("notes"):
        blocks += ["## Notes", "\n".join(f"- {note}" for note in notes)]
    if every:
        blocks += ["## Machine", f"Measured {period(every)}.", "\n".join(machine_lines(every))]
    return "\n\n".join(blocks) + "\n"


def _steps(entry: Mapping[str, Any]) -> str:
    found = entry["seconds"]
    rows = [["", "microseconds of a processor an image", "ours / this", "our label lessons / this"]]
    alone = "ours, label lessons alone"
    for name, rounds in found.items():
        time = f"{1e6 * median(each['processor'] for each in rounds):,.0f}"
        ratios = ["" if own == name or own not in found else _ratio(found[own], rounds) for own in ("ours", alone)]
        rows.append([name, time, *ratios])
    if alone not in found:
        rows = [row[:-1] for row in rows]
    left_out = [f"Not measured: {name}. {reason}." for name, reason in entry["missing"].items()]
    rounds = len(next(iter(found.values())))
    about = f"**{entry['name'].capitalize()}.** {entry['about']} {rounds} rounds of {entry['steps']} steps."
    return "\n\n".join([about, markdown_table(rows), *left_out])


def _ratio(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> str:
    found = ratio(ours, theirs)
    return f"{found['median']:.2f} [{found['least']:.2f}, {found['most']:.2f}]"


def _errors(entry: Mapping[str, Any]) -> str:
    target = entry["target"]
    rows = [["", f"steps to {100 * target:g}%", "seconds of a processor", "lowest error", "at step"]]
    for name, curve in entry["curves"].items():
        first, best = reached(curve, target), min(curve, key=lambda row: row["error"])
        end = curve[-1]
        times = [f"{first[key]:,.0f}" for key in ("steps", "processor")] if first else [
            f"not in {end['steps']:,.0f}", f"more than {end['processor']:,.0f}"
        ]  # fmt: skip
        rows.append([name, *times, f"{100 * best['error']:.2f}%", f"{best['steps']:,.0f}"])
    return f"**{entry['name']}.** {entry['about']}\n\n{markdown_table(rows)}"


def _ladders(entries: Sequence[Mapping[str, Any]]) -> str:
    rows = [["precision", "batch", "width", "the authors', seconds of a processor a step", "ours", "theirs / ours"]]
    for entry in entries:
        times = [f"{entry['median'][name]:.3f}" for name in ("authors", "ours")]
        rows.append([entry["precision"], str(entry["batch"]), str(entry["width"]), *times, f"{entry['ratio']:.2f}"])
    about = "Training steps of `mnist_ladder` and of the same networks in the authors' script."
    return f"{about}\n\n{markdown_table(rows)}"
