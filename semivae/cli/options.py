"""Arguments and options that several commands share."""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

PLACES = (
    "Data are read from --data-root, else from the folder that the environment variable SEMIVAE_DATA names, else from "
    "data/ in the current folder; official data sets that are missing are downloaded there. Runs are written to runs/ "
    "in the current folder, unless --out names another."
)


def share(text: str) -> float:
    """Returns a share such as 95% or 0.95, above 0 and below 1.

    Raises:
        typer.BadParameter: it is none.
    """
    if (value := share_or_all(text)) < 1.0:
        return value
    raise typer.BadParameter(f"{text!r} is no share between 0 and 1; write it as 95% or 0.95")


def share_or_all(text: str) -> float:
    """Returns a share such as 30%, 0.3 or 1, above 0 and at most 1.

    Raises:
        typer.BadParameter: it is none.
    """
    with suppress(ValueError):
        value = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
        if 0.0 < value <= 1.0:
            return value
    raise typer.BadParameter(f"{text!r} is no share between 0 and 1; write it as 95% or 0.95")


class Checkpoint(StrEnum):
    last = "last"
    selected = "selected"
    twin = "twin"


class Part(StrEnum):
    classifier = "classifier"
    features = "features"


class Format(StrEnum):
    onnx = "onnx"
    pt2 = "pt2"
    safetensors = "safetensors"


class SetsBy(StrEnum):
    aps = "aps"
    raps = "raps"


class SplitPart(StrEnum):
    test = "test"
    validation = "validation"


RecipeArgument = Annotated[str, typer.Argument(metavar="RECIPE", help="A YAML file, or the name of a shipped recipe.")]
RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="The folder of a trained run, or hf://OWNER/NAME of a hub.")
]
ImagesArgument = Annotated[
    Path,
    typer.Argument(
        metavar="EXAMPLES", help="A folder or .zip of images, one image, an .npy or .npz file, or the .csv of a table."
    ),
]
LabelOption = Annotated[
    str | None,
    typer.Option(
        "--label",
        metavar="COLUMN",
        help="The column that holds the class, of a table or of one beside images; or the folder of the label y, "
        "among several.",
    ),
]
SetOption = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a key of the recipe, such as training.steps=500. Repeatable."
    ),
]
DataRootOption = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        metavar="DIR",
        help="Folder of the data. Default: where a run found them; else $SEMIVAE_DATA; else data/ in the current "
        "folder.",
    ),
]
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="NAME", help="Where to compute: auto, cpu, cuda or mps.")
]
CalibrateOption = Annotated[
    bool,
    typer.Option(
        "--calibrate", help="Divide the logits by the temperature with the lowest NLL on the validation examples."
    ),
]
VoteOption = Annotated[
    bool,
    typer.Option(
        "--vote", help="Calibrate, and add the decoder's vote with the weight that is best on the validation examples."
    ),
]
PriorOption = Annotated[
    str | None,
    typer.Option(
        "--prior",
        metavar="PRIOR",
        help="Class frequencies of the examples: uniform, CLASS=SHARE,..., ratio=10, a file, or estimate (by EM).",
    ),
]
CoverageOption = Annotated[
    float | None,
    typer.Option(
        "--coverage",
        metavar="SHARE",
        parser=share,
        help="Sets of classes (of numbers, intervals) that hold the right one in at least this share of new examples, "
        "such as 95%.",
    ),
]
SetsOption = Annotated[
    SetsBy, typer.Option("--sets", help="The scores of sets: adaptive, or regularised for many classes.")
]
AtMostErrorOption = Annotated[
    float | None,
    typer.Option(
        "--at-most-error",
        metavar="SHARE",
        parser=share,
        help="Answer only where the run is sure enough for at most this error among the answers, such as 1%.",
    ),
]
CheckpointOption = Annotated[
    Checkpoint,
    typer.Option(
        "--checkpoint",
        metavar="NAME",
        help="Weights to use: last, selected (the lowest validation error) or twin (the supervised baseline).",
    ),
]
SkipOption = Annotated[
    bool,
    typer.Option(
        "--skip-unreadable", help="Pass over image files that cannot be read; the answer names and counts them."
    ),
]
ListOption = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FILE.csv", help="File for the list. Default: standard output."),
]
OutFolder = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Makes random draws repeatable.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace existing results.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout, and nothing else.")]
