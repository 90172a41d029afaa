"""Commands on a run whose label is a map: what `predict` and `impute` write, and the picture that `sample` makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import typer

from semivae.cli.showing import classifier_lines, console, reply
from semivae.cli.writing import csv_bytes, write_file
from semivae.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

    from semivae.api import Run
    from semivae.classification import Classifier
    from semivae.data.inputs.reading import Reading
    from semivae.generative.imputation import Imputed


def check_masks(out: Path | None, overwrite: bool) -> None:
    """Refuse what is no folder, or a folder that holds anything."""
    if out is None or (out.suffix and not out.is_dir()):
        raise typer.BadParameter(
            "the label is a map, so masks and overlays are written: give a folder", param_hint="--out"
        )
    if out.is_file():
        raise RunError(f"{out}: this is a file; give the name of a folder")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise RunError(f"{out}: exists and is not empty; choose another folder, or replace files with --overwrite")


def predict_masks(classifier: Classifier, images: Reading, out: Path | None, overwrite: bool, as_json: bool) -> None:
    """Write an index mask, an overlay and the confidence of every image, and the palette.

    OUT/masks/NAME.png, OUT/overlays/NAME.png, OUT/confidence/NAME.png and OUT/palette.txt.
    """
    from semivae.runs.model import run_palette
    from semivae.tasks.map_pictures import confidence_png, mask_png, overlay_png, palette_text

    assert out is not None
    run, names, start = classifier.run, images.names, 0
    files = mask_names(names)
    palette = run_palette(run)
    write_in(out, "palette.txt", palette_text(palette).encode())
    if images.unreadable:
        write_in(out, "unreadable.csv", csv_bytes(["name", "reason"], images.unreadable.items()))
    for probabilities in classifier.in_parts(images.values):
        batch = len(probabilities)
        pixels = images.values[start : start + batch]
        shown = pixels.float() / 255 if pixels.dtype.is_floating_point is False else pixels
        confidences, maps = (found.numpy() for found in probabilities.max(dim=1))
        chosen = files[start : start + batch]
        for file, image, numbers, confidence in zip(chosen, shown.numpy(), maps, confidences, strict=True):
            write_in(out, f"masks/{file}", mask_png(numbers, palette))
            write_in(out, f"overlays/{file}", overlay_png(image, numbers, palette))
            write_in(out, f"confidence/{file}", confidence_png(confidence))
        start += batch
    facts = classifier.facts()
    report = {"run": str(run.path), "out": str(out), "count": len(names), "classes": list(run.classes), **facts}
    report |= images.report()
    done = f"{out}: masks, overlays and confidences of {len(names)} images, and palette.txt"
    reply(report, as_json, console(), done, *classifier_lines(facts))


def mask_names(names: Sequence[str]) -> list[str]:
    """A mask's file for every image: NAME.png, or NAME.ENDING.png where a.jpg and a.png would share one."""
    files = [f"{PurePosixPath(name).with_suffix('')}.png" for name in names]
    return files if len(set(files)) == len(files) else [f"{name}.png" for name in names]


def write_in(folder: Path, name: str, data: bytes) -> None:
    path = folder / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{path.parent}: cannot be made: {error.strerror}") from None
    write_file(path, data)


def picture_of(run: Run, drawn: Mapping[str, Any]) -> Tensor:
    """Each sample's mask beside its image."""
    from semivae.runs.model import run_palette
    from semivae.tasks.map_pictures import beside

    return beside(drawn[run.label], drawn[run.image], run_palette(run))


def map_arrays(imputed: Imputed, classes: Sequence[str]) -> dict[str, Any]:
    """The maps of all draws, [n, draws, height, width]."""
    import numpy as np

    assert imputed.labels is not None
    return {"maps": imputed.labels.numpy(), "classes": np.asarray(classes)}


def finish_maps(
    run: Run, out: Path, names: Sequence[str], imputed: Imputed, rows: Tensor, values: Mapping[str, Any]
) -> Tensor:
    """Write every image's likeliest map as OUT/masks/NAME.png; the images of `rows` with their maps beside them.

    Args:
        run: the run.
        out: a folder.
        names: of the images.
        imputed: all of them.
        rows: [some, 3 + draws, channels, height, width]: known part, mean, spread, draws.
        values: what the user gave, for the map's known part.
    """
    import torch

    from semivae.runs.given import given_values
    from semivae.runs.model import run_palette
    from semivae.tasks.map_pictures import beside, mask_png
    from semivae.variables import VOID

    assert imputed.labels is not None
    likeliest, palette = imputed.labels.mode(dim=1).values, run_palette(run)
    for file, numbers in zip(mask_names(names), likeliest.numpy(), strict=True):
        write_in(out, f"masks/{file}", mask_png(numbers, palette))
    unknown = torch.full_like(likeliest, VOID)
    known = given_values(run, run.label, values[run.label], len(names)) if run.label in values else unknown
    maps = torch.cat([torch.stack([known, likeliest, unknown], dim=1), imputed.labels], dim=1)
    return beside(maps[: len(rows)].flatten(0, 1), rows.flatten(0, 1), palette)
