"""`semivae novelty`: which examples are of no kind that the run has learnt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semivae.cli.opening import given_examples, once_used, open_run, read_given
from semivae.cli.options import (
    Checkpoint,
    CheckpointOption,
    DataRootOption,
    DeviceOption,
    ImagesArgument,
    JsonOption,
    OverwriteOption,
    RunArgument,
    SeedOption,
    SkipOption,
)
from semivae.cli.showing import console, reply
from semivae.cli.writing import check_target, csv_bytes, write_file
from semivae.text import Nouns, count_of

if TYPE_CHECKING:
    from semivae.generative.novelty import Novelty

SCORES = {
    "decoder": "the decoder's likelihood",
    "pictures": "the decoder's likelihood of the picture beside its features",
    "encoder": "the encoder's doubt",
    "neighbours": "the distance to the nearest training {}",
    "energy": "the energy of the logits",
}


def novelty(
    run: RunArgument,
    images: ImagesArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE.csv", help="File for the scores of each example. Default: only the summary."
        ),
    ] = None,
    draws: Annotated[int, typer.Option("--draws", min=1, help="Codes per example for the decoder's likelihood.")] = 4,
    count: Annotated[
        int, typer.Option("-n", "--count", min=20, help="Largest number of test examples to compare with.")
    ] = 1000,
    seed: SeedOption = 0,
    skip_unreadable: SkipOption = False,
    checkpoint: CheckpointOption = Checkpoint.last,
    overwrite: OverwriteOption = False,
    data_root: DataRootOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find what is unlike the training data.

    It scores the decoder's likelihood, the encoder's doubt, the distance to training examples in features, and the
    energy of the logits; each score has a p-value.
    """
    check_target(out, overwrite, ".csv")
    opened = open_run(run, checkpoint, device, data_root)
    from semivae.generative.novelty import novelty as measure

    if opened.shown == opened.image:
        read = given_examples(opened, images, skip_unreadable=skip_unreadable, kept=True)
        found = measure(opened, read.examples, draws, count, seed)
        given = once_used(read)
    else:
        given = read_given(opened, images, skip_unreadable=skip_unreadable)
        examples = opened.with_pictures(given.values, images, skip_unreadable=skip_unreadable)
        found = measure(opened, examples, draws, count, seed)
    if out is not None:
        write_file(out, novelty_csv(given.names, found, list(given.unreadable)))
    report = found.report | ({"out": str(out)} if out else {}) | given.report()
    reply(report, as_json, console(), *summary(found.report, out, opened.nouns))


def summary(report: dict[str, Any], out: Path | None, nouns: Nouns) -> list[str]:
    """What the report says, in lines."""
    one, many = nouns
    given, familiar = count_of(report["count"], *nouns), count_of(report["familiar"], *nouns, before="test")
    lines = [f"{given} beside {familiar} of the run"]
    for score, what in SCORES.items():
        if score in report:
            by = report[score]
            at = f"{report['false_alarms']:.0%} false alarms"
            lines.append(f"{what.format(many)} flags {by['flagged']:.1%} of them at {at}; AUROC {by['auroc']:.3f}")
    lines.append(f"AUROC: the chance that a given {one} scores higher than a test {one}. {report['auroc_assumes']}")
    return lines + ([f"{out}: one row for each {one}; p is the share of test {many} that are as novel"] if out else [])


def novelty_csv(names: Sequence[str], found: Novelty, unreadable: Sequence[str] = ()) -> bytes:
    """Rows `name,decoder,decoder_p[,encoder,encoder_p,...]`, scores and p-values; higher scores are more novel.

    Files that cannot be read are at the end, with empty cells.
    """
    columns = [column for score, p in found.p_values.items() for column in (getattr(found.scores, score), p)]
    rows = [[name, *(f"{value:.6g}" for value in row)] for name, *row in zip(names, *columns, strict=True)]
    header = ["name", *(column for score in found.p_values for column in (score, f"{score}_p"))]
    return csv_bytes(header, rows, unreadable)
