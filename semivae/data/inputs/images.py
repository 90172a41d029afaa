"""Images as examples: read from files, folders, arrays and Pillow images, and shown as pictures."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from semivae.data.dataset import Dataset
from semivae.data.formats.file_trees import Files, open_files
from semivae.data.formats.image_files import decode_image, is_image, read_pixels
from semivae.data.formats.regular_files import read_regular
from semivae.data.inputs.arrays import as_examples, read_array_file
from semivae.data.inputs.pixels import as_model_values, binarized
from semivae.data.paths import reachable
from semivae.errors import DataError
from semivae.recipe.schema import Recipe

PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")


class Images:
    """Images.

    Args:
        shape: (channels, height, width).
        threshold: where black and white are parted, in [0, 1], of images that are binarised; else None.
    """

    are_images = True

    def __init__(self, shape: tuple[int, ...], threshold: float | None = None) -> None:
        channels, height, width = shape
        self.shape, self.size, self.threshold = shape, (channels, height, width), threshold

    def read(self, given: object) -> tuple[Tensor, list[str]]:
        """Images in files, Pillow images, or arrays.

        Image files are resized (shorter side) and centre-cropped, and so are Pillow images and arrays of another size.

        Args:
            given: the path of an image file, of a folder or .zip of them (searched to any depth), of an .npy, or of an
                .npz whose array x, or only one, is taken; a Pillow image; a list of such paths or images; or an array
                (see `semivae.data.inputs.arrays.as_examples`).

        Returns:
            uint8 [n, *shape] from image files, float32 [n, *shape] from arrays; and n names, in order: the files'
            names relative to the folder, or numbers from 0.

        Raises:
            DataError: nothing there, no image in it, files that are no images, or arrays of other channels.
        """
        if isinstance(given, str | Path):
            return self._read_path(Path(given))
        if isinstance(given, Image.Image):
            return torch.from_numpy(self._decoded(given)[None].copy()), ["0"]
        if isinstance(given, Sequence) and given and all(isinstance(one, str | Path | Image.Image) for one in given):
            return self._read_each(given)
        examples = as_examples(given, self.shape)
        return examples, [str(row) for row in range(len(examples))]

    def _read_each(self, given: Sequence[object]) -> tuple[Tensor, list[str]]:
        """A list of paths or Pillow images, one after the other; a folder's files are named below it."""
        parts, names = [], []
        for number, one in enumerate(given):
            part, found = self.read(one)
            place = str(one) if isinstance(one, str | Path) else str(number)
            parts.append(part)
            names += [place] if len(found) == 1 else [f"{place}/{name}" for name in found]
        if len({part.dtype for part in parts}) > 1:
            parts = [as_model_values(part) for part in parts]
        return torch.cat(parts), names

    def _read_path(self, path: Path) -> tuple[Tensor, list[str]]:
        if reachable(path).suffix.lower() in (".npy", ".npz") and not path.is_dir():
            images = as_examples(read_array_file(path), self.shape, str(path))
            return images, [str(row) for row in range(len(images))]
        if not path.exists():
            raise DataError(f"there is no file or folder {path.absolute()}")
        if path.is_file() and is_image(path.name):
            files = Files(path.parent, (path.name,), (), lambda name: read_regular(path.parent / name))
            return read_pixels(files, [path.name], self.size), [path.name]
        with open_files(path) as files:
            names = [name for name in files.names if is_image(name)]
            if not names:
                raise DataError(f"{path.absolute()} holds no image files (.png, .jpg and so on)")
            return read_pixels(files, names, self.size), names

    def _decoded(self, image: Image.Image) -> NDArray[np.uint8]:
        """A Pillow image by way of the file that it would be, so that both are read alike."""
        if image.mode == "F":
            raise DataError("a Pillow image has 32-bit pixels, which have no white level; convert it to 8 or 16 bits")
        content = io.BytesIO()
        (image if image.mode in PNG_MODES else image.convert("RGB")).save(content, format="PNG")
        return decode_image(content.getvalue(), *self.size)

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
