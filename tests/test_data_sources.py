"""Readers of published data sets: on real files where they lie, else on files written in the official layout."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import tarfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from scipy.io import savemat

from semivae.data.dataset import Dataset
from semivae.data.formats.downloads import OfficialFile, obtain
from semivae.data.hashing import random_subset
from semivae.data.paths import data_root
from semivae.data.sources import load_source
from semivae.errors import DataError
from semivae.recipe.schema import BuiltInSource

REAL = Path(os.environ.get("SEMIVAE_DATA") or Path(__file__).parents[2] / "shared" / "data")


def read(name: str, root: Path) -> Dataset:
    return load_source(BuiltInSource.model_validate({"name": name}), root, download=False)


def test_digits_are_bytes_and_the_last_500_are_the_test(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    digits = read("digits", tmp_path)
    original = load_digits()
    assert digits.train["x"].shape == (1297, 1, 8, 8) and digits.train["x"].dtype == torch.uint8
    assert torch.equal(torch.cat([digits.train["y"], digits.test["y"]]), torch.from_numpy(original.target).long())
    sixteenths = digits.test["x"][:, 0].double() / 255 * 16
    assert np.abs(sixteenths.numpy() - original.images[-500:]).max() < 0.05
    assert digits.test["x"].max() == 255 and digits.test_origin == "given" and not digits.warnings


@pytest.mark.parametrize(("name", "folder", "first"), [("mnist", "MNIST", 5), ("fashion_mnist", "FashionMNIST", 9)])
def test_official_idx_files_are_read_without_a_warning(name: str, folder: str, first: int) -> None:
    if not (REAL / folder).is_dir():
        pytest.skip(f"no {folder} in {REAL}")
    data = read(name, REAL)
    assert data.train["x"].shape == (60_000, 1, 28, 28) and data.test["x"].shape == (10_000, 1, 28, 28)
    assert data.train["y"][0] == first and data.train["x"].dtype == torch.uint8
    assert data.warnings == () and data.train["y"].bincount().min() > 5000


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def write_idx_files(raw: Path) -> np.ndarray:
    raw.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
    labels = np.array([3, 1, 4, 1, 5, 9], np.uint8)
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return images


def test_idx_files_may_be_packed_and_other_files_than_the_official_ones_are_a_warning(tmp_path: Path) -> None:
    images = write_idx_files(tmp_path / "MNIST/raw")
    data = read("mnist", tmp_path)
    assert np.array_equal(data.train["x"][:, 0].numpy(), images) and data.test["y"].tolist() == [3, 1, 4, 1, 5, 9]
    assert len(data.warnings) == 4 and "not the official file" in data.warnings[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-images-idx3-ubyte.gz", b"\x1f\x8b\x08 broken", "cannot be read"),
        ("train-labels-idx1-ubyte", b"<html>not found</html>", "is not an IDX file"),
        ("train-labels-idx1-ubyte", idx(np.zeros(6, np.uint8))[:-2], r"announces \[6\] but holds 4 bytes"),
        ("train-labels-idx1-ubyte", idx(np.zeros(5, np.uint8)), "not the files of MNIST"),
        ("t10k-labels-idx1-ubyte", idx(np.full(6, 10, np.uint8)), "up to 10"),
    ],
)
def test_damaged_idx_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    write_idx_files(tmp_path / "MNIST/raw")
    (tmp_path / "MNIST/raw" / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read("mnist", tmp_path)


def write_svhn(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """The authors' layout: X [32, 32, 3, n], y [n, 1], and 10 stands for zero."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
    savemat(folder / "train_32x32.mat", {"X": images.transpose(1, 2, 3, 0), "y": numbers}, do_compression=True)
    savemat(folder / "test_32x32.mat", {"X": images[:50].transpose(1, 2, 3, 0), "y": numbers[:50]})


def test_svhn_in_the_official_layout(tmp_path: Path) -> None:
    if not (REAL / "svhn_first1083.npz").is_file():
        pytest.skip(f"no svhn_first1083.npz in {REAL}")
    with np.load(REAL / "svhn_first1083.npz") as first:
        images, labels = first["x"], first["y"]
    for folder in (tmp_path / "svhn", tmp_path / "flat"):
        write_svhn(folder, images, labels)
    for root in (tmp_path, tmp_path / "flat"):
        svhn = read("svhn", root)
        assert np.array_equal(svhn.train["x"].numpy(), images.transpose(0, 3, 1, 2))
        assert np.array_equal(svhn.train["y"].numpy(), labels) and svhn.train["y"].dtype == torch.int64
        assert len(svhn.test["y"]) == 50 and svhn.classes == tuple("0123456789")
        assert len(svhn.warnings) == 2 and "train_32x32.mat is not the official file" in svhn.warnings[0]


def test_svhn_files_that_are_missing_are_asked_for_by_name_size_and_place(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read("svhn", tmp_path / "data")
    message = str(caught.value)
    assert "train_32x32.mat  182,040,794 bytes" in message and "test_32x32.mat  64,275,384 bytes" in message
    assert str(tmp_path / "data" / "svhn") in message and "--data-root" in message
    assert not (tmp_path / "data").exists()


def test_damaged_svhn_files_are_named(tmp_path: Path) -> None:
    images = np.zeros((60, 32, 32, 3), np.uint8)
    write_svhn(tmp_path, images, np.arange(60) % 10)
    whole = (tmp_path / "test_32x32.mat").read_bytes()
    (tmp_path / "test_32x32.mat").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"test_32x32.mat is no .mat file .* official one 64,275,384"):
        read("svhn", tmp_path)
    savemat(tmp_path / "test_32x32.mat", {"X": images.transpose(1, 2, 3, 0), "y": np.arange(59)})
    with pytest.raises(DataError, match="y has 59 values"):
        read("svhn", tmp_path)
    savemat(tmp_path / "test_32x32.mat", {"X": images.transpose(1, 2, 3, 0), "y": np.full(60, 11)})
    with pytest.raises(DataError, match="not in 1 to 10"):
        read("svhn", tmp_path)


def write_cifar10(folder: Path) -> np.ndarray:
    """Ten images a batch, pickled as Python 2 and the numpy of 2009 did: old module names, numbers for flags."""
    folder.mkdir(parents=True)
    images = np.random.default_rng(1).integers(0, 256, (6, 10, 3072), dtype=np.uint8)
    for batch, name in zip(images, [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"], strict=True):
        content = pickle.dumps({"data": batch, "labels": list(range(10))}, protocol=2)
        old = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray").replace(
            b"\x89\x88\x87", b"K\0K\1\x87"
        )
        assert old != content
        (folder / name).write_bytes(old)
    return images


def test_cifar10_as_folder_and_as_archive(tmp_path: Path) -> None:
    images = write_cifar10(tmp_path / "cifar-10-batches-py")
    (tmp_path / "packed").mkdir()
    with tarfile.open(tmp_path / "packed" / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "cifar-10-batches-py", "cifar-10-batches-py")
    for root in (tmp_path, tmp_path / "packed"):
        data = read("cifar10", root)
        assert np.array_equal(data.train["x"].numpy(), images[:5].reshape(50, 3, 32, 32))
        assert data.test["y"].tolist() == list(range(10)) and data.classes[3] == "cat" and len(data.warnings) == 6


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch harm",)


def test_a_pickle_that_could_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "cifar-10-batches-py"
    write_cifar10(folder)
    (folder / "data_batch_2").write_bytes(pickle.dumps({"data": Harmful(), "labels": [1]}))
    with pytest.raises(DataError, match=r"data_batch_2 is no batch of CIFAR-10 .*system"):
        read("cifar10", tmp_path)
    assert not Path("harm").exists()
    (folder / "data_batch_2").unlink()
    with pytest.raises(DataError, match="lacks data_batch_2"):
        read("cifar10", tmp_path)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder, and the address under which this machine serves it to itself."""
    monkeypatch.setenv("no_proxy", "*")
    folder = tmp_path / "server"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as running:
        thread = Thread(target=running.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()
        thread.join()


CONTENT = b"all of it"


def official(address: str) -> OfficialFile:
    return OfficialFile("images.mat", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), (address + "images.mat",))


def test_a_download_arrives_whole_and_is_not_repeated(tmp_path: Path, server: tuple[Path, str]) -> None:
    folder, address = server
    (folder / "images.mat").write_bytes(CONTENT)
    here = tmp_path / "data" / "set"
    for _ in range(2):
        assert obtain("Set", [official(address)], [here], download=True) == [here / "images.mat"]
        assert (here / "images.mat").read_bytes() == CONTENT and len(list(here.iterdir())) == 1
        (folder / "images.mat").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("served", "reason"),
    [
        (None, "404"),
        (CONTENT[:5], "sent another file"),
        (CONTENT[::-1], "sent another file"),
        (CONTENT + bytes(2**20), "sends more than 9 bytes"),
    ],
    ids=["not there", "half of it", "another", "without end"],
)
def test_a_download_that_fails_leaves_nothing_and_says_what_to_do(
    tmp_path: Path, server: tuple[Path, str], served: bytes | None, reason: str
) -> None:
    folder, address = server
    if served is not None:
        (folder / "images.mat").write_bytes(served)
    with pytest.raises(DataError, match=rf"(?s)downloading failed: .*{reason}.*images.mat  9 bytes  http:"):
        obtain("Set", [official(address)], [tmp_path / "data" / "set"], download=True)
    assert not (tmp_path / "data").exists()


def test_where_data_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMIVAE_DATA", str(tmp_path))
    assert data_root("here") == Path("here") and data_root(None) == tmp_path
    monkeypatch.delenv("SEMIVAE_DATA")
    assert data_root(None) == Path("data")


def test_a_run_finds_its_data_where_they_were_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEMIVAE_DATA", "elsewhere")
    assert data_root(None, kept=tmp_path) == tmp_path
    assert data_root("here", kept=tmp_path) == Path("here")
    assert data_root(None, kept=tmp_path / "moved") == Path("elsewhere")


def test_some_are_drawn_without_repetition_by_their_seed_alone() -> None:
    values = torch.arange(100)
    found = random_subset(values, 10, seed=0)
    assert len(found.unique()) == 10 and found.max() >= 10  # the first ten are drawn once in 10^13
    assert torch.equal(random_subset(values, 10, seed=0), found) and not torch.equal(
        random_subset(values, 10, seed=1), found
    )
    assert torch.equal(random_subset(values, None, seed=0).sort().values, values)
