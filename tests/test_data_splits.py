"""Splits: exact counts, the same everywhere, and manifests that notice any change."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from semivae.data.dataset import Dataset, class_label
from semivae.data.hashing import apportion, ranked
from semivae.data.sources import load_source
from semivae.data.splits import Split, load_split, save_split
from semivae.errors import DataError
from semivae.recipe import read_recipe
from semivae.recipe.schema import SplitSpec
from semivae.tasks.splitting import make_split, pin_splits

REPOSITORY = Path(__file__).parents[1]
REAL = Path(os.environ.get("SEMIVAE_DATA") or REPOSITORY.parent / "shared" / "data")


def some_data(*sizes: int) -> Dataset:
    labels = torch.cat([torch.full((size,), number) for number, size in enumerate(sizes)])
    images = torch.arange(len(labels)).to(torch.uint8).view(-1, 1, 1, 1)
    sample = {"x": images, "y": labels}
    return Dataset("some", class_label(tuple("abcdefghij"[: len(sizes)])), sample, sample)


def counts(data: Dataset, rows: torch.Tensor) -> list[int]:
    return data.train["y"][rows].bincount(minlength=len(data.classes)).tolist()


def assert_whole(data: Dataset, split: Split) -> None:
    together = torch.cat([split.labelled, split.unlabelled, split.validation])
    assert torch.equal(together.sort().values, torch.arange(len(data.train["y"])))
    for part in (split.labelled, split.unlabelled, split.validation):
        assert part.dtype == torch.int64 and torch.equal(part, part.sort().values)


def test_balanced_counts_and_what_does_not_divide() -> None:
    data = some_data(50, 30, 20)
    first = set()
    for seed in range(8):
        split = make_split(data, SplitSpec(labelled=31, validation=20, seed=seed))
        assert_whole(data, split)
        labelled = counts(data, split.labelled)
        assert sorted(labelled) == [10, 10, 11] and counts(data, split.validation) == [10, 6, 4]
        first.add(labelled.index(11))
    assert first == {0, 1, 2}  # the extra label falls to another class with another seed


def test_proportional_counts_leave_no_class_without_a_label() -> None:
    data = some_data(60, 38, 2)
    split = make_split(data, SplitSpec(labelled=10, balance="proportional", validation=10))
    assert_whole(data, split)
    assert counts(data, split.labelled) == [5, 4, 1] and sum(counts(data, split.validation)) == 10


def test_long_tail_falls_geometrically_and_is_exact() -> None:
    data = some_data(*[100] * 10)
    split = make_split(data, SplitSpec.model_validate({"labelled": 100, "balance": {"ratio": 10}, "validation": 90}))
    assert_whole(data, split)
    assert counts(data, split.labelled) == [25, 19, 15, 11, 9, 7, 5, 4, 3, 2]
    assert counts(data, split.validation) == [9] * 10  # as frequent as in the data
    few = make_split(data, SplitSpec.model_validate({"labelled": 12, "balance": {"ratio": 1000}}))
    assert counts(data, few.labelled) == [2, 2] + [1] * 8  # the shares are 6.4, 3.0, 1.4, ...: one each comes first
    even = make_split(data, SplitSpec.model_validate({"labelled": 20, "balance": {"ratio": 1}}))
    assert counts(data, even.labelled) == [2] * 10
    balanced = make_split(data, SplitSpec(labelled=20))
    assert torch.equal(even.labelled, balanced.labelled)  # the same ranks within a class


def test_validation_takes_from_others_where_a_class_has_none_left() -> None:
    data = some_data(50, 50, 10)
    split = make_split(data, SplitSpec(labelled=30, validation=50))
    assert_whole(data, split)
    assert counts(data, split.labelled) == [10, 10, 10] and counts(data, split.validation) == [25, 25, 0]


def test_all_labelled_but_the_validation_part() -> None:
    data = some_data(50, 30)
    split = make_split(data, SplitSpec(labelled="all", validation=8))
    assert_whole(data, split)
    assert len(split.labelled) == 72 and len(split.unlabelled) == 0 and counts(data, split.validation) == [5, 3]


def test_a_class_of_one_example_keeps_it_where_all_are_labelled() -> None:
    split = make_split(data := some_data(50, *[1] * 9), SplitSpec(labelled="all", validation=12))
    assert counts(data, split.validation) == [12] + [0] * 9


def test_shares_are_exact_for_many_random_cases() -> None:
    generator = np.random.default_rng(0)
    for _ in range(300):
        weights = generator.integers(1, 50, generator.integers(1, 7)).tolist()
        capacity = [int(generator.integers(0, 30)) for _ in weights]
        total = int(generator.integers(0, sum(capacity) + 1))
        shares = apportion(total, weights, capacity)
        assert sum(shares) == total and all(0 <= share <= most for share, most in zip(shares, capacity, strict=True))
    assert apportion(10, [6, 3, 1], [99, 99, 99]) == [6, 3, 1] and apportion(2, [1, 1, 1], [9, 9, 9]) == [1, 1, 0]


def test_another_seed_is_another_split_and_more_labels_keep_the_first_ones() -> None:
    data = some_data(100, 100)
    few, many = (make_split(data, SplitSpec(labelled=n)) for n in (10, 40))
    other = make_split(data, SplitSpec(labelled=10, seed=1))
    assert set(few.labelled.tolist()) < set(many.labelled.tolist())
    assert not torch.equal(few.labelled, other.labelled) and few.digest != other.digest


def test_the_first_labels_never_change() -> None:
    split = make_split(some_data(100, 100), SplitSpec(labelled=6, validation=2, seed=3))
    assert split.labelled.tolist() == [70, 77, 82, 100, 136, 148] and split.validation.tolist() == [60, 119]


@pytest.mark.parametrize(
    ("sizes", "spec", "message"),
    [
        ((5, 4), {"labelled": 10}, "asks for 10 labels, but only 9 exist; some has 5 a, 4 b"),
        (
            (50, 4),
            {"labelled": 20},
            "10 a class, but b has fewer: some has 50 a, 4 b. Ask for at most 8, or .*proportional",
        ),
        ((5, 0, 4), {"labelled": 3}, "no example to train on of b"),
        ((5, 5, 5), {"labelled": 2}, "each of the 3 classes needs one; ask for 3 or more"),
        ((5, 5), {"labelled": 4, "validation": 7}, "asks for 7 examples, but some has 6 .* after 4 labelled ones"),
        ((5, 5), {"labelled": "all", "validation": 10}, "10 examples, but some has 8 .* beside one of each class"),
        (
            (5, 9),
            {"labelled": 9, "balance": {"ratio": 4}},
            "split.balance asks for 7 of 9 labels in class a, but some has 5; ask for fewer labels, or for a smaller",
        ),
    ],
)
def test_what_cannot_be_had_is_refused(sizes: tuple[int, ...], spec: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_split(some_data(*sizes), SplitSpec.model_validate(spec))


@pytest.mark.parametrize(("labelled", "balance"), [(6, "proportional"), ("all", "proportional"), (6, {"ratio": 3})])
def test_a_manifest_reads_back_equal(tmp_path: Path, labelled: int | str, balance: object) -> None:
    data = some_data(40, 30)
    spec = SplitSpec.model_validate({"labelled": labelled, "validation": 5, "balance": balance, "seed": 2})
    split = make_split(data, spec)
    save_split(split, tmp_path / "new" / "split.json")
    read = load_split(tmp_path / "new" / "split.json", data)
    assert read.digest == split.digest and read.spec == spec and read.source == "some"
    for one, other in zip(
        (split.labelled, split.unlabelled, split.validation),
        (read.labelled, read.unlabelled, read.validation),
        strict=True,
    ):
        assert torch.equal(one, other)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["split.json"]


def test_a_manifest_counts_the_unlabelled_examples_beside_the_labelled_ones(tmp_path: Path) -> None:
    data = some_data(40, 30)
    more = replace(data, unlabelled={"x": data.train["x"][:7]})
    split = make_split(more, SplitSpec(labelled="all"))
    save_split(split, tmp_path / "split.json")
    content = json.loads((tmp_path / "split.json").read_text())
    assert content["unlabelled_count"] == 0 and content["unlabelled_beside_count"] == 7
    assert load_split(tmp_path / "split.json", more).digest == split.digest
    save_split(replace(split, beside=0), tmp_path / "former.json")  # as earlier versions wrote it
    former = load_split(tmp_path / "former.json", more)
    assert former.digest == replace(split, beside=0).digest
    assert "unlabelled_beside_count" not in (tmp_path / "former.json").read_text()


def test_manifests_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    data = some_data(40, 30)
    path = tmp_path / "split.json"
    with pytest.raises(DataError, match=r"there is no split manifest .*split.json"):
        load_split(path, data)
    path.write_text("labelled: 3")
    with pytest.raises(DataError, match="no split manifest that can be read"):
        load_split(path, data)
    path.write_text("[1, 2]")
    with pytest.raises(DataError, match="no split manifest of format 1"):
        load_split(path, data)
    save_split(make_split(data, SplitSpec(labelled=6)), path)
    with pytest.raises(DataError, match=r"made for some with sha256 [0-9a-f]{12}\.\.\., but these data are some"):
        load_split(path, some_data(41, 30))
    content = json.loads(path.read_text())
    content["labelled"][0] += 1
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="changed after it was written"):
        load_split(path, data)
    for key, wrong in (("labelled", 5), ("labelled", [[1], [2]]), ("labelled", [0, 1.5]), ("seed", -1)):
        content = json.loads(path.read_text()) | {key: wrong}
        del content["sha256"]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        odd = tmp_path / "odd.json"
        odd.write_text(json.dumps(content | {"sha256": hashlib.sha256(text.encode()).hexdigest()}))
        with pytest.raises(DataError, match=r"a right checksum but a wrong content \([^\n]*\); get it again"):
            load_split(odd, data)
    with pytest.raises(DataError, match="cannot be written"):
        save_split(make_split(data, SplitSpec(labelled=6)), path / "inside.json")


@pytest.mark.parametrize(
    "recipe", ["digits_50labels", "mnist_100labels", "mnist_long_tailed", "fashion_mnist_1000labels"]
)
def test_pinned_manifests_are_those_of_the_recipe(recipe: str, tmp_path: Path) -> None:
    read = read_recipe(REPOSITORY / "recipes" / f"{recipe}.yaml")
    try:
        data = load_source(read.source, REAL, download=False)
    except DataError:
        pytest.skip(f"no {read.source.name} in {REAL}")
    for path in pin_splits(recipe, data, read.split, tmp_path, range(5)):
        pinned = REPOSITORY / "data" / "splits" / path.name
        assert pinned.read_bytes() == path.read_bytes()
        assert load_split(pinned, data).spec.labelled == read.split.labelled


def test_names_of_files_that_are_no_text_are_ranked_too() -> None:
    names = [os.fsdecode(bytes([number])) for number in (254, 255)]
    assert sorted(ranked(names, str)) == names


def test_a_manifest_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    data = some_data(40, 30)
    save_split(make_split(data, SplitSpec(labelled=6)), tmp_path / "split.json")
    content = json.loads((tmp_path / "split.json").read_text())
    (tmp_path / "split.json").write_text(json.dumps(content | {"format": 7}))
    with pytest.raises(DataError, match=r"of format 7, which a newer version of semivae wrote; .* reads format 2"):
        load_split(tmp_path / "split.json", data)
