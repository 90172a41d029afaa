"""The generative half of a run: chain, likelihood, quality, codes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semivae.cli.opening import given_examples, head, once_used, open_run
from semivae.cli.options import (
    Checkpoint,
    CheckpointOption,
    DataRootOption,
    DeviceOption,
    JsonOption,
    OutFolder,
    OverwriteOption,
    RunArgument,
    SeedOption,
)
from semivae.cli.showing import console, reply
from semivae.cli.writing import check_target, check_target_folder, make_folder, write_arrays, write_file
from semivae.text import count_of

if TYPE_CHECKING:
    from semivae.api import Run
    from semivae.generative.chain import Start
    from semivae.generative.features import FeatureSpace


class StartChoice(StrEnum):
    random = "random"
    data = "data"
    model = "model"


FeaturesOption = Annotated[
    Path | None, typer.Option("--features", metavar="RUN", help="A run in whose features distances are measured.")
]


def chain(
    run: RunArgument,
    out: OutFolder,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, help="How often codes and examples are drawn in turn.")
    ] = 1000,
    count: Annotated[int, typer.Option("-n", "--count", min=2, help="Number of chains.")] = 1000,
    start: Annotated[
        list[StartChoice], typer.Option("--start", help="Where the chains start. Repeatable. Default: all three.")
    ] = [],  # noqa: B006  typer copies it
    features: FeaturesOption = None,
    shown: Annotated[int, typer.Option("--shown", min=1, help="Number of chains in each picture.")] = 64,
    seed: SeedOption = 0,
    checkpoint: CheckpointOption = Checkpoint.last,
    overwrite: OverwriteOption = False,
    data_root: DataRootOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Alternate encoder and decoder; show how far samples drift."""
    check_target_folder(out, overwrite)
    opened = open_run(run, checkpoint, device, data_root)
    from semivae.generative.chain import STARTS, drift, run_chains, usual_rounds
    from semivae.generative.grids import save_grid
    from semivae.generative.prior_samples import prior_samples

    starts: list[Start] = [choice.value for choice in start] or list(STARTS)
    if "model" in starts:
        prior_samples(opened, 1, {})  # what has no start is refused before any work
    space = feature_space(features, opened, device, data_root)
    reference, report = None, head(opened, count=count, rounds=rounds, seed=seed)
    if space is not None:
        from semivae.data.hashing import random_subset

        test = random_subset(opened.dataset().test[opened.shown], count, seed)
        reference = space(test)
        report |= {"features": space.name, "reference": count_of(len(test), *opened.nouns, before="test")}
    chains = []
    drawn = opened.shown_inputs.are_images
    for name in starts:
        states = []
        for state in run_chains(opened, name, count, usual_rounds(rounds), seed):
            if drawn:
                make_folder(out)
                save_grid(state.images[:shown], out / f"{name}_round{state.number:05}.png", overwrite=overwrite)
            states.append(state)
        chains.append(drift(opened, name, states, space, reference))
    report["chains"] = chains
    pictures = "pictures, " if drawn else ""
    make_folder(out)
    write_file(out / "chain.json", json.dumps(report, indent=1).encode())
    for file, picture in drift_pictures(report).items():
        write_file(out / file, picture.encode())
    reply(
        report | {"out": str(out)}, as_json, console(), *chain_lines(report), f"{out}: {pictures}chain.json and curves"
    )


def drift_pictures(report: Mapping[str, Any]) -> dict[str, str]:
    """Returns SVG by file name: the distance and the bits over the rounds, one line per start."""
    from semivae.generative.curves import curves_svg

    found = {}
    lines = {
        chain["start"]: [(row["round"], row["frechet"]) for row in chain["curve"] if "frechet" in row]
        for chain in report["chains"]
    }
    if any(lines.values()):
        found["frechet.svg"] = curves_svg("Frechet distance to test examples, own features", "rounds", lines)
    bits = {
        chain["start"]: [(row["round"], sum(row["bits"].values())) for row in chain["curve"] if row["bits"]]
        for chain in report["chains"]
    }
    found["bits.svg"] = curves_svg("log2 q - log2 p of the codes, bits", "rounds", bits)
    return found


def chain_lines(report: Mapping[str, Any]) -> list[str]:
    lines = []
    for each in report["chains"]:
        first, last = each["curve"][0], each["curve"][-1]
        text = f"from {each['start']}: round {last['round']}: {sum(last['bits'].values()):.1f} bits"
        if "frechet" in last:
            text += f", Frechet distance {last['frechet']:.3g} (at the start {first['frechet']:.3g})"
        lines.append(text)
    return lines + ([f"distances to {report['reference']}, in {report['features']}"] if "features" in report else [])


def likelihood(
    run: RunArgument,
    draws: Annotated[
        int, typer.Option("--draws", min=1, help="Codes per example; more codes give a tighter bound.")
    ] = 16,
    count: Annotated[
        int | None, typer.Option("-n", "--count", min=1, help="Number of test examples. Default: all.")
    ] = None,
    seed: SeedOption = 0,
    checkpoint: CheckpointOption = Checkpoint.last,
    data_root: DataRootOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Bound the log-likelihood of the test examples.

    It also shows whether encoder and decoder agree.
    """
    opened = open_run(run, checkpoint, device, data_root)
    from semivae.data.hashing import random_subset
    from semivae.generative.likelihood import consistency
    from semivae.generative.likelihood import likelihood as measure

    images = random_subset(opened.dataset().test[opened.image], count, seed)
    report = measure(opened, images, draws, seed)
    report["consistency"] = consistency(opened, min(1000, len(images)), seed)
    error = "" if report["standard_error"] is None else f" ± {report['standard_error']:.2f} (standard error)"
    lines = [
        f"{count_of(report['count'], *opened.nouns, before='test')}, nats per {opened.nouns[0]}:",
        f"log p(x) at least {report['bound']:.2f}{error}, {count_of(draws, 'draw', 'draws')}",
        f"in bits per value {report['bits_per_dimension']:.4f}",
        f"with one draw {report['elbo']:.2f}; reconstruction {report['reconstruction']:.2f}",
    ]
    for name, rate in report["rate"].items():
        agreement = report["consistency"][name]
        read = f", {agreement['read_back']:.1%} of the decoder's own read back" if "read_back" in agreement else ""
        lines.append(f"{name}: rate {rate:.2f}, surprise {agreement['surprise']:+.2f}{read}")
    reply(report, as_json, console(), *lines)


def quality(
    run: RunArgument,
    features: Annotated[
        Path, typer.Option("--features", metavar="RUN", help="A run in whose features distances are measured.")
    ],
    count: Annotated[int, typer.Option("-n", "--count", min=10, help="Number of samples, and of examples.")] = 2000,
    seed: SeedOption = 0,
    checkpoint: CheckpointOption = Checkpoint.last,
    data_root: DataRootOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Compare samples with test examples.

    They are compared by the Frechet distance, the precision and the recall of their features.
    """
    opened = open_run(run, checkpoint, device, data_root)
    from semivae.generative.features import quality as measure

    space = feature_space(features, opened, device, data_root)
    assert space is not None
    report = measure(opened, space, count, seed)
    lines = [
        f"{name.replace('_', ' ').replace('images', opened.nouns[1])}: Frechet distance {found['frechet']:.3g}, "
        f"precision {found['precision']:.1%}, "
        f"recall {found['recall']:.1%}"
        for name, found in report.items()
        if isinstance(found, dict)
    ]
    reply(
        report,
        as_json,
        console(),
        *lines,
        f"{report['count']} each, against {report['reference']}, in {report['features']}",
    )


def codes(
    run: RunArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE.npz", help="File for the codes, one array per latent variable.")
    ],
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="EXAMPLES", help="Examples to encode. Default: the run's training examples."),
    ] = None,
    seed: SeedOption = 0,
    checkpoint: CheckpointOption = Checkpoint.last,
    overwrite: OverwriteOption = False,
    data_root: DataRootOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Draw codes of examples, as data or prior of another run."""
    check_target(out, overwrite, ".npz")
    opened = open_run(run, checkpoint, device, data_root)
    from semivae.generative.codes import draw_codes

    if images is None:
        arrays = draw_codes(opened, opened.dataset().train[opened.image], seed)
    else:
        given = given_examples(opened, images, skip_unreadable=False)
        arrays = draw_codes(opened, given.examples, seed)
        once_used(given)
    write_arrays(out, arrays)
    count = len(next(iter(arrays.values())))
    report = head(opened, out=str(out), count=count, seed=seed, variables=list(arrays))
    counted = count_of(count, *opened.nouns)
    text = f"{out}: {', '.join(arrays)} of {counted}; take them as values: {{file: {out.name}}} of a stream"
    reply(report, as_json, console(), text)


def feature_space(path: Path | None, run: Run, device: str, data_root: Path | None) -> FeatureSpace | None:
    from semivae.generative.features import FeatureSpace

    return None if path is None else FeatureSpace.of(open_run(path, Checkpoint.last, device, data_root), run)
