"""The X of an estimator: rows of a table or images, as the model takes them, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from semivae.data.inputs.pixels import channels_first
from semivae.data.inputs.table_encoding import TableEncoding
from semivae.data.inputs.table_fitting import fit_numbers
from semivae.data.readers.arrays import examples_of

Layout = Literal["rows", "grey", "channels_first", "channels_last"]


class Form(BaseModel):
    """How one X is an example of the model, and back.

    Attributes:
        shape: of one X, without n.
        layout: "rows" of a table; or images without channels, or with them before or after height and width.
        bytes_: whether images were given as bytes.
        encoding: how the columns of a table become numbers; None where they are used as they are.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")
    shape: tuple[int, ...]
    layout: Layout
    bytes_: bool
    encoding: TableEncoding | None = None

    @classmethod
    def of(cls, X: NDArray[Any], names: Sequence[str], standardise: bool) -> Form:  # noqa: N803
        """The form of X.

        Args:
            X: rows [n, columns], or images [n, height, width] with or without channels.
            names: of the columns.
            standardise: bring each column to mean 0 and deviation 1.

        Raises:
            DataError: another shape, or columns of too large numbers.
        """
        shape = X.shape[1:]
        if X.ndim == 2:
            encoding = fit_numbers(X.astype(np.float64), names, "y", "X") if standardise else None
            return cls(shape=shape, layout="rows", bytes_=False, encoding=encoding)
        first = channels_first(X, "X")
        layout: Layout = "grey" if X.ndim == 3 else "channels_first" if first.shape == X.shape else "channels_last"
        return cls(shape=shape, layout=layout, bytes_=X.dtype == np.uint8, encoding=None)

    def examples(self, X: NDArray[Any]) -> Tensor:  # noqa: N803
        """X as the model's data sets keep it: rows float32 [n, columns], images uint8 [n, channels, height, width].

        Raises:
            DataError: images that are neither bytes nor floats in [0, 1], or numbers that are too large.
        """
        if self.encoding is not None:
            X = self.encoding.encode_numbers(X.astype(np.float64))  # noqa: N806
        return examples_of(X, "X")

    def given(self, values: Tensor) -> NDArray[Any]:
        """Means or samples of the model in the form of X: its units, layout and, of bytes, type."""
        found = values.double().numpy()
        if self.layout == "rows":
            return found if self.encoding is None else self.encoding.decode_numbers(found)
        if self.bytes_:
            found = np.rint(found.clip(0, 1) * 255).astype(np.uint8)
        if self.layout == "channels_last":
            found = found.transpose(0, 2, 3, 1)
        return found.reshape(-1, *self.shape)
