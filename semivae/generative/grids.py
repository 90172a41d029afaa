"""Pictures: many images in one grid."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from semivae.errors import RunError
from semivae.files import refuse_occupied, whole_file

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg")


SMALLEST_SIDE = 28  # of one image in a picture, in pixels: 8x8 digits are enlarged by a whole factor


def save_grid(images: Tensor, path: str | Path, columns: int | None = None, overwrite: bool = False) -> Path:
    """Save images (n, 1 or 3, H, W) in [0, 1] as one picture, row by row; `columns` is about sqrt(n) by default.

    Small images are enlarged by a whole factor.

    Raises:
        RunError: the file exists and `overwrite` is not set, the folder is missing, the ending is not .png, .jpg or
            .jpeg, or the images are no images.
    """
    path = Path(path)
    refuse_picture_path(path, overwrite)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise RunError(
            f"{path}: only images (n, 1 or 3, height, width) make a picture, these have shape {tuple(images.shape)}; "
            "write them to an .npz file instead"
        )
    if columns is not None and columns < 1:
        raise RunError(f"a picture needs 1 column or more, not {columns}")
    pixels = grid_pixels(images, columns)
    try:
        with whole_file(path) as unfinished:
            Image.fromarray(pixels).save(unfinished, quality=95)
    except OSError as reason:
        raise RunError(f"{path} cannot be written: {reason.strerror or reason}") from reason
    return path


def grid_pixels(images: Tensor, columns: int | None = None) -> NDArray[np.uint8]:
    """Images (n, 1 or 3, H, W) in [0, 1] as one, row by row, uint8 [height, width, 3]; see `save_grid`."""
    columns = columns or math.ceil(math.sqrt(len(images)))
    factor = max(1, math.ceil(SMALLEST_SIDE / min(images.shape[2:])))
    enlarged = images.detach().cpu().float().clamp(0, 1).repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    from torchvision.utils import make_grid  # importing torchvision takes seconds

    grid = make_grid(enlarged, nrow=columns, padding=2, pad_value=1.0)
    pixels: NDArray[np.uint8] = (grid * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return pixels


def refuse_picture_path(path: Path, overwrite: bool) -> None:
    """Raise `RunError` if no picture can or may be written there; call it before long work."""
    if path.suffix.lower() not in PICTURE_ENDINGS:
        raise RunError(f"{path}: pictures end in {', '.join(PICTURE_ENDINGS)}")
    refuse_occupied(path, overwrite)
