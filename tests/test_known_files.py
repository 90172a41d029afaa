"""Files that were given as tables, pictures or arrays and are something else: what they are, and what to do."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from semivae.cli import app
from semivae.data.formats.csv_cells import read_cells
from semivae.data.formats.file_trees import open_files
from semivae.data.formats.image_files import read_pixels
from semivae.data.formats.known_files import known_file
from semivae.data.formats.npz import load_arrays
from semivae.data.formats.preprocessing import Preprocessing
from semivae.errors import DataError

TABLE = b"a,b,label\n1,2,oak\n3,4,ash\n"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def png() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"images": [{"id": 1}], "annotations": []}', "is JSON; if it holds labels, write them as CSV"),
        (b'\xef\xbb\xbf[\n {"a": 1}]', "is JSON"),
        (b'{"a": 0, "label": "x"}\n{"a": 1, "label": "y"}\n', "is JSON"),
        (b"\n\n<table><tr><td>a</td></tr></table>", "is a web page or XML"),
        (b"{\\rtf1\\ansi a,b", "is a text document"),
        (LFS, r"is a pointer of Git LFS; fetch the file itself with git lfs pull"),
        (b"@RELATION x\n@ATTRIBUTE a NUMERIC\n@DATA\n1\n", "is an ARFF file"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "is a 7z archive"),
        (b"PAR1\x15\0\x15\x20", "is a Parquet file"),
        (bytes(600), "is zero bytes alone"),
        (pickle.dumps({"a": 1}), "is a pickle of Python"),
        (png(), "is a picture, PNG"),
    ],
)
def test_what_is_no_table_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_cells(tmp_path / "t.csv")


@pytest.mark.parametrize("names", ["PAR1,b", "FEA1,b", "ORC,b", "BZh,b", "a,b,ftype", "[a],[b]", "@b,c"])
def test_a_column_may_be_called_as_a_file_begins(tmp_path: Path, names: str) -> None:
    """PAR1 alone is how a Parquet file starts, and how a first parameter is called; `ftyp` stands in a video."""
    (tmp_path / "t.csv").write_text(f"{names}\n" + ",".join("1" for _ in names.split(",")) + "\n")
    assert list(read_cells(tmp_path / "t.csv")) == names.split(",")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LFS, "WebP or PNM image but a pointer of Git LFS: fetch the file itself with git lfs pull"),
        (b"<!DOCTYPE html><html></html>", "but a web page or XML"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "but a drawing, SVG: save it as PNG"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "but a JPEG 2000 image: convert it to PNG"),
        (b"\0\0\0\x18ftypmp42" + bytes(40), "but a video: save its frames"),
        (bytes(128) + b"DICM", "but a medical image, DICOM"),
        (b"", "but empty: get it again"),
        (b"hello", r"\(not a PNG, JPEG, BMP, GIF, TIFF, WebP or PNM image\)"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with open_files(tmp_path) as files, pytest.raises(DataError, match=message):
        read_pixels(files, ["a.png"], Preprocessing(3, 8, 8))


def test_what_holds_no_arrays_is_named(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(3)}, tmp_path / "t.pt")
    for name, content, message in (
        ("pickle", pickle.dumps({"x": np.zeros(3)}), "it is a pickle of Python, which could run code"),
        ("hdf", b"\x89HDF\r\n\x1a\n" + bytes(90), "it is an HDF5 file; save its arrays with np.savez"),
    ):
        (tmp_path / f"{name}.npz").write_bytes(content)
        with pytest.raises(DataError, match=message):
            load_arrays(tmp_path / f"{name}.npz")
    assert known_file((tmp_path / "t.pt").read_bytes()[:512]) == (
        "a file of PyTorch, which could run code",
        "save its tensors as arrays with np.savez",
    )


def test_inspect_says_what_a_path_is(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(TABLE))
    (tmp_path / "b.zip").write_bytes(gzip.compress(TABLE))
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.dcm").write_bytes(b"x")
    for name, message in (
        ("a.tar", "it is a tar archive; unpack it"),
        ("t.csv.gz", "it is compressed by gzip; unpack it with gunzip"),
        ("b.zip", "is no .zip file: it is compressed by gzip"),
        ("scans", "holds no image files (.png, .jpg and so on); it holds a.dcm (a medical image"),
    ):
        result = CliRunner().invoke(app, ["inspect", str(tmp_path / name)])
        assert result.exit_code == 1 and message in " ".join(result.output.split()), result.output
