"""Arrays in .npz and .npy files, read without running code."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from semivae.data.inputs.pixels import Array
from semivae.errors import DataError


def load_arrays(path: Path) -> dict[str, Array]:
    """The arrays of an .npz by name, or the one of an .npy under the name "". Pickled objects are never opened.

    Raises:
        DataError: no such file, not such a file, damaged, or it holds Python objects.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path.absolute()}")
    try:
        with path.open("rb") as stream:  # numpy leaves a file open that it cannot read
            loaded = np.load(stream, allow_pickle=False)
            return {"": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except Exception as error:  # numpy and zipfile raise much, by the byte that is wrong
        if str(error).startswith("Object arrays"):
            raise DataError(
                f"{path} holds Python objects, which are not opened because they could run code; "
                "save plain arrays, for example strings as np.array(names, dtype=str)"
            ) from error
        raise DataError(f"{path} is no .npy or .npz file that can be read") from error
