"""Images as examples: read from files, folders, arrays and Pillow images, and shown as pictures."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from semivae.data.dataset import Dataset
from semivae.data.formats.file_trees import Files, open_files
from semivae.data.formats.image_files import (
    ADVICE,
    AT_A_TIME,
    Use,
    decode_image,
    is_image,
    read_pictures,
    why_no_image,
)
from semivae.data.formats.preprocessing import Preprocessing, Size, lost_share
from semivae.data.formats.regular_files import read_regular
from semivae.data.formats.remarks import LOST, remarks
from semivae.data.inputs.arrays import as_array, as_examples, image_size, read_array_file
from semivae.data.inputs.pieces import Pieces, pieces_of
from semivae.data.inputs.pixels import as_model_values, binarized, pixel_doubts
from semivae.data.inputs.reading import Reading, joined
from semivae.data.packed.store import is_packed
from semivae.data.paths import reachable
from semivae.errors import DataError
from semivae.recipe.schema import Recipe
from semivae.text import join_names

PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


class Images:
    """Images.

    Args:
        shape: (channels, height, width).
        threshold: where black and white are parted, in [0, 1], of images that are binarised; else None.
        preprocessing: how files and images of another size become such images; None: cropped, on white.
        use: makes of images [n, *shape], bytes or floats, what `read` returns of them; some at a time, so that memory
            stays flat. None: they themselves.
    """

    are_images = True
    called = "images"

    def __init__(
        self,
        shape: tuple[int, ...],
        threshold: float | None = None,
        preprocessing: Preprocessing | None = None,
        use: Use | None = None,
    ) -> None:
        self.shape, self.threshold, self.use = shape, threshold, use
        channels, height, width = shape
        self.preprocessing = preprocessing or Preprocessing(channels, height, width)

    def read(self, given: object, *, skip_unreadable: bool = False) -> Reading:
        """Images in files, Pillow images, or arrays.

        Image files, Pillow images and arrays of another size are fitted as the images were that the run learnt from.

        Args:
            given: the path of an image file, of a folder or .zip of them (searched to any depth), of an .npy, or of an
                .npz whose array x, or only one, is taken; a Pillow image; a list of such paths or images; or an array
                (see `semivae.data.inputs.arrays.as_examples`).
            skip_unreadable: pass over image files that cannot be read, and name them.

        Returns:
            uint8 [n, *shape] from image files, float32 [n, *shape] from arrays; and n names, in order: the files'
            names relative to the folder, or numbers from 0.

        Raises:
            DataError: nothing there, no image in it, files that are no images, or arrays of other channels.
        """
        if isinstance(given, str | Path):
            return self._read_path(Path(given), skip_unreadable)
        if isinstance(given, Image.Image):
            pixels = torch.from_numpy(self._decoded(given)[None].copy())
            return Reading(self._used(pixels), ["0"], [given.size], self.preprocessing.fit)
        if isinstance(given, Sequence) and given and all(isinstance(one, str | Path | Image.Image) for one in given):
            parts = [self.read(one, skip_unreadable=skip_unreadable) for one in given]
            places = [str(one) if isinstance(one, str | Path) else str(row) for row, one in enumerate(given)]
            return joined(list(zip(places, parts, strict=True)))
        return self._from_array(given)

    def pieces(self, given: object, *, skip_unreadable: bool = False, kept: bool = False) -> Pieces | None:
        """The image files of a large folder or .zip a piece at a time; None for all else."""
        if not isinstance(given, str | Path) or not reachable(Path(given)).exists():
            return None
        return pieces_of(Path(given), self.preprocessing, skip_unreadable, self.use, kept)

    def _from_array(self, given: object, what: str = "the array") -> Reading:
        array = as_array(given, self.shape, what)
        parts = [array]
        if self.use is not None and array.ndim == 4 and len(array):
            parts = [array[start : start + AT_A_TIME] for start in range(0, len(array), AT_A_TIME)]
        values = torch.cat([self._used(as_examples(part, self.shape, what, self.preprocessing)) for part in parts])
        names, sizes = [str(row) for row in range(len(values))], [image_size(array, self.shape)] * len(values)
        notes = (*pixel_doubts(array, what), *self._cropped(sizes[0], what))
        return Reading(values, names, sizes, self.preprocessing.fit, notes=notes)

    def _cropped(self, size: Size, what: str) -> list[str]:
        """A note where much of arrays of this size is cut off, as there is one for files."""
        target = self.preprocessing.width, self.preprocessing.height
        share = lost_share(size, target, self.preprocessing.fit)
        if share <= LOST:
            return []
        return [
            f"{what}: images of {size[0]}x{size[1]} pixels are cropped by {share:.0%} of their area, as the run takes "
            f"{target[0]}x{target[1]}; crop or fill them up yourself to keep what matters"
        ]

    def _used(self, images: Tensor) -> Tensor:
        return images if self.use is None else self.use(images)

    def _read_path(self, path: Path, skip: bool) -> Reading:
        if reachable(path).suffix.lower() in (".npy", ".npz") and not path.is_dir():
            return self._from_array(read_array_file(path), str(path))
        if not path.exists():
            raise DataError(f"there is no file or folder {path.absolute()}")
        if path.is_file() and path.suffix.lower() != ".zip":
            if not is_image(path.name):
                raise DataError(f"{path.absolute()} is not read: {why_no_image(path.name)}")
            files = Files(path.parent, (path.name,), (), lambda name: read_regular(path.parent / name))
            return self._read_files(files, [path.name], {}, False)
        if is_packed(path):
            raise DataError(f"{path.absolute()} holds packed data, to train on; give the pictures that were packed")
        with open_files(path) as files:
            names = [name for name in files.names if is_image(name)]
            others = {name: why_no_image(name) for name in files.names if not is_image(name)}
            if not names:
                named = f"; it holds {join_names([f'{name} ({reason})' for name, reason in others.items()], 3)}"
                raise DataError(
                    f"{path.absolute()} holds no image files (.png, .jpg and so on){named if others else ''}"
                )
            return self._read_files(files, names, others, skip)

    def _read_files(self, files: Files, names: list[str], others: dict[str, str], skip: bool) -> Reading:
        found = read_pictures(
            files,
            names,
            self.preprocessing,
            skip=skip,
            advice=f"{ADVICE}, or pass over them (--skip-unreadable)",
            use=self.use,
        )
        notes = remarks([found], self.preprocessing)
        fit = self.preprocessing.fit
        return Reading(found.pixels, found.names, found.sizes, fit, found.unreadable, others, notes)

    def _decoded(self, image: Image.Image) -> NDArray[np.uint8]:
        """A Pillow image by way of the file that it would be, so that both are read alike."""
        if image.mode == "F":
            raise DataError("a Pillow image has 32-bit pixels, which have no white level; convert it to 8 or 16 bits")
        if image.mode == "I":  # in which Pillow keeps 16-bit pixels too, and which its later versions do not save
            low, high = (int(cast(float, bound)) for bound in image.getextrema())
            if low < 0 or high >= 2**16:
                raise DataError(f"a Pillow image has pixels from {low} to {high}; scale them to 0 to 65535, 16 bits")
            image = Image.fromarray(np.asarray(image).astype(np.uint16))
        content = io.BytesIO()
        (image if image.mode in PNG_MODES else image.convert("RGB")).save(content, format="PNG")
        return decode_image(content.getvalue(), self.preprocessing)

    def masks(self) -> Images:
        """Images of one channel, fitted alike; nothing is missing where a mask is transparent or does not reach."""
        how = replace(self.preprocessing, channels=1, background="black", white=None)
        return Images(how.shape, preprocessing=how)

    def reads_cells(self, path: Path) -> bool:
        """No file of images is a table of cells."""
        return False

    def values(self, raw: Tensor) -> Tensor:
        """Images as the model takes them: float32 in [0, 1], black and white where the recipe's source says so."""
        return as_model_values(binarized(raw, self.threshold))

    def as_shown(self, mean: Tensor) -> Tensor:
        """Means as pictures in [0, 1]; black and white, parted at 1/2, where the data are that."""
        return mean.clamp(0.0, 1.0) if self.threshold is None else (mean > 0.5).float()

    def complexity(self, values: Tensor) -> NDArray[np.float64]:
        """Nats that each image takes as a PNG file, [n]; the channels lie below each other in it."""
        pixels = (values * 255).round().byte().cpu()
        sizes = [_png_bytes(picture.flatten(0, 1).numpy()) for picture in pixels]
        return np.asarray(sizes, dtype=np.float64) * (8.0 * math.log(2.0))

    def refuse(self, recipe: Recipe, dataset: Dataset) -> None:
        """Refuses nothing: every family and view takes images."""


def _png_bytes(pixels: NDArray[np.uint8]) -> int:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    return file.tell()
