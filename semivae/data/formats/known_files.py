"""What a file is, by its first bytes, that was given as a table, a picture or arrays and is none of these."""

from __future__ import annotations

import re

HEAD = 512  # bytes that are looked at
PNG = "convert it to PNG"
# how files start, what they are, and what to do about them
SIGNS: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "a workbook or an archive", "save the sheet as CSV (UTF-8), or unpack the archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save the sheet as CSV (UTF-8)"),
    (b"\x1f\x8b", "compressed by gzip", "unpack it with gunzip"),
    (b"BZh91AY&SY", "compressed by bzip2", "unpack it with bunzip2"),
    (b"\xfd7zXZ\x00", "compressed by xz", "unpack it with unxz"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "unpack it with unzstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (b"Rar!", "a RAR archive", "unpack it"),
    (b"SQLite format 3", "a database", "export the table as CSV (UTF-8)"),
    (b"\x93NUMPY", "a NumPy array", "call it .npy and use the source arrays"),
    (b"\x89HDF\r\n", "an HDF5 file", "save its arrays with np.savez, or its table as CSV"),
    (b"MATLAB 5.0", "a MATLAB file", "load it with scipy.io.loadmat, and save its arrays with np.savez"),
    (b"{\\rtf", "a text document", "save the table as CSV (UTF-8)"),
    (b"%PDF-", "a PDF", "save a table as CSV (UTF-8), a picture as PNG"),
    (b"version https://git-lfs.github.com", "a pointer of Git LFS", "fetch the file itself with git lfs pull"),
    (b"\x89PNG", "a picture, PNG", "give a folder of pictures, or the table"),
    (b"\xff\xd8\xff", "a picture, JPEG", "give a folder of pictures, or the table"),
    (b"GIF8", "a picture, GIF", "give a folder of pictures, or the table"),
    (b"8BPS\x00\x01", "a Photoshop document", PNG),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image", PNG),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image", PNG),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL image", PNG),
    (b"\xff\x0a", "a JPEG XL image", PNG),
    (b"v/1\x01", "an OpenEXR image", PNG),
    (b"#?RADIANCE", "a Radiance image", PNG),
    (b"DDS |", "a texture, DDS", PNG),
    (b"gimp xcf", "a drawing of GIMP", PNG),
    (b"SIMPLE  =", "a FITS image", "convert it to PNG of 16 bits"),
    (b"\x00\x05\x16\x07", "what macOS keeps beside a file", "remove it"),
    (b"bplist00", "a list of settings of macOS", "get the file itself"),
)  # fmt: skip
# likewise, where zero bytes follow: PAR1 alone may well be the name of a column
BINARY: tuple[tuple[bytes, str, str], ...] = (
    (b"PAR1", "a Parquet file", "call it so (.parquet)"),
    (b"ARROW1", "a Feather file", "save the table as Parquet or CSV"),
    (b"FEA1", "a Feather file", "save the table as Parquet or CSV"),
    (b"ORC", "an ORC file", "save the table as Parquet or CSV"),
)
JSON = re.compile(rb'[{\[]\s*["{\[]|\{\s*\}|\[\s*\]\s*$')
PICKLE = re.compile(rb"\x80[\x02-\x05]")


def known_file(start: bytes) -> tuple[str, str] | None:
    """Returns what a file is, with its article, and what to do about it, by its first `HEAD` bytes; None if unknown."""
    if start.startswith(b"PK\x03\x04") and b"data.pkl" in start[:200]:
        return "a file of PyTorch, which could run code", "save its tensors as arrays with np.savez"
    if start[257:262] == b"ustar":
        return "a tar archive", "unpack it with tar -xf"
    for sign, what, advice in (*SIGNS, *(BINARY if b"\0" in start else ())):
        if start.startswith(sign):
            return what, advice
    if start[128:132] == b"DICM":
        return "a medical image, DICOM", "convert its slices to PNG of 16 bits"
    if start.startswith(b"\0\0\0") and start[4:8] == b"ftyp":
        return "a video", "save its frames as images"
    if PICKLE.match(start):
        return "a pickle of Python, which could run code", "save plain arrays with np.savez, or a table as CSV"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").lower()
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return "a drawing, SVG", "save it as PNG"
    if text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<table", b"<head", b"<body")):
        return "a web page or XML", "get the file that the page speaks of"
    if text.startswith(b"@relation"):
        return "an ARFF file", "save the table as CSV, its attributes in the first line"
    if JSON.match(text):
        return "JSON", "if it holds labels, write them as CSV, one row an example"
    if start and not start.strip(b"\0"):
        return "zero bytes alone, as a stopped copy leaves them", "get it again"
    return None if start else ("empty", "get it again")
