"""The page of the benchmark of hierarchies, from its JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.pages import json_path, machine_lines, markdown_table, period, read_content, write_page

FORMAT = "semivae-hierarchies-1"
Parts = Mapping[str, Any]

NAMES = {
    "symmetric": "ours, symmetric",
    "elbo": "ours, lower bound",
    "authors": "the authors', symmetric",
    "authors_fast": "the authors', symmetric, at our rate",
    "authors_elbo": "the authors', lower bound",
}
LIKELIHOODS = {
    "fmnist-ladder": " Ours scores the 256 levels of a pixel by a rounded logistic of its own width, theirs by "
    "the density of a Gaussian of one width for all: nats of the one and the other cannot be compared."
}


def read_parts(out: Path) -> dict[str, Any]:
    """What the JSON file holds, {} where there is none. Raises RunError for any other file."""
    content = read_content(json_path(out), FORMAT)
    return {name: part for name, part in content.items() if name != "format"}


def write_parts(out: Path, parts: Parts) -> None:
    """Writes the JSON file and the page. Raises RunError where one cannot be written."""
    out.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"format": FORMAT, **parts}, indent=1, default=str)
    write_page(out, content + "\n", markdown(parts))


def markdown(parts: Parts) -> str:
    """The whole page."""
    sections = [
        "# Hierarchies, beside the authors' code",
        "The networks and the training of Flach et al. 2024 in this project, beside the authors' public code "
        "(https://github.com/dschles70/symvae-aistats2024), which is run as it is and is no part of this project.",
    ]
    if "agreement" in parts:
        sections.append(agreement_section(parts["agreement"]))
    if parts.get("speed"):
        sections.append(speed_section(parts["speed"]))
    if parts.get("equal_time"):
        sections.append(equal_time_section(parts["equal_time"]))
    if parts.get("notes"):
        sections.append("## Notes\n\n" + "\n".join(f"- {note}" for note in parts["notes"]))
    return "\n\n".join(sections) + "\n"


def agreement_section(part: Parts) -> str:
    rows = [
        ["their experiment", "factor", "mean log-probability", "difference, float64", "difference, float32", "relative"]
    ]
    for experiment, found in part["experiments"].items():
        for factor, exact in found["float64"].items():
            rough = found["float32"][factor]
            rows.append(
                [
                    experiment,
                    factor.replace("|", "\\|"),  # a bar would end the cell
                    f"{exact['mean']:.1f}",
                    f"{exact['largest']:.0e}",
                    f"{rough['largest']:.0e}",
                    f"{rough['relative']:.0e}",
                ]
            )
    text = (
        f"The authors' weights, converted, in our networks: log-probabilities in nats on {part['count']} samples of "
        "their model, fresh weights doubled; the largest difference over the samples, and in float32 also relative to "
        "the log-probability. Every factor has a counterpart. On Fashion-MNIST our recipe has another likelihood, and "
        "tanh in the decoder; here it has theirs, a Gaussian of one width, and relu. Their 0.91894 is taken for half "
        "the logarithm of 2 pi, which it rounds: 0.0012 nats an image."
    )
    commands = origin([part], f"agree CHECKOUT --count {part['count']}")
    return "\n\n".join(["## The same probabilities", text, markdown_table(rows), commands])


def speed_section(entries: Sequence[Parts]) -> str:
    rows = [["precision", "batch", "width", "threads", "the authors'", "ours", "ratio"]]
    for entry in entries:
        sizes = (str(entry[name]) for name in ("precision", "batch", "width", "threads"))
        times = (f"{entry['median'][name]:.3f} s" for name in ("authors", "ours"))
        rows.append([*sizes, *times, f"**{entry['ratio']:.2f}**"])
    text = (
        "Seconds of one training step of both players, `mnist-ladder`: medians, theirs and ours in turn in one "
        "process. Theirs as their script does it: anomaly detection, statistics, and every forward pass draws. In "
        "bfloat16 both run under torch's autocast; their code by itself is float32."
    )
    commands = [
        f"speed CHECKOUT --batch {entry['batch']} --width {entry['width']} --threads {entry['threads']} "
        f"--steps {entry['steps']} --precision {entry['precision']}"
        for entry in entries
    ]
    return "\n\n".join(["## Steps per second", text, markdown_table(rows), origin(entries, *commands)])


def equal_time_section(entries: Sequence[Parts]) -> str:
    """A table for each experiment, in the order in which they were first measured."""
    experiments = list(dict.fromkeys(entry["experiment"] for entry in entries))
    of_each = [[entry for entry in entries if entry["experiment"] == name] for name in experiments]
    return "\n\n".join(["## Equal processor time", *(experiment_section(group) for group in of_each)])


def experiment_section(entries: Sequence[Parts]) -> str:
    rows = [["", "rate", "steps", "seconds", "random code", "limiting", "bits z0", "bits z1", "nats of x given codes"]]
    order = list(NAMES)
    entries = sorted(entries, key=lambda entry: order.index(entry["name"]))
    for entry in entries:
        rows.append(
            [
                NAMES[entry["name"]],
                rate_cell(entry["learning_rate"]),
                f"{entry['steps']:,}",
                f"{entry['seconds']:.0f}",
                f"{entry['random']['frechet']:.1f}",
                f"**{entry['limiting']['frechet']:.1f}**",
                f"{entry['bits']['z0']:.1f}",
                f"{entry['bits']['z1']:.1f}",
                f"{entry['reconstruction']:.1f}",
            ]
        )
    ours = [entry["precision"] for entry in entries if not entry["name"].startswith("authors")]
    one = {**entries[0], "ours_in": ours[0] if ours else "float32"}
    text = (
        f"{one['minutes']:g} minutes of processor time each on one thread, batch {one['batch']}, first convolutions of "
        f"{one['width']} channels (theirs have 32), the same training images. Ours in {one['ours_in']}, theirs in "
        f"float32 as their code is. Frechet distance of {one['count']:,} pictures to the first {one['count']:,} test "
        f"images in the features of `{one['features']}`, not Inception's; limiting: after {one['rounds']} rounds from "
        "the model's own samples. Bits: what the encoder recovers of each level of the decoder's samples, from below."
        + LIKELIHOODS.get(one["experiment"], "")
    )
    which = "" if one["experiment"] == "mnist-ladder" else f"--experiment {one['experiment']} "
    sizes = f"{which}--minutes {one['minutes']:g} --batch {one['batch']} --width {one['width']}"
    commands = [f"train {contestant_words(entry['name'])} {sizes}" for entry in entries]
    measured = f"--features {one['features']} --count {one['count']} --rounds {one['rounds']}"
    commands.append(f"score CHECKOUT {which}{measured}")
    heading = f"### `{one['experiment']}`"
    return "\n\n".join([heading, text, markdown_table(rows), *chain_and_curves(entries), origin(entries, *commands)])


def rate_cell(rate: float | Mapping[str, float]) -> str:
    """The learning rate, or those of both players."""
    return " and ".join(f"{one:g}" for one in (rate.values() if isinstance(rate, Mapping) else [rate]))


def contestant_words(name: str) -> str:
    """The arguments of `train` for a contestant."""
    return f"{name} CHECKOUT" if name.startswith("authors") else name


def chain_and_curves(entries: Sequence[Parts]) -> list[str]:
    """Distances along the limiting chain, and bits and nats over the training."""
    looks = [int(number) for number in entries[0]["along"]]
    drift = [["distance after so many rounds", *map(str, looks)]]
    for entry in entries:
        drift.append([NAMES[entry["name"]], *(f"{entry['along'][key]:.1f}" for key in entry["along"])])
    curves = [["bits z0 + z1 (nats of x given codes)", *(f"{sixth}/6" for sixth in range(1, 7))]]
    for entry in entries:
        rows = [row for row in entry["curve"] if row["step"]]
        chosen = [min(rows, key=lambda row: abs(row["step"] - entry["steps"] * sixth / 6)) for sixth in range(1, 7)]
        curves.append([NAMES[entry["name"]], *(curve_cell(row) for row in chosen)])
    return [
        markdown_table(drift),
        "Over the training, at sixths of the steps (nats: theirs of held-out images, ours of training images):",
        markdown_table(curves),
    ]


def curve_cell(row: Parts) -> str:
    return f"{row['bits']['z0']:.1f} + {row['bits']['z1']:.1f} ({row['reconstruction']:.0f})"


def origin(entries: Sequence[Parts], *commands: str) -> str:
    """Commands, dates, machines, versions."""
    lines = [f"- `python -m benchmarks.hierarchies {command}`" for command in commands]
    return "\n".join([*lines, f"- {period(entries)}.", *machine_lines(entries)])
