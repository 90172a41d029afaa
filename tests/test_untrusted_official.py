"""Files that call themselves CIFAR-10, SVHN or MNIST and are made to crash, to run code or to fill memory."""

from __future__ import annotations

import gzip
import io
import pickle
import shutil
import struct
import tarfile
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from semivae.data.formats import mat_process
from semivae.data.formats.array_pickle import read_array_pickle
from semivae.data.formats.mat import load_mat
from semivae.data.readers import cifar10, mnist, svhn
from semivae.data.readers.mnist import parse_idx
from semivae.data.sources import load_source
from semivae.errors import DataError
from semivae.recipe.schema import BuiltInSource


def read(name: str, root: Path) -> None:
    load_source(BuiltInSource.model_validate({"name": name}), root, download=False)


def batch(images: int = 10) -> dict[str, object]:
    pixels = np.random.default_rng(images).integers(0, 256, (images, 3072), dtype=np.uint8)
    return {"batch_label": "batch 1", "labels": [n % 10 for n in range(images)], "data": pixels, "filenames": ["a.png"]}


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_arrays_are_read_from_every_protocol(protocol: int) -> None:
    written = batch()
    found = read_array_pickle(pickle.dumps(written, protocol))
    assert isinstance(found, dict) and found.keys() == written.keys() and found["labels"] == written["labels"]
    assert found["data"].dtype == np.uint8 and np.array_equal(found["data"], batch()["data"])  # type: ignore[arg-type]


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
BYTES = b"cnumpy\ndtype\n(S'u1'\nI0\nI1\ntR"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        # an array of objects whose pointers are the bytes of the file
        (b"cnumpy\nndarray\n((I1\ntS'O'\nS'AAAAAAAA'\ntR.", "calls something in a way"),
        (b"cnumpy\ndtype\n(S'O'\nI0\nI1\ntR.", "calls something in a way"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I9\ntS'b'\ntR.", "calls something in a way"),
        (ARRAY + b"(I1\n(I4\nI4\nt" + BYTES + b"I00\nS'abc'\ntb.", r"an array \[4, 4\] of 3 bytes"),
        (ARRAY + b"(I1\n(I4\nt" + BYTES + b"I01\nS'abcd'\ntb.", "not of bytes, row by row"),
        (ARRAY + b"(I1\n(I-2\nI-2\nt" + BYTES + b"I00\nS'abcd'\ntb.", "of a shape that is none"),
        (ARRAY + b"(I1\n(I4\nt" + ARRAY + b"I00\nS'abcd'\ntb.", "not of bytes, row by row"),
        (b"cos\nsystem\n(S'touch harm'\ntR.", "names os.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "names os.system"),
        (b"(ios\nsystem\n.", "uses INST"),
        (b"cnumpy\nndarray\n)\x81.", "uses NEWOBJ"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x00.", "."),  # a bytearray of 2^56 bytes
        (b"]r\xff\xff\xff\xff0.", "uses POP"),  # the memo of the C reader would get 2^32 places
        (b"", "."),
        (b"]", "."),
        (b"a.", "takes more than it holds"),
        (b"(a.", "takes more than it holds"),
        (b"t.", "closes what was never opened"),
        (b"I1\nI2\na.", "no list or dict"),
        (b"g0\n.", "never laid down"),
        (b"(]I1\nd.", "keys that are no texts"),
        (b"L" + b"9" * 5000 + b"L\n.", "."),
    ],
)
def test_a_pickle_of_anything_else_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_array_pickle(content)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_a_damaged_batch_is_an_error_for_users_or_still_a_batch(data: st.DataObject) -> None:
    content = bytearray(pickle.dumps(batch(2), data.draw(st.sampled_from([0, 2, 4]))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 400))] = data.draw(st.integers(0, 255))
    try:
        images, labels = cifar10._read_batch(Path("batch"), bytes(content))
    except DataError:
        return
    assert images.dtype == np.uint8 and images.shape == (len(labels), 3072)


def write_archive(path: Path, members: dict[str, bytes], link: str = "") -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            entry.size = 0 if link else len(content)
            entry.type, entry.linkname = (tarfile.SYMTYPE, link) if link else (tarfile.REGTYPE, "")
            archive.addfile(entry, io.BytesIO(content))


def batches() -> dict[str, bytes]:
    return {name: pickle.dumps(batch(), 2) for name in (*cifar10.TRAIN, *cifar10.TEST)}


def test_an_archive_without_its_gzip_is_read(tmp_path: Path) -> None:
    write_archive(tmp_path / "cifar-10-python.tar.gz", batches())
    plain = gzip.decompress((tmp_path / "cifar-10-python.tar.gz").read_bytes())
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(plain)
    read("cifar10", tmp_path)


def test_archives_that_lead_elsewhere_or_unpack_without_end_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cifar-10-python.tar.gz"
    write_archive(path, batches(), link="/etc/passwd")
    with pytest.raises(DataError, match=r"tar.gz cannot be read \(it lacks data_batch_1, .*get it again"):
        read("cifar10", tmp_path)
    write_archive(path, {str(number): b"" for number in range(1100)})
    with pytest.raises(DataError, match="holds more than 1000 files"):
        read("cifar10", tmp_path)
    monkeypatch.setattr(cifar10, "MOST_BYTES", 2**20)
    write_archive(path, {**batches(), "more": bytes(2**20)})
    with pytest.raises(DataError, match=r"unpacks to more than 1,048,576 bytes"):
        read("cifar10", tmp_path)


def test_labels_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    write_archive(
        tmp_path / "cifar-10-python.tar.gz", batches() | {"test_batch": pickle.dumps(batch() | {"labels": ["1"]})}
    )
    with pytest.raises(DataError, match="test_batch: labels are no list of numbers"):
        read("cifar10", tmp_path)
    write_archive(
        tmp_path / "cifar-10-python.tar.gz", batches() | {"test_batch": pickle.dumps({"data": 1, "labels": [1]})}
    )
    with pytest.raises(DataError, match="test_batch: data are int and there are 1 labels"):
        read("cifar10", tmp_path)


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def nested_cells(depth: int) -> bytes:
    """A .mat file whose X is a cell in a cell in a cell: SciPy follows them on the C stack."""
    inner, outer = (
        element(6, struct.pack("<II", 1, 0)) + element(5, struct.pack("<ii", 1, 1)) + element(1, name)
        for name in (b"", b"X")
    )
    heads: list[bytes] = []
    size = 0
    for level in range(depth):
        head = outer if level == depth - 1 else inner
        heads.append(struct.pack("<II", 14, len(head) + size) + head)
        size += len(head) + 8
    return b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H2s", 0x100, b"IM") + b"".join(reversed(heads))


def test_a_mat_file_that_breaks_its_reader_breaks_nothing_else(tmp_path: Path) -> None:
    images = np.zeros((32, 32, 3, 20), np.uint8)
    savemat(tmp_path / "test_32x32.mat", {"X": images, "y": np.ones(20)})
    (tmp_path / "train_32x32.mat").write_bytes(nested_cells(200_000))
    with pytest.raises(DataError, match=r"train_32x32.mat is no .mat file .*it broke the process .*get it again"):
        read("svhn", tmp_path)


def test_a_mat_file_is_read_alike_in_its_own_process(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 20), dtype=np.uint8)
    savemat(tmp_path / "a.mat", {"X": images, "y": np.arange(20.0), "z": "text"}, do_compression=True)
    for known in (True, False):
        found = load_mat(tmp_path / "a.mat", ("X", "y"), known=known)
        assert np.array_equal(found["X"], images) and found["y"].ravel().tolist() == list(range(20))
        for name, message in (("w", "it has no array w"), ("z", "z is no array of numbers")):
            with pytest.raises(ValueError, match=message):
                load_mat(tmp_path / "a.mat", ("X", name), known=known)


def test_a_mat_file_that_takes_all_memory_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    savemat(tmp_path / "a.mat", {"X": np.zeros((1024, 1024, 300), np.uint8)}, do_compression=True)
    program = Path(mat_process.__file__).read_text().replace("2**32, 300", "2**29, 300")
    (tmp_path / "smaller.py").write_text(program)
    monkeypatch.setattr(mat_process, "__file__", str(tmp_path / "smaller.py"))
    with pytest.raises(ValueError, match=r"(?i)memory|allocate|broke"):
        load_mat(tmp_path / "a.mat", ("X",), known=False)


def test_idx_files_that_unpack_without_end_or_have_too_many_axes_are_refused(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    first, *others = (raw / file.name for file in mnist.MNIST.files)
    with gzip.open(first, "wb", compresslevel=1) as stream:
        for _ in range(17):
            stream.write(bytes(2**24))
    for other in others:
        shutil.copy(first, other)
    with pytest.raises(DataError, match="unpacks to more than 268,435,456 bytes"):
        read("mnist", tmp_path)
    with pytest.raises(DataError, match="is not an IDX file"):
        parse_idx(Path("a"), bytes((0, 0, 8, 100)) + struct.pack(">I", 1) * 100 + b"\x01")


def test_every_download_is_checked_by_sha256_and_https_comes_first() -> None:
    files = (*mnist.MNIST.files, *mnist.FASHION_MNIST.files, *svhn.FILES, cifar10.ARCHIVE)
    for file in files:
        assert len(file.sha256) == 64 and set(file.sha256) <= set("0123456789abcdef")
        assert urlparse(file.urls[0]).scheme == "https"
    assert len({file.sha256 for file in files}) == len(files)
