"""The digits of scikit-learn: 1,797 handwritten digits of 8 x 8 pixels, in the package itself.

Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI 1998 (its test part), CC BY 4.0.
"""

from __future__ import annotations

import numpy as np
import torch

from semivae.data.dataset import Dataset, class_label
from semivae.variables import Sample

TEST_COUNT = 500  # the last ones


def read_digits() -> Dataset:
    """Reads digits: the first 1,297 to train on, the last 500 to test on. x is uint8 [n, 1, 8, 8]."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    levels = bunch.images.astype(np.int64)  # 0 to 16
    images = torch.from_numpy(((levels * 255 + 8) // 16).astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(bunch.target.astype(np.int64))

    def part(rows: slice) -> Sample:
        return {"x": images[rows].clone(), "y": labels[rows].clone()}

    border = len(labels) - TEST_COUNT
    classes = tuple(str(digit) for digit in range(10))
    return Dataset("digits", class_label(classes), part(slice(0, border)), part(slice(border, None)))
