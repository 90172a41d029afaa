"""Features as examples: new pictures go through the network whose features the run learnt from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semivae.data.features.network import FeatureNetwork, in_chunks
from semivae.data.formats.preprocessing import Preprocessing
from semivae.data.inputs.images import Images
from semivae.data.inputs.pieces import Pieces
from semivae.data.inputs.pixels import as_model_values
from semivae.data.inputs.reading import Reading

if TYPE_CHECKING:
    from semivae.data.dataset import Dataset
    from semivae.recipe.schema import Recipe


class Features:
    """Features of pictures.

    Args:
        network: from pictures to features.
        preprocessing: how pictures become what the network sees.
        device: where it computes.
    """

    are_images = False
    called = "images"

    def __init__(self, network: FeatureNetwork, preprocessing: Preprocessing, device: torch.device) -> None:
        self.network, self.device = network, device
        self.shape: tuple[int, ...] = (network.size,)
        self.pictures = Images(preprocessing.shape, preprocessing=preprocessing)
        self._reader = Images(preprocessing.shape, preprocessing=preprocessing, use=self._features)

    def _features(self, images: Tensor) -> Tensor:
        return in_chunks(self.network, images, self.device)

    def read(self, given: object, *, skip_unreadable: bool = False) -> Reading:
        """Features of pictures, which are given as for `Images.read`; float32 [n, size]."""
        return self._reader.read(given, skip_unreadable=skip_unreadable)

    def of_pictures(self, pictures: Tensor) -> Tensor:
        """Features, float32 [n, size], of pictures [n, channels, height, width] in [0, 1], such as a decoder's."""
        return self._reader.read(pictures.detach().cpu().clamp(0.0, 1.0).float().numpy()).values

    def pieces(self, given: object, *, skip_unreadable: bool = False, kept: bool = False) -> Pieces | None:
        """Features of many picture files, a piece at a time; None for all else."""
        return self._reader.pieces(given, skip_unreadable=skip_unreadable, kept=kept)

    def masks(self) -> Images:
        """Masks of the pictures, at the size that the network sees."""
        return self.pictures.masks()

    def reads_cells(self, path: Path) -> bool:
        """No file of pictures is a table of cells."""
        return False

    def values(self, raw: Tensor) -> Tensor:
        """Features as the model takes them: float32."""
        return as_model_values(raw)

    def as_shown(self, mean: Tensor) -> Tensor:
        """Means of features as they are."""
        return mean

    def complexity(self, values: Tensor) -> NDArray[np.float64]:
        """Zeros, [n]: no picture file holds features, whose length could be compared."""
        return np.zeros(len(values))

    def refuse(self, recipe: Recipe, dataset: Dataset) -> None:
        """Refuses nothing: what does not fit features, the recipe's checks refuse."""
