"""Arrays, tables, labels and paths of strangers: what they announce is checked before there is room for it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semivae.data.formats.csv_cells import MOST_COLUMNS, read_cells
from semivae.data.formats.label_files import class_number, ordered_classes, read_label_lines
from semivae.data.formats.npz import load_arrays
from semivae.data.formats.regular_files import LONGEST_LINE, open_text
from semivae.data.inputs.inputs import inputs_of
from semivae.data.paths import data_root, resolve
from semivae.devices import free_memory
from semivae.errors import DataError


def npy(header: str, content: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    size = len(header) + 1
    return b"\x93NUMPY" + version + size.to_bytes(2, "little") + header.encode() + b"\n" + content


def announced(shape: str, kind: str = "|u1", content: bytes = bytes(8)) -> bytes:
    return npy(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}", content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (announced("(10000000000000,)"), r"an array \[10000000000000\] of uint8 in"),
        (announced("(2, 3)", "<U500000000"), r"an array \[2, 3\] of <U500000000 in"),
        (announced("(1000000000000,)", "<U0"), "of shape .* and type <U0"),
        (announced("(-1,)"), r"of shape \[-1\]"),
        (announced("(4, 4)"), r"an array \[4, 4\] of uint8"),
        (announced("(" * 3000 + ")" * 3000), "own.npy is no .npy"),
        (announced("(1,)", "|O"), "holds Python objects"),
        (npy("{}", version=b"\x03\x00"), "version .* of arrays with named fields"),
        (npy("{}", version=b"\x09\x00"), "no .npy or .npz file"),
    ],
)
def test_headers_that_announce_more_than_there_is_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "own.npy").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_arrays(tmp_path / "own.npy")
    with zipfile.ZipFile(tmp_path / "own.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(DataError, match=message.replace("own.npy", "own.npz")):
        load_arrays(tmp_path / "own.npz")


def test_odd_headers_warn_of_nothing_and_what_is_quoted_of_files_is_short(tmp_path: Path) -> None:
    """pytest would raise NumPy's warning of a header that Python 2 wrote, and Python's of the escape."""
    (tmp_path / "old.npy").write_bytes(announced("(3L,)", content=bytes(3)))
    assert load_arrays(tmp_path / "old.npy")[""].tolist() == [0, 0, 0]
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (3,), '\\K': 1}"
    (tmp_path / "odd.npy").write_bytes(npy(header, bytes(3)))
    with pytest.raises(DataError, match="Header does not contain the correct keys"):
        load_arrays(tmp_path / "odd.npy")
    np.savez(tmp_path / "long.npz", x=np.zeros(4))
    content = (tmp_path / "long.npz").read_bytes()  # zipfile quotes a name of this length, which reaches beyond it
    place = content.index(b"x.npy") - 4
    (tmp_path / "long.npz").write_bytes(
        content[:place] + (60000).to_bytes(2, "little") + content[place + 2 :] + bytes(9)
    )
    with pytest.raises(DataError) as caught:
        load_arrays(tmp_path / "long.npz")
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_damaged_arrays_are_an_error_for_users_or_still_arrays(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / data.draw(st.sampled_from(["own.npy", "own.npz"]))
    np.save(path, np.arange(4)) if path.suffix == ".npy" else np.savez_compressed(path, x=np.arange(4), y=np.eye(2))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        arrays = load_arrays(path)
    except DataError:
        return
    assert all(isinstance(array, np.ndarray) and array.nbytes <= 1000 for array in arrays.values())


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_are_no_arrays_or_there_twice_or_packed_without_a_limit(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as archive:
        archive.writestr("x.npy", announced("(8,)"))
        archive.writestr("y.npy", b"no array")
        archive.writestr("readme.txt", b"x is all there is")
    with pytest.raises(DataError, match=r"no .npy or .npz file"):
        load_arrays(tmp_path / "own.npz")
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as archive:
        archive.writestr("readme.txt", b"x is all there is")
        archive.writestr("x.npy", announced("(8,)"))
    assert load_arrays(tmp_path / "own.npz")["x"].tolist() == [0] * 8
    with zipfile.ZipFile(tmp_path / "own.npz", "a") as archive:
        archive.writestr("x.npy", announced("(8,)"))
    with pytest.raises(DataError, match="two arrays are called x"):
        load_arrays(tmp_path / "own.npz")
    with zipfile.ZipFile(tmp_path / "own.npz", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("x.npy", announced("(8,)"))
    with pytest.raises(DataError, match="packed in a way that NumPy does not use"):
        load_arrays(tmp_path / "own.npz")


LIMITED = """
import resource, sys
from pathlib import Path
from semivae.data.formats.csv_cells import read_cells
from semivae.data.formats.npz import load_arrays
from semivae.data.formats.label_files import read_label_lines
from semivae.errors import DataError
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 2**29, taken + 2**29))
readers = {"own.npz": load_arrays, "own.csv": read_cells, "own.txt": lambda path: read_label_lines(path, ("a", "b"))}
for name, read in readers.items():
    try:
        read(Path(sys.argv[1], name))
        print("read", name)
    except DataError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process")
def test_what_does_not_fit_into_memory_is_said_before_it_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "own.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", announced("(8,)"))
    content = (tmp_path / "own.npz").read_bytes()
    place = content.index(b"PK\x01\x02") + 24
    (tmp_path / "own.npz").write_bytes(content[:place] + b"\xf0\xff\xff\xff" + content[place + 4 :])
    for name in ("own.csv", "own.txt"):
        with (tmp_path / name).open("wb") as stream:
            stream.truncate(2**30)  # a file of zeros that takes no place
    command = [sys.executable, "-c", LIMITED, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert re.search(r"own.npz holds arrays of 4,294,967,280 bytes, but only [\d,]+ bytes of memory are free", said[0])
    for line in said[1:]:
        assert re.search(r"has 1,073,741,824 bytes and takes 10 times as many in memory; [\d,]+ are free", line)
    assert len(said) == 3


def test_memory_that_is_free_is_some_and_not_more_than_there_is() -> None:
    assert 2**24 < free_memory() <= max(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), 2**24)


def test_long_lines_and_millions_of_columns_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "own.csv").open("w") as stream:
        stream.write("x,label\n1,a\n2," + "b" * (LONGEST_LINE + 10) + "\n")
    with pytest.raises(DataError, match=r"line 3 of .*own.csv has more than 16,777,216 characters"):
        read_cells(tmp_path / "own.csv")
    with pytest.raises(DataError, match=r"line 3 of .*own.csv has more than 16,777,216 characters"):
        read_label_lines(tmp_path / "own.csv", ("a", "b"))
    (tmp_path / "own.csv").write_text("x,label\n1," + "b" * 200_000 + "\n")
    with pytest.raises(DataError, match="field larger than field limit"):
        read_cells(tmp_path / "own.csv")
    names = ",".join(f"c{number}" for number in range(MOST_COLUMNS + 1))
    (tmp_path / "own.csv").write_text(f"{names}\n{names}\n")
    with pytest.raises(DataError, match=r"own.csv has 100,001 columns; up to 100,000 are read"):
        read_cells(tmp_path / "own.csv")
    (tmp_path / "own.csv").write_text(names.rpartition(",")[0] + "\n" + "1" + ",1" * (MOST_COLUMNS - 1))
    assert len(read_cells(tmp_path / "own.csv")) == MOST_COLUMNS


def test_a_text_that_starts_with_a_mark_of_byte_order_is_read_from_its_start(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_bytes(b"\xef\xbb\xbfx;label\r\n1;a\r\n")
    assert read_cells(tmp_path / "own.csv") == {"x": ["1"], "label": ["a"]}


def test_pipes_are_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(OSError, match="is a pipe, a device or a socket, no regular file"):
        open_text(tmp_path / "pipe.csv")
    for read in (read_cells, load_arrays, lambda path: read_label_lines(path, ("a", "b"))):
        with pytest.raises(DataError, match=r"there is no file .*pipe.csv|is a pipe"):
            read(tmp_path / "pipe.csv")


def test_classes_called_by_numbers_of_thousands_of_digits() -> None:
    long = "9" * 5000
    assert class_number(long, ("a", "b")) is None and class_number(long, (long, "b")) == 0
    assert ordered_classes(["10", "9", long]) == ("10", "9", long) and ordered_classes(["10", "9"]) == ("9", "10")


@pytest.mark.parametrize("path", ["~nosuch/x", "a" * 300, "a/" * 3000, "a\0b"])
def test_paths_that_lead_nowhere_are_errors_for_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    if "\0" not in path:
        monkeypatch.setenv("SEMIVAE_DATA", path)
        with pytest.raises(DataError, match=r"no home folder of this name|cannot be looked up \(File name too long\)"):
            data_root()
    with pytest.raises(DataError, match=r"no home folder|cannot be looked up"):
        resolve(path, tmp_path)
    if not path.startswith("~"):
        for read in (read_cells, load_arrays, lambda path: inputs_of((1, 8, 8)).read(path)):
            with pytest.raises(DataError, match="cannot be looked up"):
                read(tmp_path / path)
