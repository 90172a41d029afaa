"""The encoder without semivae: a classifier or a feature extractor as ONNX, as a torch.export archive, or as weights.

An exported file takes float32 images in [0, 1] of shape (n, channels, height, width), any n (tables: (n, columns)); it
makes them black and white where the run's source does. With its preprocessing inside, it takes bytes (n, height, width,
channels) of any size, or raw rows (`semivae.export.preparation`).
`classifier` gives `probabilities` (n, K), calibrated if asked for (for numbers `mean_and_deviation` (n, 2, ...), in the
unit of the label), `features` gives `features` (n, D). A file is put in
place only after it has given the same numbers as the model on real images.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from semivae.classification import Classifier
from semivae.classification.calibration import Calibration, calibration_of
from semivae.classification.posterior import batches, label_factor
from semivae.classification.trust import Score, Validated
from semivae.data.features.pictures import pictures_of
from semivae.data.inputs.inputs import pictures_of_inputs
from semivae.data.inputs.pixels import as_model_values
from semivae.errors import DataError, ExportError
from semivae.export.formats import (
    READERS,
    WRITERS,
    EncoderPart,
    Exported,
    Format,
    Part,
    PreparedEncoder,
)
from semivae.export.preparation import preparation_of, preparing_module, raw_examples
from semivae.files import refuse_occupied
from semivae.recipe import dump_recipe
from semivae.runs.model import TrainedModel
from semivae.text import count_of

LARGEST_DIFFERENCE = 1e-4  # relative to the largest output where that exceeds 1
IMAGES_CHECKED = 64


@dataclass(frozen=True)
class CheckedImages:
    """Images for the check, float32 (n, C, H, W), and what they are in words."""

    images: Tensor
    origin: str


def export(
    run: TrainedModel,
    path: str | Path,
    part: str = "classifier",
    format: str | None = None,
    overwrite: bool = False,
    calibrate: bool = False,
    with_preprocessing: bool = False,
    coverage: float | None = None,
    sets: Score = "aps",
) -> dict[str, Any]:
    """Write the run's encoder to `path` and check the file against the model.

    Without `format` the ending of `path` decides: .onnx, .pt2 or .safetensors. The ONNX and pt2 files carry the class
    names as metadata; the safetensors file holds the weights of q(label | image) and, as metadata, recipe and classes.
    With `calibrate` the probabilities are softmax(logits / temperature), the temperature that of
    `semivae.classification.calibration`; it is in the metadata too, as the weights alone cannot hold it; so is the
    threshold between black and white. `preprocessing` in it says as JSON what becomes of a picture or a row before the
    network sees it; `with_preprocessing` puts that into the ONNX or pt2 file. What answers need besides, such as the
    thresholds of attributes, is "chosen" there, also as JSON.

    With `coverage`, in (0, 1), "sets" in the metadata holds as JSON what prediction sets with that coverage need: the
    threshold and how many validation examples it was chosen on (`semivae.classification.trust.SetThreshold`), the
    scores that `sets` names ("aps", adaptive, or "raps", regularised) with their penalty, and `words` that say how to
    use them.

    Returns path, part, format, temperature, `largest_difference` from the model, `checked_on` (how many images),
    `checked_with` (which images), name and shape of `input` and `output`, `preprocessing` as in the
    metadata, and with `coverage` also `sets`.

    Raises:
        ExportError: the file exists, cannot be written, or differs from the model by more than 1e-4; or features are
            to be calibrated or to hold sets, or weights or rows of an array to hold preprocessing. No file is left.
        RunError, DataError: as `calibration_of` and `Validated.sets` say.
    """
    path, known_part = Path(path), _known_part(part)
    known_format = _format_of(path, format)
    refuse_occupied(path, overwrite, error=ExportError)
    run.require_one_input("an export")
    if known_part == "features" and (calibrate or coverage is not None):
        lack, option = ("probabilities to calibrate", "calibrate") if calibrate else ("prediction sets", "coverage")
        raise ExportError(f"features have no {lack}; leave out {option}, or export the classifier")
    if with_preprocessing and known_format == "safetensors":
        raise ExportError(
            "a safetensors file holds weights alone, no preprocessing; write .onnx or .pt2, or leave it out"
        )
    temperature = calibration_of(run).temperature if calibrate else 1.0
    promised = {} if coverage is None else {"sets": _sets(run, calibrate, coverage, sets)}
    factor = label_factor(run).standalone().cpu()
    front = run.feature_networks.get(run.image)
    front = None if front is None else front.cpu().to(memory_format=torch.contiguous_format)
    model = EncoderPart(
        factor, run.image, known_part, temperature, run.threshold, run.task, front, run.canvas.called
    ).eval()
    inputs = check_inputs(run)
    exported: Exported = model
    if with_preprocessing:
        prepare = preparing_module(run)
        exported = PreparedEncoder(prepare, model).eval()
        with torch.no_grad():
            cases = [(raw, _expected(model, read)) for raw, read in raw_examples(run, prepare, inputs.images)]
    else:
        cases = _cases(model, inputs.images)
    preparation = preparation_of(run, with_preprocessing)
    first, expected = cases[0]
    with _unfinished(path) as folder:
        unchecked = folder / f"model.{known_format}"
        _write(known_format, exported, first, unchecked, _metadata(run, model, preparation, promised))
        read = READERS[known_format](unchecked, exported)
        difference = max(check(read, given, wanted) for given, wanted in cases)
        os.replace(unchecked, path)
    shape = exported.shape(first) if isinstance(exported, PreparedEncoder) else _shape(model, first, first)
    return {
        "path": str(path),
        "part": known_part,
        "format": known_format,
        "temperature": temperature,
        **promised,
        "largest_difference": difference,
        "checked_on": len(inputs.images),
        "checked_with": inputs.origin,
        "input": {"name": exported.input_name, "dtype": str(first.dtype).removeprefix("torch."), "shape": shape},
        "output": {
            "name": exported.output_name,
            "dtype": "float32",
            "shape": _shape(model, inputs.images, expected) if not with_preprocessing else ["n", *expected.shape[1:]],
        },
        "preprocessing": preparation,
    }


def _sets(run: TrainedModel, calibrate: bool, coverage: float, score: Score) -> dict[str, Any]:
    """What whoever runs the file needs to make prediction sets of its probabilities."""
    threshold = Validated.of(Classifier.of(run, calibrate=calibrate)).sets(coverage, score)
    held = {"of": run.task.promised} if run.task.promised else {}
    return threshold.facts() | held | {"words": threshold.words}


Case = tuple[Tensor, Tensor]  # an input of the file, and what the model says of it


def _cases(model: EncoderPart, images: Tensor) -> list[Case]:
    """The model's own inputs, and larger ones where their size is open."""
    inputs = [images, *([_larger(images[:2], model)] if model.free_sides(images) else [])]
    with torch.no_grad():
        return [(given, _expected(model, given)) for given in inputs]


def check(exported: Callable[[Tensor], Tensor], images: Tensor, expected: Tensor) -> float:
    """Returns the largest absolute difference of an exported model from `expected` (n, ...), on one image and the rest.

    Two batch sizes, because a batch size that was frozen in is the usual fault.

    Raises:
        ExportError: above 1e-4 (times the largest output, where that exceeds 1), another shape, or not finite.
    """
    try:
        outputs = [exported(images[:1]), exported(images[1:])]
    except Exception as reason:  # whatever the foreign runtime raises, the export has failed
        raise ExportError(f"the exported model does not run: {reason}; no file was written") from reason
    found = torch.cat(outputs)
    if found.shape != expected.shape:
        raise ExportError(
            f"the exported model gives outputs of shape {tuple(found.shape)}, the model {tuple(expected.shape)}; "
            "no file was written"
        )
    difference = float((found - expected).abs().max())
    if not difference <= LARGEST_DIFFERENCE * max(1.0, float(expected.abs().max())):  # NaN fails here too
        raise ExportError(
            f"the exported model differs from the model by {difference:.2g} on "
            f"{count_of(len(images), 'input', 'inputs')}, more than {LARGEST_DIFFERENCE:g} allows; no file was written"
        )
    return difference


def check_inputs(run: TrainedModel, count: int = IMAGES_CHECKED) -> CheckedImages:
    """Up to `count` validation images of the run (training images where it has none); random ones without the data."""
    if run.feature_networks:
        return _pictures(run, count)
    try:
        train, rows = run.dataset().train[run.image], run.split().validation[:count]
    except DataError:
        shape = run.recipe.variables[run.image].shape or ()
        random = torch.rand((count, *shape), generator=torch.Generator().manual_seed(0))
        return CheckedImages(random, f"random {run.nouns[1]}, because the run's data or its split cannot be read")
    origin = f"validation {run.nouns[1]}"
    if len(rows) < 2:
        rows, origin = torch.arange(min(count, len(train))), f"training {run.nouns[1]}"
    images = next(batches(run, train[rows], count))[run.image].cpu()
    if len(images) == 1:  # of a lone one the size of the batch would be frozen in
        images = torch.cat([images, images])
    if run.threshold is None:
        return CheckedImages(images, origin)
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    return CheckedImages(
        (images + noise) / 2, f"{origin} and noise, half each"
    )  # greys: the file makes them black and white


def _pictures(run: TrainedModel, count: int) -> CheckedImages:
    """Up to `count` training pictures of a run that starts from their features; random ones without the data."""
    seen = pictures_of_inputs(run.inputs)
    assert seen is not None
    try:
        with pictures_of(run.dataset(), seen.preprocessing) as pictures:
            return CheckedImages(as_model_values(pictures.read(range(min(count, len(pictures))))), "training images")
    except DataError:
        random = torch.rand((count, *seen.shape), generator=torch.Generator().manual_seed(0))
        return CheckedImages(random, "random images, because the run's data cannot be read")


def _known_part(part: str) -> Part:
    for known in get_args(Part):
        if part == known:
            return known  # type: ignore[no-any-return]
    raise ExportError(f"part: {part!r} is unknown; use {' or '.join(get_args(Part))}")


def _format_of(path: Path, format: str | None) -> Format:
    ending = path.suffix.removeprefix(".").lower()
    formats: tuple[Format, ...] = get_args(Format)
    choice = ending if format is None else format
    if format is not None and ending in formats and ending != format:
        raise ExportError(
            f"{path} ends in .{ending}, but the format asked for is {format}; rename it or drop the format"
        )
    for known in formats:
        if choice == known:
            return known
    known_formats = ", ".join(formats)
    if format is None:
        raise ExportError(f"{path}: the ending names no format; use one of {known_formats}, or say the format")
    raise ExportError(f"format: {format!r} is unknown; use one of {known_formats}")


@contextlib.contextmanager
def _unfinished(path: Path) -> Iterator[Path]:
    """Yields a temporary folder on the disk of `path`, deleted afterwards: exporters may write more than one file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as folder:
            yield Path(folder)
    except OSError as reason:
        raise ExportError(f"{path} cannot be written: {reason.strerror or reason}") from reason


def _expected(model: EncoderPart, images: Tensor) -> Tensor:
    """What the model itself says, (n, K) or (n, D), through the distribution and not through the module exported."""
    sample = model.sample(images)
    if model.part == "features":
        return model.conditional.features(sample)
    return model.task.outputs_of(model.conditional(sample), model.temperature)


def _write(format: Format, model: Exported, images: Tensor, path: Path, metadata: dict[str, str]) -> None:
    try:
        WRITERS[format](model, images, path, metadata)
    except (ExportError, OSError):
        raise
    except Exception as reason:  # whatever torch's exporters raise for a network that they cannot follow
        raise ExportError(f"torch cannot export this network as {format}: {reason}; no file was written") from reason


def _larger(images: Tensor, model: EncoderPart) -> Tensor:
    """Images of another size, to find a size that was frozen in: larger by one multiple down, by two across."""
    free, multiple = model.free_sides(images), model.size_multiple or 0
    across, down = (2 * multiple if 3 in free else 0), (multiple if 2 in free else 0)
    return torch.nn.functional.pad(images, (0, across, 0, down), mode="replicate")


def _shape(model: EncoderPart, images: Tensor, values: Tensor) -> list[int | str]:
    """Returns the shape of inputs or outputs `values` in words: n for the batch, and for sides that are free."""
    shape: list[int | str] = ["n", *values.shape[1:]]
    if values.ndim == 4:
        for place in model.free_sides(images):
            shape[place] = f"{model.size_multiple} {'rows' if place == 2 else 'columns'}"
    return shape


def _metadata(
    run: TrainedModel, model: EncoderPart, preparation: dict[str, Any], promised: dict[str, Any]
) -> dict[str, str]:
    calibration = Calibration(temperature=model.temperature)
    chosen = {} if model.part == "features" else {"chosen": Classifier(run, calibration).chosen}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    unit = run.recipe.variables[run.label].unit if model.part == "classifier" else None
    return {
        "part": model.part,
        "classes": json.dumps(list(run.classes)),
        "temperature": repr(model.temperature),
        "threshold": repr(model.threshold),
        "preprocessing": json.dumps(preparation),
        "recipe": dump_recipe(run.recipe),
        **({"unit": unit} if unit else {}),
        **{name: json.dumps(facts) for name, facts in run.task.metadata(run.recipe.variables[run.label]).items()},
        **{name: json.dumps(facts) for name, facts in (promised | chosen).items()},
    }
