"""The format of a run's folder: what earlier versions wrote is upgraded, what later versions wrote is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import semivae
from semivae.errors import RunError
from semivae.runs import upgrade
from semivae.runs.checkpoint import read_checkpoint
from semivae.runs.folder import kept_encoding, read_calibrations, read_metrics
from semivae.runs.upgrade import UPGRADES, Upgrade, format_of, present_format, upgrade_from

KEPT = Path(__file__).parent / "data" / "run_0_1_0"  # of format 1
NAMES = ("classes", "table", "masks", "ladder")
NEWER = {"format": 99, "semivae": "9.1.0"}
REFUSED = r"was written by semivae 9\.1\.0 in format 99, but this version, .*, reads formats up to \d+; upgrade it: pip"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A copy of the earlier run of a table, which tests may change."""
    return Path(shutil.copytree(KEPT / "table", tmp_path / "table"))


def resume(folder: Path, **options: Any) -> None:
    semivae.train(
        folder / "recipe.yaml", out=folder, data_root=KEPT / "data", device="cpu", **{"resume": True} | options
    )


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())


def test_a_new_run_names_its_format_and_version(tmp_path: Path) -> None:
    changes = {"training.steps": 1, "training.twin": False}
    run = semivae.train(KEPT / "table" / "recipe.yaml", set=changes, out=tmp_path / "run", data_root=KEPT / "data")
    assert json.loads((run.path / "run.json").read_text()) == {
        "format": present_format(), "semivae": semivae.__version__
    }  # fmt: skip
    checkpoint = metadata_of(run.path / "last.safetensors")
    assert checkpoint["format"] == f"semivae-checkpoint-{present_format()}"
    assert checkpoint["semivae"] == semivae.__version__


def test_a_folder_gets_the_present_format_when_training_resumes_and_not_before(table: Path) -> None:
    semivae.load(table, data_root=KEPT / "data").evaluate()
    assert not (table / "run.json").exists()
    assert format_of(table) == 1
    resume(table)
    assert format_of(table) == present_format()
    assert metadata_of(table / "last.safetensors")["format"] == f"semivae-checkpoint-{present_format()}"
    for checkpoint in ("last", "selected", "twin"):  # of one format or of two
        semivae.load(table, checkpoint)


def test_a_folder_that_cannot_be_rewritten_keeps_its_format(table: Path) -> None:
    (table / ".metrics.writing.jsonl").mkdir()  # in the way of what is written there first
    with pytest.raises(RunError, match="cannot write the run there"):
        resume(table)
    assert format_of(table) == 1


def test_what_a_newer_version_wrote_is_refused_and_left_alone(table: Path) -> None:
    (table / "run.json").write_text(json.dumps(NEWER | {"more": [1]}))
    before = {path.name: path.read_bytes() for path in table.iterdir()}
    with pytest.raises(RunError, match=REFUSED):
        semivae.load(table)
    with pytest.raises(RunError, match=REFUSED):
        resume(table)
    (table / "split.json").unlink()  # nor is it called half written, where the newer version needs no such file
    with pytest.raises(RunError, match=REFUSED):
        semivae.load(table)
    with pytest.raises(RunError, match=REFUSED):
        resume(table)
    assert {path.name: path.read_bytes() for path in table.iterdir()} == {
        name: content for name, content in before.items() if name != "split.json"
    }


def test_a_run_of_a_newer_version_can_be_replaced(table: Path) -> None:
    (table / "run.json").write_text(json.dumps(NEWER))
    recipe, changes = KEPT / "table" / "recipe.yaml", {"training.steps": 1}
    semivae.train(recipe, set=changes, out=table, data_root=KEPT / "data", device="cpu", overwrite=True)
    assert format_of(table) == present_format()


def test_a_run_whose_replacement_fails_keeps_its_format(table: Path) -> None:
    def fail(_: object) -> None:
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        semivae.train("digits_50labels", out=table, overwrite=True, device="cpu", progress=fail)
    assert format_of(table) == 1 and not (table / "run.json").exists()


def test_a_checkpoint_of_a_newer_version_is_refused(table: Path) -> None:
    path = table / "last.safetensors"
    changed = metadata_of(path) | {"format": "semivae-checkpoint-99", "semivae": "9.1.0"}
    save_file(load_file(path), path, metadata=changed)
    with pytest.raises(RunError, match=r"last\.safetensors: " + REFUSED):
        semivae.load(table)


@pytest.mark.parametrize("name", ["", "semivae-checkpoint-", "semivae-checkpoint-0", "semivae-checkpoint-x", "other-1"])
def test_a_file_that_is_no_checkpoint_is_refused(table: Path, name: str) -> None:
    path = table / "last.safetensors"
    save_file(load_file(path), path, metadata=metadata_of(path) | {"format": name})
    with pytest.raises(RunError, match=r"last\.safetensors: no checkpoint of semivae; put the right file back"):
        semivae.load(table)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "2", "semivae": "0"}', '{"format": 0, "semivae": "0"}',
                                  '{"format": true, "semivae": "0"}', '{"format": 2}', "\xff"])  # fmt: skip
def test_a_damaged_run_file_is_named(table: Path, text: str) -> None:
    (table / "run.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError, match=r"run\.json: was changed or damaged; put it back, or train again"):
        semivae.load(table)


def test_upgrades_are_applied_in_order_from_the_format_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def adding(word: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
        return lambda row: {"words": [*row["words"], word]}

    monkeypatch.setattr(upgrade, "UPGRADES", tuple(Upgrade(metrics=adding(word)) for word in ("two", "three", "four")))
    assert present_format() == 4
    assert upgrade_from(1).metrics({"words": []}) == {"words": ["two", "three", "four"]}
    assert upgrade_from(3).metrics({"words": []}) == {"words": ["four"]}
    assert upgrade_from(4).metrics({"words": []}) == {"words": []}
    assert upgrade_from(1).facts({"step": 3}) == {"step": 3}


def test_every_file_of_a_run_is_upgraded_when_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a later format weights have another prefix, steps count from 1000, and the others have a mark."""

    def renamed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {f"new.{name.removeprefix('new.')}": tensor for name, tensor in tensors.items()}

    later = Upgrade(
        tensors=renamed,
        facts=lambda facts: facts | {"step": facts["step"] % 1000 + 1000},
        metrics=lambda row: row | {"later": True},
        calibration=lambda entry: entry | {"later": True},
        encoding=lambda content: content | {"columns": content["columns"][:1]},
    )
    monkeypatch.setattr(upgrade, "UPGRADES", (*UPGRADES, later))
    tensors, facts = read_checkpoint(KEPT / "ladder" / "last.safetensors")
    assert facts.step == 1006
    assert all(name.startswith("new.") for name in tensors)
    assert all(row["later"] for row in read_metrics(KEPT / "classes"))
    assert [entry["later"] for entry in read_calibrations(KEPT / "classes")] == [True]
    encoding = kept_encoding(KEPT / "table")
    assert encoding is not None and len(encoding.columns) == 1
    copy = Path(shutil.copytree(KEPT / "classes", tmp_path / "classes"))
    (copy / "run.json").write_text(json.dumps({"format": present_format(), "semivae": "9.1.0"}))
    assert not any("later" in row for row in read_metrics(copy))
    assert read_checkpoint(copy / "last.safetensors")[1].step == 1012  # it says itself that it is older


@pytest.mark.parametrize("number", range(1, present_format()))
@pytest.mark.parametrize("name", NAMES)
def test_content_of_the_next_format_is_left_as_it_is(name: str, number: int) -> None:
    """A training that is stopped while it rewrites a folder leaves files of two formats."""
    step, folder = UPGRADES[number - 1], KEPT / name
    for row in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()):
        assert step.metrics(step.metrics(row)) == step.metrics(row)
    for path in folder.glob("*.safetensors"):
        once, facts = step.tensors(load_file(path)), step.facts(json.loads(metadata_of(path)["facts"]))
        twice = step.tensors(dict(once))
        assert list(twice) == list(once)
        assert all(torch.equal(twice[key], once[key]) for key in once)
        assert step.facts(dict(facts)) == facts
    for file, change in (("calibration.json", step.calibration), ("table.json", step.encoding)):
        content = json.loads((folder / file).read_text()) if (folder / file).exists() else []
        for entry in content if isinstance(content, list) else [content]:
            assert change(change(entry)) == change(entry)
