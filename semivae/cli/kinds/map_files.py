"""Commands on a run whose label is a map: what `predict` and `impute` write, and the picture that `sample` makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import typer

from semivae.cli.showing import classifier_lines, console, reply
from semivae.cli.writing import check_target_folder, csv_bytes, make_folder, write_file
from semivae.text import count_of

if TYPE_CHECKING:
    from torch import Tensor

    from semivae.api import Run
    from semivae.classification import Classifier
    from semivae.cli.kinds import Asked
    from semivae.data.inputs.reading import Reading
    from semivae.generative.imputation import Imputed


def check_masks(out: Path | None, overwrite: bool) -> None:
    """Refuses what is no folder, or a folder that holds anything."""
    if out is None or (out.suffix and not out.is_dir()):
        raise typer.BadParameter(
            "the label is a map, so masks and overlays are written: give a folder", param_hint="--out"
        )
    check_target_folder(out, overwrite)


def predict_masks(
    classifier: Classifier, images: Reading, out: Path | None, overwrite: bool, as_json: bool, asked: Asked
) -> None:
    """Writes an index mask and the confidence of every image at its own size, an overlay at the model's, and legends.

    OUT/masks/NAME.png, OUT/confidence/NAME.png, OUT/overlays/NAME.png, OUT/legend.csv and OUT/palette.txt.
    """
    from semivae.classification.posterior import refuse_by_kind
    from semivae.data.formats.preprocessing import lost_share
    from semivae.data.inputs.pixels import as_model_values
    from semivae.runs.palettes import run_palette
    from semivae.tasks.map_pictures import (
        VOID_NUMBER,
        at_own_size,
        confidence_png,
        legend_rows,
        mask_png,
        overlay_png,
        palette_text,
    )

    assert out is not None
    run, names, row = classifier.run, images.names, 0
    refuse_by_kind(run, sets=asked.coverage or asked.at_most_error, doubt=asked.novelty)
    palette = run_palette(run)
    write_in(out, "palette.txt", palette_text(palette).encode())
    write_in(out, "legend.csv", csv_bytes(["number", "class", "red", "green", "blue"], legend_rows(palette)))
    if images.unreadable:
        write_in(out, "unreadable.csv", csv_bytes(["name", "reason"], images.unreadable.items()))
    files = mask_names(names)
    for probabilities in classifier.in_parts(images.values):
        for each in probabilities:
            numbers, sure = at_own_size(each, images.sizes[row], images.fit)
            write_in(out, f"masks/{files[row]}", mask_png(numbers, palette))
            write_in(out, f"confidence/{files[row]}", confidence_png(sure))
            shown = run.inputs.as_shown(as_model_values(images.values[row]))
            write_in(out, f"overlays/{files[row]}", overlay_png(shown.numpy(), each.argmax(0).numpy(), palette))
            row += 1
    facts = classifier.facts()
    report = {"run": str(run.path), "out": str(out), "count": len(names), "classes": list(run.classes), **facts}
    counted = count_of(len(names), "image", "images")
    done = f"{out}: masks and confidences of {counted} at their own size, overlays, legend.csv, palette.txt"
    height, width = run.inputs.shape[1:]
    cropped = sum(lost_share(size, (width, height), images.fit) > 0 for size in images.sizes)
    report |= {"cropped_count": cropped, **images.report()}
    if cropped:
        done += f"\nof {counted} {count_of(cropped, 'was', 'were')} cropped; masks are void, {VOID_NUMBER}, outside"
    reply(report, as_json, console(), done, *classifier_lines(facts, run.nouns))


def mask_names(names: Sequence[str]) -> list[str]:
    """A mask's file for every image: NAME.png, or NAME.ENDING.png where a.jpg and a.png would share one."""
    files = [f"{PurePosixPath(name).with_suffix('')}.png" for name in names]
    return files if len(set(files)) == len(files) else [f"{name}.png" for name in names]


def write_in(folder: Path, name: str, data: bytes) -> None:
    path = folder / name
    make_folder(path.parent)
    write_file(path, data)


def picture_of(run: Run, drawn: Mapping[str, Any]) -> Tensor:
    """Returns each sample's mask beside its image."""
    from semivae.runs.palettes import run_palette
    from semivae.tasks.map_pictures import beside

    return beside(drawn[run.label], drawn[run.image], run_palette(run))


def map_arrays(imputed: Imputed, classes: Sequence[str]) -> dict[str, Any]:
    """The maps of all draws, [n, draws, height, width]."""
    import numpy as np

    assert imputed.labels is not None
    return {"maps": imputed.labels.numpy(), "classes": np.asarray(classes)}


def finish_maps(
    run: Run, out: Path, images: Reading, imputed: Imputed, rows: Tensor, values: Mapping[str, Any]
) -> Tensor:
    """Writes every image's likeliest map as OUT/masks/NAME.png; returns images of `rows` with maps beside them.

    Args:
        run: the run.
        out: a folder.
        images: those with something missing.
        imputed: all of them.
        rows: [some, 3 + draws, channels, height, width]: known part, mean, spread, draws.
        values: what the user gave, for the map's known part.
    """
    import torch

    from semivae.runs.given import given_values
    from semivae.runs.palettes import run_palette
    from semivae.tasks.map_pictures import beside, map_at_own_size, mask_png
    from semivae.variables import VOID

    assert imputed.labels is not None
    likeliest, palette, names = imputed.labels.mode(dim=1).values, run_palette(run), images.names
    for file, numbers, size in zip(mask_names(names), likeliest, images.sizes, strict=True):
        write_in(out, f"masks/{file}", mask_png(map_at_own_size(numbers, size, images.fit, len(run.classes)), palette))
    unknown = torch.full_like(likeliest, VOID)
    known = given_values(run, run.label, values[run.label], len(names)) if run.label in values else unknown
    maps = torch.cat([torch.stack([known, likeliest, unknown], dim=1), imputed.labels], dim=1)
    return beside(maps[: len(rows)].flatten(0, 1), rows.flatten(0, 1), palette)
