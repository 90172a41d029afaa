"""The accuracy benchmark: what its variants change, cells that are skipped, resumed or refused, its tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

import semivae
from benchmarks.accuracy import baselines
from benchmarks.accuracy.__main__ import app
from benchmarks.accuracy.benchmark import Benchmark
from benchmarks.accuracy.cells import METHODS, make_cell
from benchmarks.accuracy.measuring import measure
from benchmarks.accuracy.tables import each_split, summarise
from benchmarks.accuracy.variants import VARIANTS
from semivae.data.readers.digits import read_digits
from semivae.errors import RecipeError
from semivae.recipe import Recipe, read_recipe, shipped_recipes
from semivae.recipe.schema import PairOfViews, SplitSpec
from semivae.runs.checkpoint import read_checkpoint, without_prefix
from semivae.scenario.build import build_players
from semivae.scenario.plan import plan_of, roles_of
from semivae.scenario.plan_rows import plan_rows
from semivae.tasks.classes import CLASSES
from semivae.tasks.splitting import make_split
from semivae.training.progress import Progress

# no shipped recipe, which may change: here the generated images never teach q(y | x), so that variants can be compared
RECIPE = """
about: Digits for this test.
source: {name: digits}
split: {labelled: 50, seed: 0, validation: 100}
variables:
  x: {family: bernoulli, shape: [1, 8, 8], complete_with: mean}
  y: {family: categorical, classes: 10}
  h: {family: bernoulli, shape: [4]}
decoder: {y: uniform, h: uniform, x: {given: [y, h], net: {name: mlp, hidden: [16]}}}
encoder: {y: {given: [x], net: {name: mlp, hidden: [32]}}, h: {given: [x, y], net: {name: mlp, hidden: [16]}}}
views: {weak: {shift: 0.06}, strong: {shift: 0.12, noise: 0.1}}
streams:
  labelled: {observe: [x, y], batch: 50, views: strong, loss_weights: {x: 0.5}}
  unlabelled: {observe: [x], batch: 30, views: {weak: weak, strong: strong, threshold: 0.0}}
  labels: {observe: [y], batch: 20, values: uniform, loss_weights: {y: 0}}
training: {steps: 4, validate_every: 2, checkpoint_every: 2, precision: float32}
"""
QUICK = ("svm", "label_spreading", "labels_only", "whole", "all_labels")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "small.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def recipe(file: Path) -> Recipe:
    return read_recipe(file)


def accuracy(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments), "--device", "cpu"])


@pytest.fixture(scope="module")
def measured(file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a benchmark of two splits, and what was printed. Read only."""
    runs = tmp_path_factory.mktemp("benchmark")
    result = accuracy(file, "--seeds", "0..1", "--variants", ",".join(QUICK), "--runs", runs)
    assert result.exit_code == 0, result.output
    return runs, result.stdout


def classifier(run: Path) -> dict[str, torch.Tensor]:
    """The averaged weights of q(y | x)."""
    tensors, _ = read_checkpoint(run / "last.safetensors")
    return without_prefix("game.encoder_average.module.conditionals.y", tensors)


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    assert one
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# Variants ------------------------------------------------------------------------------------------------------------


def test_variants_learn_what_they_say(recipe: Recipe) -> None:
    lessons = {name: [row[:3] for row in plan_rows(plan_of(variant(recipe)))] for name, variant in VARIANTS.items()}
    pairs = ("labelled", "encoder", "all observed")
    views = ("unlabelled", "encoder", "the encoder's EMA labels y on the weak view")
    assert lessons["labels_only"] == lessons["all_labels"] == [pairs]
    assert lessons["labels_views"] == [pairs, views]  # and no label that a decoder without images would guess
    assert lessons["game"] == [row for row in lessons["whole"] if row != views]
    assert views in lessons["whole"]
    assert ("labels", "decoder", "all observed") not in lessons["unknown_prior"]
    assert ("labels", "encoder", "decoder draws y, h, x") in lessons["unknown_prior"]


def test_without_the_label_stream_nothing_knows_the_prior() -> None:
    unknown = VARIANTS["unknown_prior"](read_recipe("mnist_long_tailed"))
    assert unknown.decoder["y"] == "learned"
    assert not any(stream.observe == ("y",) or stream.adjust for stream in unknown.streams.values())
    assert not unknown.streams["unlabelled"].views.align  # type: ignore[union-attr]
    taught = {
        lesson.stream for lesson in plan_of(unknown).lessons if lesson.learner == "decoder" and "y" in lesson.scores
    }
    assert taught == {"labelled", "unlabelled"}


def test_variants_keep_split_steps_and_start(recipe: Recipe) -> None:
    starts = []
    for name, variant in VARIANTS.items():
        changed = variant(recipe)
        assert changed.training == recipe.training
        assert changed.views == recipe.views
        assert changed.streams["labelled"].views == "strong"
        if name != "all_labels":
            assert changed.split == recipe.split
        _, encoder = build_players(changed)
        starts.append(encoder["y"].state_dict())
    assert all(equal(starts[0], start) for start in starts[1:])


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_have_all_variants_or_say_why_not(name: str) -> None:
    recipe = read_recipe(name)
    if roles_of(recipe).task is not CLASSES:
        for variant in ("svm", "whole"):
            with pytest.raises(RecipeError, match=r"unsupervised|no single class"):
                make_cell(name, variant, recipe, Path("runs"))
        return
    if not recipe.split.labelled:  # no pair to learn from alone
        return
    unpaired = not any(isinstance(stream.views, PairOfViews) for stream in recipe.streams.values())
    for variant in METHODS:
        if unpaired and variant in ("labels_views", "game"):
            with pytest.raises(RecipeError, match="no pair of views; leave out the variants"):
                make_cell(name, variant, recipe, Path("runs"))
            continue
        changed = make_cell(name, variant, recipe, Path("runs")).recipe
        assert plan_of(changed).lessons
        assert not changed.training.twin


def test_without_a_decoder_there_is_no_vote(file: Path) -> None:
    voting = read_recipe(file, {"streams.unlabelled.vote": {"strength": 0.1}})
    assert VARIANTS["labels_views"](voting).streams["unlabelled"].vote is None
    assert VARIANTS["game"](voting).streams["unlabelled"].vote == voting.streams["unlabelled"].vote


def test_the_ceiling_sees_all_labels_in_batches_of_the_same_total(recipe: Recipe) -> None:
    ceiling = VARIANTS["all_labels"](recipe)
    assert ceiling.split.labelled == "all"
    assert ceiling.split.validation == recipe.split.validation
    assert ceiling.streams["labelled"].batch == 50 + 30


def test_variants_differ_in_nothing_but_their_lessons(file: Path, tmp_path: Path) -> None:
    # generated images do not teach q(y | x) here: what is left of the whole is labels and views, to the last bit
    weights = {}
    for name in ("labels_only", "labels_views", "game", "whole"):
        semivae.train(VARIANTS[name](read_recipe(file)), out=tmp_path / name, device="cpu")
        weights[name] = classifier(tmp_path / name)
    assert equal(weights["labels_views"], weights["whole"])
    assert equal(weights["labels_only"], weights["game"])
    assert not equal(weights["labels_only"], weights["whole"])


# The command ---------------------------------------------------------------------------------------------------------


def test_the_table_shows_every_variant_and_where_it_was_measured(measured: tuple[Path, str]) -> None:
    runs, shown = measured
    page = (runs / "accuracy.md").read_text(encoding="utf-8")
    rows = [line.split(" | ")[0].removeprefix("| ") for line in page.splitlines() if line.startswith("| ")]
    assert rows == ["variant", "---", *QUICK]
    for part in ("Digits for this test.", "±", f"torch {torch.__version__}", "500 test images", "read as intended"):
        assert part in page
    assert f"small --seeds 0,1 --variants {','.join(QUICK)}`" in page
    assert "the ceiling" in page  # what the variants are
    assert all(line in page for line in shown.splitlines())


def test_the_json_keeps_every_cell_as_evaluation_gives_it(measured: tuple[Path, str]) -> None:
    runs, _ = measured
    content = json.loads((runs / "accuracy.json").read_text(encoding="utf-8"))["recipes"]["small"]
    assert [(cell["variant"], cell["seed"]) for cell in content["cells"]] == [(v, s) for v in QUICK for s in (0, 1)]
    for cell in content["cells"]:
        if (folder := runs / "small" / cell["variant"] / f"seed{cell['seed']}").is_dir():
            last = semivae.load(str(folder), device="cpu").evaluate()["last"]
            assert cell["result"]["error"] == last["error"]
            assert cell["result"]["nll"] == pytest.approx(last["nll"])
            assert cell["result"]["steps"] == 4
        assert cell["date"][:2] == "20" and cell["machine"]["cpu"]
    whole = content["summary"]["whole"]
    assert whole["error"] == pytest.approx(np.mean(whole["errors"]))
    assert whole["error_std"] == pytest.approx(np.std(whole["errors"], ddof=1))
    assert 0 <= whole["read_as_intended"] <= 1
    assert isinstance(whole["bits"], float)
    reader = next(cell for cell in content["cells"] if cell["variant"] == "all_labels")
    noted = next(cell for cell in content["cells"] if cell["variant"] == "whole")["generation"]
    assert (noted["samples"], noted["reader_error"]) == (2000, reader["result"]["error"])


def test_what_is_done_is_not_done_again(measured: tuple[Path, str], file: Path) -> None:
    runs, _ = measured
    before = {path: path.stat().st_mtime_ns for path in (runs / "small").rglob("*")}
    result = accuracy(file, "--seeds", "0..1", "--variants", ",".join(QUICK), "--runs", runs)
    assert result.exit_code == 0, result.output
    assert {path: path.stat().st_mtime_ns for path in (runs / "small").rglob("*")} == before


def test_dry_run_lists_and_makes_nothing(measured: tuple[Path, str], file: Path) -> None:
    runs, _ = measured
    result = accuracy(file, "--seeds", "1..2", "--variants", "game,svm", "--runs", runs, "--dry-run")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("small svm split 1: done, error ")
    assert lines[1:] == ["small svm split 2: to do", "small game split 1: to do", "small game split 2: to do"]
    assert not (runs / "small/game").exists()


def test_a_changed_recipe_is_refused_then_retrained(file: Path, tmp_path: Path) -> None:
    arguments = [file, "--seeds", "0", "--variants", "svm,labels_only", "--runs", tmp_path]
    assert accuracy(*arguments).exit_code == 0
    changed = [*arguments, "--set", "training.steps=6"]
    refused = accuracy(*changed)
    assert refused.exit_code == 1
    assert "small labels_only split 0:\n  - training.steps: was 4, now 6" in refused.stderr
    assert "svm" not in refused.stderr  # it does not depend on the steps
    assert "--retrain" in refused.stderr
    left_out = accuracy(file, "--runs", tmp_path, "--table", "--set", "training.steps=6")
    assert "left out of the table: small labels_only split 0 (changed)" in left_out.stderr
    assert set(json.loads((tmp_path / "accuracy.json").read_text())["recipes"]["small"]["summary"]) == {"svm"}
    assert accuracy(*changed, "--retrain").exit_code == 0
    cells = json.loads((tmp_path / "accuracy.json").read_text())["recipes"]["small"]["cells"]
    assert [cell["result"].get("steps") for cell in cells] == [None, 6]
    assert accuracy(*changed).exit_code == 0


def test_an_interrupted_cell_goes_on(measured: tuple[Path, str], file: Path, tmp_path: Path) -> None:
    cell = Benchmark(str(file), (), tmp_path).cell("whole", 0)

    def stop(progress: Progress) -> None:
        if progress.step == 4:  # after the checkpoint of step 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(cell, None, "cpu", stop)
    assert cell.state() == "interrupted"
    result = accuracy(file, "--seeds", "0", "--variants", "whole", "--runs", tmp_path)
    assert result.exit_code == 0, result.output
    assert equal(classifier(cell.run), classifier(measured[0] / "small/whole/seed0"))


def test_tables_of_other_recipes_stay(measured: tuple[Path, str], file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(RECIPE)
    runs, _ = measured
    (tmp_path / "both.json").write_text((runs / "accuracy.json").read_text())
    result = accuracy(other, "--seeds", "0", "--variants", "svm", "--runs", tmp_path, "--out", tmp_path / "both")
    assert result.exit_code == 0, result.output
    recipes = json.loads((tmp_path / "both.json").read_text())["recipes"]
    assert list(recipes) == ["other", "small"]
    assert recipes["small"] == json.loads((runs / "accuracy.json").read_text())["recipes"]["small"]
    assert "## small" in (tmp_path / "both.md").read_text(encoding="utf-8")


def test_a_tables_cells_count_as_done(measured: tuple[Path, str], file: Path, tmp_path: Path) -> None:
    runs, _ = measured
    before = json.loads((runs / "accuracy.json").read_text())["recipes"]["small"]
    (tmp_path / "kept.json").write_text((runs / "accuracy.json").read_text())
    arguments = [file, "--seeds", "0..1", "--variants", ",".join((*QUICK, "game")), "--runs", tmp_path / "runs"]
    arguments += ["--out", tmp_path / "kept", "--from-table"]
    shown = accuracy(*arguments, "--dry-run").stdout.splitlines()
    assert [line for line in shown if line.endswith("to do")] == [
        "small game split 0: to do",
        "small game split 1: to do",
    ]
    assert accuracy(*arguments).exit_code == 0
    after = json.loads((tmp_path / "kept.json").read_text())["recipes"]["small"]
    assert [cell for cell in after["cells"] if cell["variant"] != "game"] == before["cells"]
    assert sum(cell["variant"] == "game" for cell in after["cells"]) == 2
    assert [path.name for path in (tmp_path / "runs/small").iterdir()] == ["game"]  # nothing else was made
    changed = accuracy(*arguments, "--set", "training.steps=6")
    assert changed.exit_code == 1 and "training.steps: was 4, now 6" in changed.stderr
    lost = accuracy(file, "--runs", tmp_path / "runs", "--out", tmp_path / "kept", "--table")
    assert "lacks them: svm split 0, svm split 1" in lost.stderr and "--from-table keeps them" in lost.stderr


def test_a_cell_that_fails_does_not_stop_the_others(file: Path, tmp_path: Path) -> None:
    arguments = ["--seeds", "0", "--variants", "svm,self_training,labels_only", "--set", "split.labelled=10"]
    result = accuracy(file, *arguments, "--runs", tmp_path)
    assert result.exit_code == 1
    assert "small self_training split 0" in result.stderr
    assert "two labels of every class" in result.stderr
    assert "| svm |" in result.stdout and "| labels_only |" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["small", "--variants", "hole"], 2, "no variant 'hole'; did you mean whole?"),
        (["small", "--seeds", "3..1"], 2, "is no list of seeds"),
        (["nothing_like_it"], 2, "there is no such file"),
        (["small", "--set", "training.stepz=3"], 2, "did you mean steps?"),
        (["small", "--variants", "game", "--set", "streams.unlabelled.views=weak"], 2, "no pair of views"),
        (
            ["small", "--set", "streams.labelled.observe=[x]", "--set", "streams.labelled.loss_weights={}"],
            2,
            "unsupervised",
        ),
        (["small", "copy/small"], 1, "two recipes are called small"),
        (["small", "--table", "--out", "taken"], 1, "is no table of this benchmark"),
    ],
)
def test_user_errors(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    Path("copy").mkdir()
    for path in ("small", "copy/small"):
        Path(path).write_text(RECIPE)
    Path("taken.json").write_text("{}")
    result = accuracy(*arguments)
    assert result.exit_code == status, result.output
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.output
    assert not Path("runs").exists()


def test_a_damaged_cell_is_named(file: Path, tmp_path: Path) -> None:
    (tmp_path / "small/svm").mkdir(parents=True)
    (tmp_path / "small/svm/seed0.json").write_text("{")
    result = accuracy(file, "--seeds", "0", "--variants", "svm", "--runs", tmp_path)
    assert result.exit_code == 1
    assert "seed0.json: cannot be read" in result.stderr


# Baselines, tables ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", baselines.BASELINES)
def test_baselines_learn_digits_also_from_principal_components(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = read_digits()
    data = baselines.examples(dataset, make_split(dataset, SplitSpec(labelled=100, validation=100)))
    assert data.labelled.max() == 1.0
    assert len(data.labelled) + len(data.unlabelled) + 100 == len(dataset.train["y"])
    monkeypatch.setattr(baselines, "SUBSAMPLE", 200)
    for many in (20_000, 1_000):
        monkeypatch.setattr(baselines, "MANY", many)
        predictions = baselines.BASELINES[name].predict(data, 0)
        assert (predictions.classes == dataset.test["y"].numpy()).mean() > 0.8
        if predictions.probabilities is not None:
            np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1.0, atol=1e-6)


def test_images_that_no_label_reaches_are_unknown() -> None:
    rng = np.random.default_rng(0)
    near, far = (rng.normal(centre, 0.1, (20, 2)).astype(np.float32) for centre in (0.0, 100.0))
    data = baselines.Examples(near[:2], np.array([0, 1]), np.concatenate([near[2:], far]), np.concatenate([near, far]))
    probabilities = baselines.label_spreading(data, 0).probabilities
    assert probabilities is not None
    assert (probabilities[20:] == 0.5).all()
    assert not (probabilities[:20] == 0.5).all()


def test_summary_by_hand() -> None:
    def cell(seed: int, error: float, nll: float | None) -> dict[str, Any]:
        result = {"error": error, "error_interval": [0.01, 0.0345], "nll": nll, "ece": 0.1, "seconds": 2.0}
        return {"seed": seed, "result": {**result, "bits": {"g": 1.5, "h": 2.0}}, "machine": {"gpu": None}}

    row = summarise([cell(0, 0.02, 0.3), cell(1, 0.04, None)])
    assert (row["error"], row["nll"], row["bits"]) == (pytest.approx(0.03), None, 3.5)
    assert row["error_std"] == pytest.approx(0.02 / 2**0.5)
    assert row["read_as_intended"] is None
    assert summarise([cell(0, 0.02, 0.3)])["error_std"] is None
    assert each_split([cell(7, 0.02, 0.3)]) == "split 7: 1.00 to 3.45"
