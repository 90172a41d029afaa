"""What a run's folder holds is not believed unseen: bits that flip, numbers that are none, values of wrong types."""

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
from semivae.api import Run
from semivae.errors import DataError, RunError, TrainingError
from semivae.runs.checkpoint import Facts, read_checkpoint, write_checkpoint
from semivae.runs.folder import kept_data_root, read_metrics
from semivae.training.progress import Progress
from tests import narrow

DAMAGED = "the checkpoint is damaged"
TENSORS = {"game.w": torch.arange(6.0).reshape(2, 3), "game.n": torch.tensor(3), "sums.none": torch.empty(0)}


@pytest.fixture
def folder(tiny_run: Run, tmp_path: Path) -> Path:
    """A copy of a run, which tests may change."""
    return Path(shutil.copytree(tiny_run.path, tmp_path / "run"))


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())


# Checkpoints ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [1, 9, 23, 30])
def test_one_flipped_bit_of_a_tensor_is_noticed(tmp_path: Path, place: int) -> None:
    path = tmp_path / "last.safetensors"
    write_checkpoint(path, TENSORS, Facts(step=3))
    content = bytearray(path.read_bytes())
    content[-place] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match="content does not have the checksum that it was written with"):
        read_checkpoint(path)


def test_a_changed_digit_of_the_facts_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    write_checkpoint(path, TENSORS, Facts(step=3))
    path.write_bytes(path.read_bytes().replace(rb"\"step\":3", rb"\"step\":7"))
    with pytest.raises(RunError, match=DAMAGED):
        read_checkpoint(path)


def test_a_checkpoint_without_a_checksum_opens_as_before(folder: Path, tiny_run: Run) -> None:
    path = folder / "last.safetensors"
    metadata = {key: value for key, value in metadata_of(path).items() if key != "sha256"}
    save_file(load_file(path), path, metadata=metadata)
    weights = semivae.load(folder).encoder.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in tiny_run.encoder.state_dict().items())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(folder: Path, value: float) -> None:
    path = folder / "last.safetensors"
    tensors, metadata = load_file(path), metadata_of(path)
    name = "game.encoder_average.module.conditionals.y.net.head.bias"
    tensors[name][0] = value
    save_file(tensors, path, metadata={key: each for key, each in metadata.items() if key != "sha256"})
    with pytest.raises(RunError, match=rf"{name} holds NaN or infinity"):
        semivae.load(folder)


def test_weights_that_are_no_numbers_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    write_checkpoint(path, TENSORS, Facts(step=3))
    with pytest.raises(TrainingError, match=r"step 4: training has diverged: game\.w is not finite"):
        write_checkpoint(path, {"game.w": torch.tensor([1.0, float("nan")])}, Facts(step=4))
    assert read_checkpoint(path)[1].step == 3


@pytest.mark.parametrize(
    "change",
    [
        {"step": "3"}, {"step": True}, {"step": 1.5}, {"step": -1}, {"step": 10**400}, {"step": None}, {"steps": [1]},
        {"seconds": "long"}, {"seconds": float("nan")}, {"seconds": float("inf")}, {"seconds": -1.0},
        {"best_error": "low"}, {"best_error": float("nan")}, {"classes": "0123456789"}, {"classes": {"0": 1}},
        {"classes": list(range(10))}, {"classes": ["0"]}, {"classes": []}, {"labelled_counts": [5]},
        {"classes": ["0"], "labelled_counts": []},
        {"labelled_counts": ["5"] * 10}, {"labelled_counts": {}}, {"counts": []}, {"counts": {"a": "b"}},
        {"counts": {"a": -1}}, {"beside": 3}, {"phase": 3}, {"threads": "1"}, {"threads": -1},
    ],
)  # fmt: skip
def test_facts_of_wrong_types_are_refused(folder: Path, change: dict[str, Any]) -> None:
    path = folder / "last.safetensors"
    metadata = metadata_of(path)
    del metadata["sha256"]
    metadata["facts"] = json.dumps(json.loads(metadata["facts"]) | change)
    save_file(load_file(path), path, metadata=metadata)
    with pytest.raises(RunError, match=r"last\.safetensors.*--overwrite"):
        semivae.load(folder)


@pytest.mark.parametrize(
    "change",
    [{"facts": "[" * 100_000}, {"facts": "3"}, {"repeated": "[" * 100_000}, {"repeated": '{"a": [1]}'},
     {"repeated": '{"a": "b"}'}, {"repeated": "3"}, {"facts": '{"step": 1' + "0" * 5000 + "}"}],
)  # fmt: skip
def test_metadata_of_wrong_types_are_refused(folder: Path, change: dict[str, str]) -> None:
    path = folder / "last.safetensors"
    metadata = metadata_of(path) | change
    del metadata["sha256"]
    save_file(load_file(path), path, metadata=metadata)
    with pytest.raises(RunError, match=DAMAGED):
        semivae.load(folder)


# Other files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [float("nan"), 0.0, -1.0, float("inf"), "warm", None])
def test_a_calibration_that_cannot_be_is_chosen_anew(folder: Path, tiny_run: Run, temperature: object) -> None:
    run = semivae.load(folder, device="cpu").with_data(tiny_run.dataset())
    right = run.classifier(calibrate=True).calibration
    (entry,) = json.loads((folder / "calibration.json").read_text())
    (folder / "calibration.json").write_text(json.dumps([entry | {"temperature": temperature}]))
    assert run.classifier(calibrate=True).calibration == right
    assert json.loads((folder / "calibration.json").read_text()) == [entry]


def test_a_calibration_nested_without_end_is_chosen_anew(folder: Path, tiny_run: Run) -> None:
    (folder / "calibration.json").write_text("[" * 100_000)
    run = semivae.load(folder, device="cpu").with_data(tiny_run.dataset())
    assert run.classifier(calibrate=True).calibration.count


@pytest.mark.parametrize(
    "line",
    ["3", "[]", "null", "{}", '{"phase": "model"}', '{"phase": "x", "step": 10}', '{"phase": "model", "step": "1"}',
     '{"phase": "model", "step": 1, "losses": [1]}', '{"phase": "model", "step": 1, "losses": {"a.b.c": "x"}}',
     '{"phase": "model", "step": 1, "warnings": [3]}', '{"phase": "model", "step": 1, "warnings": 3}',
     '{"phase": "model", "step": 1, "bits": 3}', '{"phase": "model", "step": 1, "validation_error": "low"}',
     '{"phase": "model", "step": 1, "class_shares": {}}'],
)  # fmt: skip
def test_rows_of_wrong_types_are_named(folder: Path, line: str) -> None:
    path = folder / "metrics.jsonl"
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([first, line, *rest]) + "\n")
    for ask in (lambda: semivae.load(folder).diagnose(samples=20), lambda: read_metrics(folder)):
        with pytest.raises(RunError, match=r"metrics\.jsonl:2: this line was changed or damaged"):
            ask()


@pytest.mark.parametrize("text", ["[" * 100_000, "{" * 100_000, '{"format": ' + "9" * 5000 + "}", '{"format": [1]}'])
def test_a_split_that_cannot_be_read_is_refused(folder: Path, text: str) -> None:
    (folder / "split.json").write_text(text)
    with pytest.raises(DataError, match=r"split\.json is no split manifest"):
        semivae.load(folder).split()


@pytest.mark.parametrize("text", ["x" * 100_000, "/" + "x" * 300 + "/data", "a\0b", "\ud800"])
def test_a_data_root_that_cannot_be_is_looked_for_as_always(folder: Path, text: str) -> None:
    (folder / "data_root.txt").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert kept_data_root(folder) is None
    assert semivae.load(folder).evaluate()["count"]


def test_a_data_root_that_has_moved_is_still_named(folder: Path, tmp_path: Path) -> None:
    (folder / "data_root.txt").write_text(f"{tmp_path / 'gone'}\n")
    assert kept_data_root(folder) == tmp_path / "gone"


# Training ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [1e3, 1e6])
def test_a_diverged_training_ends_with_an_error(tmp_path: Path, rate: float) -> None:
    """Nothing is measured of such a model: its bits would be absurd, and advice on its labels beside the point."""
    changes = {"training.learning_rate": rate, "training.steps": 20, "training.validate_every": 10}
    reported = list[Progress]()
    with pytest.raises(TrainingError, match=r"step 10: training has diverged: .* training\.learning_rate is 1000"):
        semivae.train(
            "digits_50labels", set=changes, out=tmp_path / "run", device="cpu", twin=False, progress=reported.append
        )
    assert not any(state.bits or state.warnings for state in reported)
    assert read_metrics(tmp_path / "run") == []


def test_a_run_resumed_with_another_number_of_threads_says_so(tmp_path: Path) -> None:
    out, notes = tmp_path / "run", list[str]()
    changes = narrow.DIGITS | {"training.steps": 4, "training.validate_every": 2, "training.checkpoint_every": 2}

    def stop(state: Progress) -> None:
        if state.step == 4:
            raise ConnectionAbortedError

    train: Callable[..., Run] = semivae.train
    with pytest.raises(ConnectionAbortedError):
        train("digits_50labels", set=changes, out=out, device="cpu", twin=False, progress=stop)
    kept = semivae.load(out).facts
    assert (kept.step, kept.threads) == (2, torch.get_num_threads())
    tensors, facts = read_checkpoint(out / "last.safetensors")
    write_checkpoint(out / "last.safetensors", tensors, facts.model_copy(update={"threads": 7}))
    hear = {"progress": lambda state: notes.append(state.message) if state.message else None}
    train("digits_50labels", set=changes, out=out, device="cpu", twin=False, resume=True, **hear)
    (note,) = notes
    assert f"computed with 7 threads and goes on with {torch.get_num_threads()}" in note and "OMP_NUM_THREADS=7" in note
    notes.clear()
    train("digits_50labels", set=changes, out=out, device="cpu", twin=False, resume=True, **hear)
    assert not notes  # nothing is left to compute
