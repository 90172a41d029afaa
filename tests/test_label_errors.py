"""Labels that are probably wrong: the probability by hand and by simulation, folds that hide labels, the command."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from typer.testing import CliRunner, Result

import semivae
from benchmarks.doubting import confident_learning, exchanged, scores_of
from semivae.api import Run
from semivae.cli import app
from semivae.cli.copying import places_in
from semivae.data.readers.digits import read_digits
from semivae.data.splits import Split, save_split
from semivae.errors import DataError, RunError
from semivae.label_errors.doubting import doubts_of
from semivae.label_errors.doubts import Doubts, judged
from semivae.label_errors.folds import _showing, by_features, dealt
from semivae.recipe import read_recipe
from semivae.recipe.schema import SplitSpec
from semivae.tasks.kinds import MAPS
from semivae.tasks.splitting import make_split
from semivae.tasks.task import reason

SHORT: dict[str, object] = {
    "training.steps": 40,
    "training.validate_every": 40,
    "training.twin": False,
    "split": {"labelled": 200, "validation": 100},
}


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["doubts", *map(str, arguments)])


# The probability ------------------------------------------------------------------------------------------------------


def test_a_posterior_that_says_nothing_leaves_the_doubt_of_before() -> None:
    """With p = 1/K everywhere the doubt is the rate itself, and EM ends where rate = (n rate + 1) / (n + 20)."""
    found = doubts_of(np.full((30, 4), -np.log(4)), np.arange(30) % 4)
    assert found.doubt == pytest.approx(np.full(30, 1 / 20), abs=1e-4) and found.rate == pytest.approx(1 / 20, abs=1e-4)
    assert found.expected_wrong == pytest.approx(1.5, abs=0.01)
    assert (found.proposed != np.arange(30) % 4).all()


def test_doubt_is_by_bayes_rule_from_rate_and_temperature() -> None:
    p = np.array([[0.9, 0.08, 0.02], [0.3, 0.5, 0.2], [0.1, 0.2, 0.7]])
    labels = np.array([0, 0, 2])
    found = doubts_of(np.log(p), labels)
    sharp = p ** (1 / found.temperature)
    likely = (sharp / sharp.sum(axis=1, keepdims=True))[np.arange(3), labels]
    right, wrong = (1 - found.rate) * likely, found.rate / 2 * (1 - likely)
    assert found.doubt == pytest.approx(wrong / (right + wrong), rel=1e-6)
    assert found.rate == pytest.approx((found.doubt.sum() + 1) / (3 + 20), abs=1e-6)  # where EM ends
    assert found.proposed.tolist() == [1, 1, 1]


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_rate_temperature_and_doubts_come_out_of_noisy_labels_alone(noise: float, temperature: float) -> None:
    """Posteriors p ** (1 / t) of labels drawn from p: 4,000 rows; the bounds are more than four deviations wide."""
    generator = np.random.default_rng(0)
    logits = 4.0 * generator.normal(size=(4000, 5))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    true = np.array([generator.choice(5, p=row) for row in p])
    wrong = generator.random(4000) < noise
    given = np.where(wrong, (true + generator.integers(1, 5, 4000)) % 5, true)
    found = doubts_of(logits * temperature, given)
    assert found.temperature == pytest.approx(temperature, rel=0.15)
    assert found.rate == pytest.approx(noise, abs=0.02)
    assert found.expected_wrong == pytest.approx(wrong.sum(), abs=80)
    for low, high in ((0.05, 0.5), (0.5, 0.9), (0.9, 1.01)):  # a doubt of 70% is right seven times in ten
        chosen = (found.doubt >= low) & (found.doubt < high)
        if chosen.sum() > 30:
            assert wrong[chosen].mean() == pytest.approx(found.doubt[chosen].mean(), abs=2 / np.sqrt(chosen.sum()))


def test_what_models_have_learnt_of_labels_is_taken_back_by_others_from_the_same_hands() -> None:
    """4,000 labels each, 10% wrong; the log odds of the first are raised by 3. Bounds: four deviations and more."""
    generator = np.random.default_rng(0)
    logits = 4.0 * generator.normal(size=(8000, 5))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    true = np.array([generator.choice(5, p=row) for row in p])
    wrong = generator.random(8000) < 0.1
    given = np.where(wrong, (true + generator.integers(1, 5, 8000)) % 5, true)
    first = np.arange(4000)
    logits[first, given[first]] += 3.0
    posterior = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    beside = doubts_of(posterior[4000:], given[4000:])
    alone, found = doubts_of(posterior[:4000], given[:4000]), doubts_of(posterior[:4000], given[:4000], like=beside)
    assert alone.expected_wrong < 0.6 * wrong[:4000].sum()
    assert found.expected_wrong == pytest.approx(wrong[:4000].sum(), abs=80)
    chosen = found.doubt > 0.5
    assert wrong[:4000][chosen].mean() == pytest.approx(found.doubt[chosen].mean(), abs=0.1)
    clean = doubts_of(posterior[4000:], true[4000:])  # others that are cleaner take nothing back
    assert doubts_of(posterior[4000:], given[4000:], like=clean).expected_wrong == pytest.approx(
        beside.expected_wrong, rel=0.2
    )


def test_a_class_that_no_model_knows_is_doubted_and_never_nan() -> None:
    p = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    with np.errstate(divide="ignore"):
        found = doubts_of(np.log(p), np.array([0, 1, 1]))
    assert np.isfinite(found.doubt).all() and found.doubt[0] > 0.99 and found.doubt[1:].max() < 0.1


def test_what_cannot_be_doubted_is_refused() -> None:
    p = np.zeros((2, 2))
    for posterior, labels, message in (
        (p[:0], np.zeros(0, np.int64), "at least one label of at least two classes"),
        (p[:, :1], np.zeros(2, np.int64), "at least one label of at least two classes"),
        (p, np.array([0, 2]), "one class number in 0..1"),
        (p, np.array([0, -1]), "one class number in 0..1"),
        (p, np.array([0]), "one class number in 0..1"),
        (p * np.nan, np.array([0, 1]), "is not a number"),
    ):
        with pytest.raises(DataError, match=message):
            doubts_of(posterior, labels)


# Folds ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folds", [2, 3, 5, 7])
def test_folds_are_equal_but_for_one_and_leave_every_class(folds: int) -> None:
    labels = np.array([3, 0, 3, 1, 2, 3, 3, 2, 3, 3, 3, 0, 3, 2, 1, 3, 3])
    found = dealt(labels, folds)
    sizes = np.bincount(found, minlength=folds)
    assert sizes.max() - sizes.min() <= 1 and found.tolist() == dealt(labels, folds).tolist()
    for fold in range(folds):
        assert set(labels[found != fold]) == {0, 1, 2, 3}


def test_labels_of_a_fold_have_no_part_in_its_posterior() -> None:
    generator = np.random.default_rng(0)
    features, labels = generator.normal(size=(60, 4)).astype(np.float32), np.arange(60) % 3
    folds = dealt(labels, 4)
    before = by_features(features, labels, folds, 4)
    changed = np.where(folds == 1, (labels + 1) % 3, labels)
    after = by_features(features, changed, folds, 4)
    assert (before[folds == 1] == after[folds == 1]).all() and (before[folds == 0] != after[folds == 0]).any()
    assert np.exp(before).sum(axis=1) == pytest.approx(np.ones(60)) and np.isneginf(before[:, 3]).all()


def test_a_retraining_keeps_the_images_of_the_fold_without_their_labels() -> None:
    shown, hidden, kept = (torch.tensor(rows) for rows in ([1, 3, 5, 7], [0, 2], [4, 6]))
    split = Split(shown, hidden, kept, "some", "digest", SplitSpec(labelled=4))
    found = _showing(split, torch.tensor([1, 7]), 8)
    parts = (found.labelled, found.unlabelled, found.validation)
    assert [part.tolist() for part in parts] == [[1, 7], [0, 2, 3, 5], [4, 6]]
    assert found.spec.labelled == 2


def test_a_label_alone_in_its_class_is_not_judged() -> None:
    rows, lonely = judged(torch.tensor([0, 1, 2, 4, 5]), torch.tensor([1, 1, 0, 0, -1, 2]))
    assert rows.tolist() == [0, 1] and lonely == 2


# A run ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, set[int]]:
    """Digits of which 20 of the 200 labelled, and 10 of the 100 for validation, show a wrong label; their rows."""
    clean = read_digits()
    split = make_split(clean, read_recipe("digits_50labels", SHORT).split)
    wrong = torch.cat([split.labelled[::10], split.validation[::10]])
    labels = clean.train["y"].clone()
    labels[wrong] = (labels[wrong] + 3) % 10
    out = tmp_path_factory.mktemp("noisy")
    manifest = out / "split.json"
    dataset = replace(clean, train=clean.train | {"y": labels})
    save_split(replace(split, dataset_digest=dataset.digest), manifest)
    run = semivae.train(
        "digits_50labels", set=SHORT, split=manifest, dataset=dataset, out=out / "run", device="cpu", progress=False
    )
    return run, set(wrong.tolist())


def test_wrong_labels_are_found_in_both_parts(noisy: tuple[Run, set[int]]) -> None:
    run, wrong = noisy
    found = run.doubts()
    assert len(found) == 300 and found.not_judged == 0 and (np.diff(found.doubt) <= 0).all()
    first = found.first(30)
    assert len(set(first.rows.tolist()) & wrong) >= 24
    assert {part for row, part in zip(first.rows, first.parts, strict=True) if row in wrong} == {
        "labelled",
        "validation",
    }
    assert 15 <= found.expected_wrong <= 45
    labels, classes = run.dataset().train["y"], run.classes
    assert [classes[labels[row]] for row in found.rows] == list(found.given)
    true = [classes[(int(labels[row]) - 3) % 10] for row in first.rows if row in wrong]
    proposed = [name for row, name in zip(first.rows, first.proposed, strict=True) if row in wrong]
    assert sum(one == other for one, other in zip(true, proposed, strict=True)) >= 0.8 * len(true)
    assert set(run.split().labelled.tolist()) == {
        row for row, part in zip(found.rows.tolist(), found.parts, strict=True) if part == "labelled"
    }


def test_a_retraining_for_each_fold_finds_them_too(noisy: tuple[Run, set[int]]) -> None:
    run, wrong = noisy
    heard: list[int] = []
    found = run.doubts(folds=2, retrain=True, steps=30, progress=lambda progress: heard.append(progress.step))
    assert found.how == "retrained" and found.folds == 2 and heard.count(30) >= 2
    assert len(set(found.first(30).rows.tolist()) & wrong) >= 20


def test_what_a_run_refuses(noisy: tuple[Run, set[int]]) -> None:
    run, _ = noisy
    with pytest.raises(RunError, match="folds is 1, but labels can be judged by the other folds only"):
        run.doubts(folds=1)
    with pytest.raises(RunError, match="steps are those of a training for each fold"):
        run.doubts(steps=5)
    assert "semivae report" in (reason(MAPS, "doubts", "s") or "")


# The command ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of digits in folders, 12 of each of three classes, and the folder; one 0 lies among the 1s. Read only."""
    data, root = load_digits(), tmp_path_factory.mktemp("folder")
    for name in range(3):
        for number, digit in enumerate(data.images[data.target == name][:12]):
            place = 1 if (name, number) == (0, 5) else name
            file = root / "digits" / "train" / str(place) / f"{name}-{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((digit / 16 * 255).astype(np.uint8)).save(file)
    source = {"name": "folder", "path": "digits", "size": 8, "channels": 1, "test_share": 0.1}
    changes = SHORT | {"source": source, "split": {"labelled": "all", "validation": 0}, "variables.y.classes": None}
    run = semivae.train("digits_50labels", set=changes, out=root / "run", data_root=root, progress=False)
    return run.path, root / "digits"


def test_list_sheet_and_copies_name_the_files(of_folder: tuple[Path, Path], tmp_path: Path) -> None:
    run, folder = of_folder
    out, sheet, copies = tmp_path / "doubts.csv", tmp_path / "sheet.png", tmp_path / "copies"
    result = command(run, "-n", 2, "--out", out, "--sheet", sheet, "--copy-to", copies)
    assert result.exit_code == 0, result.stderr
    first, second = csv.DictReader(io.StringIO(out.read_text()))
    assert (first["name"], first["part"], first["label"], first["proposed"]) == (
        "train/1/0-5.png",
        "labelled",
        "1",
        "0",
    )
    assert float(first["doubt"]) > 0.5 and float(first["doubt"]) >= float(second["doubt"])
    assert (copies / "1, perhaps 0" / "0-5.png").read_bytes() == (folder / first["name"]).read_bytes()
    assert sum(path.is_file() for path in copies.rglob("*")) == 2
    with Image.open(sheet) as picture:
        assert picture.height in (4 + 68, 4 + 2 * 68)  # a row for each pair of classes, 8 x 8 pixels enlarged to 64
    assert "labels are expected to be wrong" in result.stdout and "doubt is the probability" in result.stdout
    shown = command(run, "--at-least", "50%")
    assert "train/1/0-5.png" in shown.stdout and "2-" not in shown.stdout


def test_copies_are_numbered_where_names_are_equal_and_lie_in_folders_that_every_system_takes() -> None:
    assert places_in(["cat", "dog"], ["a/1.png", "b/2.png"], "") == ["cat/1.png", "dog/2.png"]
    assert places_in(["cat", "dog"], ["a/1.png", "b/1.PNG"], "") == ["cat/0-1.png", "dog/1-1.PNG"]
    assert places_in(None, ["a/1.png", "b/2.png"], "") == ["1.png", "2.png"]
    for bad in ("cat/dog", "..", "cat ", "a:b", ""):
        with pytest.raises(RunError, match="can be no folder; leave it out"):
            places_in(["cat", bad], ["a/1.png", "b/2.png"], "leave it out")


def test_json_holds_the_list_and_what_is_expected(of_folder: tuple[Path, Path]) -> None:
    run, _ = of_folder
    report = json.loads(command(run, "--json").stdout)
    assert report["labels"][0]["name"] == "train/1/0-5.png" and report["listed"] == len(report["labels"])
    assert report["judged"] >= 30 and 0.5 < report["expected_wrong"] < 6 and report["how"] == "features"


def test_the_command_refuses_by_message(
    noisy: tuple[Run, set[int]], of_folder: tuple[Path, Path], tmp_path: Path
) -> None:
    run, folder = of_folder
    (tmp_path / "there.csv").write_text("mine")
    for arguments, message in (
        ((run, "--steps", 5), "give --retrain too"),
        ((run, "--at-least", "20%", "-n", 3), "not by both"),
        ((run, "--out", tmp_path / "there.csv"), "there.csv"),
        ((run, "--sheet", "sheet.gif"), "must end in .png"),
        ((run, "--copy-to", folder / "inside"), "whose images it would double"),
        ((run, "--at-least", "2"), "is no share between 0 and 1"),
        ((noisy[0].path,), "given in memory"),
    ):
        result = command(*arguments)
        shown = " ".join(result.stderr.replace("│", " ").split())
        assert result.exit_code and message in shown and "Traceback" not in result.stderr, shown
    assert (tmp_path / "there.csv").read_text() == "mine"


def test_rows_of_an_array_are_called_by_their_numbers_in_it(tmp_path: Path) -> None:
    """Where a part is set aside for the test, rows are those of the file all the same."""
    data = load_digits()
    np.savez(tmp_path / "mine.npz", x=data.images[:150].astype(np.float32) / 16, y=data.target[:150])
    changes = SHORT | {
        "source": {"name": "arrays", "path": "mine.npz"},
        "split": {"labelled": 60, "validation": 20},
    }
    run = semivae.train("digits_50labels", set=changes, out=tmp_path / "run", data_root=tmp_path, progress=False)
    found = run.doubts()
    assert isinstance(found, Doubts) and len(found) == 80
    assert [str(data.target[int(name)]) for name in found.names] == list(found.given)


# The benchmark --------------------------------------------------------------------------------------------------------


def test_confident_learning_by_hand() -> None:
    """Thresholds: 0.6 for class 0 (of rows 0 to 2), 0.7 for class 1 (of rows 3 and 4)."""
    p = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.3, 0.7], [0.3, 0.7]])
    found, doubt = confident_learning(p, np.array([0, 0, 0, 1, 1]))
    assert found.tolist() == [False, False, True, False, False]
    assert doubt == pytest.approx([0.1, 0.3, 0.8, 0.3, 0.3])
    scores = scores_of(np.array([False, True, True, False, False]), found, doubt)
    assert scores["listed"] == 1 and scores["precision"] == 1.0 and scores["recall"] == 0.5 and scores["first"] == 1.0


def test_exchanged_labels_are_other_classes() -> None:
    labels = np.arange(1000) % 3
    changed = exchanged(labels, 3, 0.2, 0)
    assert 130 < (changed != labels).sum() < 270  # 200 with a deviation of 13
    assert set(changed.tolist()) == {0, 1, 2} and (exchanged(labels, 3, 0.0, 0) == labels).all()
