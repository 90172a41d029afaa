"""The comparison of two checkouts: one bit is seen, wording and times are not, and what lacks data is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import typer
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from benchmarks import same_steps
from benchmarks.same_steps import differences, idle_terms, reason_for, reasons_of, tensor_differences

ROOT = Path(__file__).parents[1]


def result(folder: Path, weight: float = 1.0, error: str = "", **row: object) -> Path:
    (folder / "run").mkdir(parents=True)
    (folder / "error.txt").write_text(error)
    (folder / "run" / "split.json").write_text(json.dumps({"format": 1, "dataset_sha256": "ab", "labelled": [3, 5]}))
    full = {"phase": "model", "step": 5, "seconds": 0.1, "losses": {"decoder.a.x": 2.0}, "bits": {"h": 1.0}, **row}
    (folder / "run" / "metrics.jsonl").write_text(json.dumps(full) + "\n")
    save_file({"w": torch.tensor([0.5, weight])}, folder / "run" / "last.safetensors")
    return folder


def test_one_bit_is_a_difference_and_so_is_the_sign_of_a_zero() -> None:
    one, zero = torch.ones(3), torch.zeros(2)
    above = torch.nextafter(torch.ones(3), torch.full((3,), 2.0))
    above[:2] = 1.0
    assert not list(tensor_differences({"w": one, "n": one * torch.nan}, {"w": one.clone(), "n": one * torch.nan}))
    assert list(tensor_differences({"w": one}, {"w": above})) == ["w: 1 of 3 values differ, by up to 1.19e-07"]
    assert list(tensor_differences({"w": zero}, {"w": -zero})) == ["w: 0 of 2 values differ, by up to 0"]
    assert list(tensor_differences({"w": one}, {"v": one})) == ["only NEW has v", "only OLD has w"]
    assert list(tensor_differences({"w": one}, {"w": one.double()})) == [
        "w was torch.float32 [3], now torch.float64 [3]"
    ]
    scalar = torch.tensor(3)
    assert not list(tensor_differences({"w": scalar}, {"w": scalar.clone()}))


def test_losses_weights_and_failures_are_compared_and_times_and_wording_are_not(tmp_path: Path) -> None:
    old = result(tmp_path / "old")
    assert not list(differences(old, result(tmp_path / "same", seconds=9.0, warnings=[{"text": "new words"}])))
    (line,) = differences(old, result(tmp_path / "weight", weight=1.5))
    assert line == "last: w: 1 of 2 values differ, by up to 0.5"
    (line,) = differences(old, result(tmp_path / "loss", losses={"decoder.a.x": 2.5}))
    assert line == "metrics.jsonl: model, step 5: loss decoder.a.x was 2.0, now 2.5"
    (line,) = differences(old, result(tmp_path / "bits", bits={"h": 0.5}))
    assert "bits was {'h': 1.0}, now {'h': 0.5}" in line
    (line,) = differences(old, result(tmp_path / "failed", error="DataError: no"))
    assert line == "OLD: trained; NEW: DataError: no"
    (line,) = differences(old, result(tmp_path / "rows", step=4))
    assert "rows [('model', 5)], now [('model', 4)]" in line


def test_terms_that_stayed_zero_are_named(tmp_path: Path) -> None:
    run = result(tmp_path / "a", losses={"views.u.y": 0.0, "encoder.l.y": 1.0}) / "run"
    assert idle_terms(run) == ["views.u.y"]


def test_a_stated_difference_has_a_pattern_and_a_reason() -> None:
    reasons = reasons_of(["mnist_*=views draw at once", "table=Muon"])
    assert reason_for("mnist_ladder (elbo)", reasons) == "views draw at once" and reason_for("table", reasons) == "Muon"
    assert reason_for("table_numbers", reasons) == ""
    for wrong in ("mnist_*", "mnist_*= ", "=Muon"):
        with pytest.raises(typer.BadParameter, match="needs PATTERN=REASON"):
            reasons_of([wrong])


ANOTHER_SEED = """
_train = globals().get("train") or __getattr__("train")
def train(recipe, *, set, **options):
    return _train(recipe, set={**set, "training.seed": 1}, **options)
"""


@pytest.mark.slow
def test_a_checkout_equals_itself_and_not_one_that_trains_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    shutil.copytree(ROOT / "semivae", tmp_path / "changed" / "semivae")
    with (tmp_path / "changed" / "semivae" / "__init__.py").open("a") as file:
        file.write(ANOTHER_SEED)

    def compare(new: Path, recipes: str, *more: str) -> Result:
        arguments = [ROOT, new, "--recipes", recipes, "--cache", tmp_path / "kept", "--data-root", tmp_path, *more]
        return CliRunner().invoke(same_steps.app, [str(argument) for argument in arguments])

    found = compare(ROOT, "table,mnist_ladder")
    assert found.exit_code == 0, found.output
    assert "1 to train, 0 in the cache" in found.output
    assert "skipped: the data root has no MNIST" in found.output
    assert "equal" in found.output
    found = compare(tmp_path / "changed", "table")
    assert found.exit_code == 1, found.output
    assert "0 to train, 1 in the cache" in found.output
    assert "metrics.jsonl: model, step 5: loss decoder.labelled.x was" in found.output
    stated = ("--intended", "tab*=another seed")
    found = compare(tmp_path / "changed", "table", *stated)
    assert found.exit_code == 0 and "intended, another seed: metrics.jsonl" in found.output, found.output
    found = compare(ROOT, "table", *stated)
    assert found.exit_code == 1 and "equal, though to differ: another seed" in found.output, found.output
