"""How one example is shown to people: a picture, or the cells of a row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from semivae.data.inputs.inputs import Inputs
from semivae.data.inputs.pixels import as_model_values
from semivae.runs.model import TrainedModel
from semivae.variables import Sample

Picture = NDArray[np.uint8]
MOST_COLUMNS = 8  # of a row
ROWS_OF_STRIP = 4  # where examples are no pictures


@dataclass(frozen=True, eq=False)
class Look:
    """One example, or a strip of several.

    Attributes:
        picture: bytes [height, width] or [height, width, 3]; None of a row.
        cells: what a row holds, by column; empty of a picture.
        title: a few words about it.
        note: one more line.
        alt: the picture in words.
    """

    picture: Picture | None = None
    cells: Mapping[str, str] = field(default_factory=dict)
    title: str = ""
    note: str = ""
    alt: str = ""

    def saying(self, title: str, note: str = "", alt: str = "") -> Look:
        """The same with words."""
        return replace(self, title=title, note=note, alt=alt)


def pixels_of(images: Tensor) -> Picture:
    """Images [n, channels, height, width] in [0, 1] as bytes [n, height, width, 1 or 3]; other counts are averaged."""
    shown = images.detach().cpu().float()
    if shown.shape[1] not in (1, 3):
        shown = shown.mean(dim=1, keepdim=True)
    bytes_: Picture = (shown.clamp(0.0, 1.0) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return bytes_


def strip(images: Sequence[Picture]) -> Picture:
    """Pictures [height, width, channels] of one size beside each other; grey ones become colours beside colours."""
    channels = max(image.shape[-1] for image in images)
    return np.concatenate([np.broadcast_to(image, (*image.shape[:2], channels)) for image in images], axis=1)


def strips_of(looks: Sequence[Look], title: str, alt: str) -> list[Look]:
    """Several pictures as one; rows one by one, under the same title."""
    pictures = [look.picture for look in looks if look.picture is not None]
    if pictures:
        return [Look(strip(pictures), title=title, alt=alt)]
    return [look.saying(title) for look in looks[:ROWS_OF_STRIP]]


def strips_by(looks: Sequence[Look], titles: Sequence[str], alt: str) -> list[Look]:
    """The same of as many looks for each title, one title after the other; `alt` comes before it."""
    each = len(looks) // len(titles)
    return [
        drawn
        for place, title in enumerate(titles)
        for drawn in strips_of(looks[place * each : (place + 1) * each], title, f"{alt} {title}")
    ]


def looks_of(run: TrainedModel, values: Tensor, inputs: Inputs) -> list[Look]:
    """What is seen of examples as the model takes them, [n, *shape], without titles; `inputs` says what they are."""
    if inputs.are_images:
        return [Look(picture) for picture in pixels_of(values)]
    rows = values.detach().cpu().float().numpy()
    if run.encoding is not None:
        columns = run.encoding.decode(rows)
    else:
        columns = {f"{run.image}[{place}]": [f"{value:.4g}" for value in column] for place, column in enumerate(rows.T)}
    shown = {name: [short_number(cell) for cell in column] for name, column in list(columns.items())[:MOST_COLUMNS]}
    return [Look(cells=dict(zip(shown, row, strict=True))) for row in zip(*shown.values(), strict=True)]


def short_number(text: str) -> str:
    """A number with a fraction in four significant digits; anything else as it is."""
    with suppress(ValueError):
        if "." in text and math.isfinite(value := float(text)):
            return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.0f}"
    return text


def drawn_looks(run: TrainedModel, drawn: Sample) -> list[Look]:
    """The same of the decoder's samples, by name."""
    return looks_of(run, run.shown_inputs.as_shown(drawn[run.shown]), run.shown_inputs)


def raw_looks(run: TrainedModel, part: Sample) -> list[Look]:
    """The same of examples as data sets keep them, by name; of features, the pictures that they are of."""
    if (spec := run.recipe.features.get(run.image)) is not None:
        return [Look(picture) for picture in pixels_of(as_model_values(part[spec.of]))]
    return looks_of(run, run.values(run.examples(part))[run.image], run.inputs)
