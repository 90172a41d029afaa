"""What can be done with a run: evaluate, predict, sample, embed, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from semivae.cli.kinds import Asked, shown_as
from semivae.cli.opening import given_examples, given_values, once_used, open_run, read_given
from semivae.cli.options import (
    AtMostErrorOption,
    CalibrateOption,
    Checkpoint,
    CheckpointOption,
    CoverageOption,
    DataRootOption,
    DeviceOption,
    Format,
    ImagesArgument,
    JsonOption,
    OverwriteOption,
    Part,
    PriorOption,
    RunArgument,
    SetsBy,
    SetsOption,
    SkipOption,
    SplitPart,
    VoteOption,
)
from semivae.cli.showing import classifier_lines, console, reply, result_tables
from semivae.cli.tables import nouns_of
from semivae.cli.writing import check_target, csv_bytes, write_arrays, write_file
from semivae.text import count_of


def evaluate(
    run: RunArgument,
    split: Annotated[SplitPart, typer.Option("--split", help="Examples to measure on.")] = SplitPart.test,
    calibrate: CalibrateOption = False,
    vote: VoteOption = False,
    prior: PriorOption = None,
    test_prior: Annotated[
        str | None,
        typer.Option(
            "--test-prior",
            metavar="PRIOR",
            help="Measure on the largest part of the examples with these class frequencies.",
        ),
    ] = None,
    at_most_error: AtMostErrorOption = None,
    sets: SetsOption = SetsBy.aps,
    judge: Annotated[
        Path | None,
        typer.Option(
            "--judge", metavar="RUN", help="For masks: another run that reads the generated images. Default: the twin."
        ),
    ] = None,
    data_root: DataRootOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure a run on test data, beside its supervised baseline.

    The baseline, or twin, is the same network trained on the labelled part alone.
    """
    opened = open_run(run, Checkpoint.last, device, data_root)
    from semivae.reports.evaluation import evaluate as evaluate_run

    report = evaluate_run(
        opened,
        split=split.value,
        device=device,
        calibrate=calibrate,
        vote=vote,
        prior=prior,
        test_prior=test_prior,
        at_most_error=at_most_error,
        sets=sets.value,
        judge=judge,
    )
    tables = [*result_tables(report), *shown_as(report["kind"]).details(report)]
    last = next((report[step] for step in ("corrected", "voted", "calibrated") if step in report), None)
    reply(report, as_json, console(), *tables, *(classifier_lines(last, nouns_of(report)) if last else []))


def predict(
    run: RunArgument,
    images: ImagesArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE.csv",
            help="File for the result; for masks, a folder. Default: standard output.",
        ),
    ] = None,
    calibrate: CalibrateOption = False,
    vote: VoteOption = False,
    prior: PriorOption = None,
    coverage: CoverageOption = None,
    sets: SetsOption = SetsBy.aps,
    at_most_error: AtMostErrorOption = None,
    novelty: Annotated[
        bool, typer.Option("--novelty", help="Add how far each example lies from the training ones, with a p-value.")
    ] = False,
    skip_unreadable: SkipOption = False,
    checkpoint: CheckpointOption = Checkpoint.last,
    overwrite: OverwriteOption = False,
    data_root: DataRootOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Classify or segment new images, or answer for rows of a table.

    Classes and numbers are a CSV, with all probabilities; masks and overlays go into a folder.
    """
    opened = open_run(run, checkpoint, device, data_root)
    from semivae.classification import Classifier

    shown = shown_as(opened.task.name)
    shown.check_out(out, overwrite)
    if shown.predicts_pieces:
        kept = vote or novelty or coverage is not None  # which look at the images more than once
        found = given_examples(opened, images, skip_unreadable=skip_unreadable, kept=kept)
    else:
        found = read_given(opened, images, skip_unreadable=skip_unreadable)
    classifier = Classifier.of(opened, calibrate=calibrate, vote=vote, prior=prior)
    shown.predict(classifier, found, out, overwrite, as_json, Asked(coverage, at_most_error, novelty, sets.value))


def sample(
    run: RunArgument,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="FILE", help="A picture (.png, .jpg), arrays (.npz), or rows of a table (.csv)."
        ),
    ],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Number of samples.")] = 64,
    given: Annotated[
        list[str], typer.Option("--given", metavar="NAME=VALUE", help="Fix a variable: y=3, y=[0,1,2], s=MASK.png.")
    ] = [],  # noqa: B006  typer copies it
    columns: Annotated[int | None, typer.Option("--columns", min=1, help="Images per row of the picture.")] = None,
    noise: Annotated[bool, typer.Option("--noise", help="Draw the pixels, instead of showing their means.")] = False,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Makes the samples repeatable.")] = None,
    checkpoint: CheckpointOption = Checkpoint.last,
    overwrite: OverwriteOption = False,
    data_root: DataRootOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Generate images of a class of your choice, or rows of a table."""
    values = given_values(given)
    check_target(out, overwrite, ".png", ".jpg", ".jpeg", ".npz", ".csv")
    import numpy as np

    opened = open_run(run, checkpoint, device, data_root)
    from semivae.generative.grids import save_grid
    from semivae.generative.sampling import draw

    encoding = opened.encoding if out.suffix.lower() == ".csv" else None
    if out.suffix.lower() == ".csv" and encoding is None:
        raise typer.BadParameter("a .csv file is for runs that learnt from a table file", param_hint="--out")
    drawn = draw(opened, count, values, noise=noise, seed=seed)
    if encoding is not None:
        cells = encoding.decode(drawn[opened.image].numpy())
        if (labels := opened.roles.label_in(drawn)) is not None:
            cells = {encoding.label: opened.task.texts(labels[:, None], opened.classes), **cells}
        write_file(out, csv_bytes(cells, zip(*cells.values(), strict=True)))
    elif out.suffix.lower() == ".npz":
        names = {"classes": np.asarray(opened.classes)} if opened.classes else {}
        write_arrays(out, names | {name: value.numpy() for name, value in drawn.items()})
    else:
        save_grid(shown_as(opened.task.name).picture(opened, drawn), out, columns, overwrite=overwrite)
    report = {"run": str(run), "out": str(out), "count": count, "given": values}
    reply(report, as_json, console(), f"{out}: {count_of(count, 'sample', 'samples')}")


def embed(
    run: RunArgument,
    images: ImagesArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE.npz", help="File for the arrays `features` and `names`.")
    ],
    skip_unreadable: SkipOption = False,
    checkpoint: CheckpointOption = Checkpoint.last,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Turn examples into feature vectors."""
    check_target(out, overwrite, ".npz")
    import numpy as np

    opened = open_run(run, checkpoint, device)
    from semivae.classification.posterior import embed as embed_images

    given = given_examples(opened, images, skip_unreadable=skip_unreadable)
    features = embed_images(opened, given.examples)
    found = once_used(given)
    passed = {"unreadable": np.asarray(list(found.unreadable))} if found.unreadable else {}
    write_arrays(out, {"features": features, "names": np.asarray(found.names), **passed})
    count, size = features.shape
    report = {"run": str(run), "out": str(out), "count": count, "features": size, **found.report()}
    reply(
        report,
        as_json,
        console(),
        f"{out}: {count_of(count, 'example', 'examples')}, {count_of(size, 'feature', 'features')} each",
    )


def export(
    run: RunArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write: .onnx, .pt2 or .safetensors.")
    ],
    part: Annotated[
        Part, typer.Option("--part", metavar="PART", help="classifier (probabilities) or features.")
    ] = Part.classifier,
    format: Annotated[
        Format | None,
        typer.Option("--format", metavar="NAME", help="onnx, pt2 or safetensors. Default: by the ending of FILE."),
    ] = None,
    calibrate: CalibrateOption = False,
    coverage: CoverageOption = None,
    sets: SetsOption = SetsBy.aps,
    with_preprocessing: Annotated[
        bool,
        typer.Option(
            "--with-preprocessing",
            help="Let the .onnx or .pt2 file take bytes of pictures of any size, or raw rows of a table.",
        ),
    ] = False,
    checkpoint: CheckpointOption = Checkpoint.last,
    overwrite: OverwriteOption = False,
    data_root: DataRootOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Write the encoder as ONNX, pt2 or safetensors, and check it.

    ONNX and pt2 files run without semivae; docs/exported-files.md has a client for each.
    """
    check_target(out, overwrite)
    opened = open_run(run, checkpoint, device, data_root)
    from semivae.export.encoder import export as export_run

    chosen = format.value if format else None
    report = export_run(opened, out, part.value, chosen, overwrite, calibrate, with_preprocessing, coverage, sets.value)
    difference = f"largest difference from the run {report['largest_difference']:.2g}"
    inputs = f"{report['checked_on']} {report['checked_with']}"
    reply(
        report,
        as_json,
        console(),
        f"{out}: {report['part']} as {report['format']}, {difference} on {inputs}",
        *([f"temperature {report['temperature']:.3g}"] if calibrate else []),
        f"input {report['preprocessing']['words']}",
        *([f"sets {report['sets']['words']}"] if "sets" in report else []),
    )
