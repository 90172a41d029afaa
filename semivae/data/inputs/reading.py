"""What was found where a user's examples were looked for: they themselves, and what is not among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from semivae.data.formats.preprocessing import Size
from semivae.data.inputs.pixels import as_model_values
from semivae.recipe.folder_source import Fit
from semivae.text import count_of, join_names


@dataclass(frozen=True)
class Reading:
    """Examples that a user gives to a trained model.

    Attributes:
        values: [n, *shape], bytes or floats.
        names: n names: of files, relative to the folder, or numbers from 0.
        sizes: width and height that each image has by itself; empty where examples are no images.
        fit: how images were brought to the model's size.
        unreadable: names of image files that were passed over because they cannot be read, with the reasons.
        left_out: names of files that are no images, with the reasons.
        notes: what a user should know of the files.
    """

    values: Tensor
    names: list[str]
    sizes: Sequence[Size] = ()
    fit: Fit = "crop"
    unreadable: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def examples(self) -> Tensor:
        """The values, as `Pieces.examples` is what is read in pieces."""
        return self.values

    def reading(self) -> Reading:
        """They themselves, as `Pieces.reading` says what was read in pieces."""
        return self

    def remarks(self) -> list[str]:
        """All that somebody who reads the answer should know, in lines."""
        lines = list(self.notes)
        for found, one, many in (
            (self.unreadable, "image file cannot be read and is", "image files cannot be read and are"),
            (self.left_out, "other file is", "other files are"),
        ):
            if found:
                named = join_names([f"{name} ({reason})" for name, reason in found.items()])
                lines.append(f"{count_of(len(found), one, many)} left out: {named}")
        return lines

    def report(self) -> dict[str, object]:
        """Returns what a report says of them; nothing where there is nothing to say."""
        found: dict[str, object] = {
            "unreadable_count": len(self.unreadable),
            "unreadable": dict(self.unreadable),
            "left_out_count": len(self.left_out),
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
        }
        return {key: value for key, value in found.items() if value}


def joined(parts: Sequence[tuple[str, Reading]]) -> Reading:
    """Examples from several places as one; those of a folder are named below it."""
    values = [part.values for _, part in parts]
    if len({value.dtype for value in values}) > 1:
        values = [as_model_values(value) for value in values]
    names = [name for place, part in parts for name in _below(place, part.names, len(part.names) == 1)]
    sized = all(len(part.sizes) == len(part.names) for _, part in parts)
    return Reading(
        torch.cat(values),
        names,
        [size for _, part in parts for size in part.sizes] if sized else (),
        parts[0][1].fit,
        {f"{place}/{name}": reason for place, part in parts for name, reason in part.unreadable.items()},
        {f"{place}/{name}": reason for place, part in parts for name, reason in part.left_out.items()},
        tuple(dict.fromkeys(note for _, part in parts for note in part.notes)),
    )


def _below(place: str, names: Sequence[str], alone: bool) -> list[str]:
    return [place] if alone else [f"{place}/{name}" for name in names]
