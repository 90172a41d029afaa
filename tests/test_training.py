"""Training: exact resume, clean stops, folders that are never overwritten, and what a run keeps."""

from __future__ import annotations

import math
import os
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import semivae
from semivae.api import Run, train
from semivae.cli import app
from semivae.data.sources import load_source
from semivae.data.streams import ArrayStream
from semivae.devices import is_out_of_memory
from semivae.errors import RunError, TrainingError
from semivae.game.graphs import PlayerName
from semivae.game.losses import Losses, Term
from semivae.recipe import read_recipe
from semivae.recipe.schema import PlayerOptimizers, TrainingSpec
from semivae.runs.checkpoint import Facts
from semivae.runs.folder import LOCK_FILE, check_folder, only_writer, read_metrics, start_folder, write_palette
from semivae.runs.replacing import REPLACED, replacing
from semivae.scenario.build import build_scenario
from semivae.tasks.splitting import make_split
from semivae.training.interruption import interruption
from semivae.training.muon import Muon
from semivae.training.optimizer import Optimizers, PlayerOptimizer
from semivae.training.progress import Progress
from semivae.training.records import Records

CPU = torch.device("cpu")
DIGITS = "digits_50labels"
SHORT: dict[str, object] = {
    "training.steps": 8,
    "training.twin": True,
    "training.validate_every": 3,
    "training.checkpoint_every": 4,
    "streams.unlabelled.views.threshold": 0.0,
    "streams.labelled.batch": 20,  # small batches and narrow networks, for time
    "streams.unlabelled.batch": 20,
    "streams.labels.batch": 20,
    "decoder.x.net.hidden": [16],
    "encoder.h.net.hidden": [16],
    "encoder.y.net.channels": [8, 8],
    "encoder.y.net.hidden": 16,
}


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path)


def assert_same_files(one: Path, other: Path) -> None:
    for name in ("last", "selected", "twin"):
        first, second = weights(one / f"{name}.safetensors"), weights(other / f"{name}.safetensors")
        assert first.keys() == second.keys()
        for key in first:
            assert torch.equal(first[key], second[key]), f"{name}: {key}"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(DIGITS, set=SHORT, out=tmp_path_factory.mktemp("runs") / "whole").path


def test_the_average_follows_the_step_that_was_just_made(tmp_path: Path) -> None:
    """Its first update copies, so after one step it is the encoder as that step left it."""
    kept = weights(train(DIGITS, set=SHORT | {"training.steps": 1}, out=tmp_path).path / "last.safetensors")
    average, live = "game.encoder_average.module.", "game.encoder."
    own = {name.removeprefix(average): value for name, value in kept.items() if name.startswith(average)}
    assert own
    for name, value in own.items():
        assert torch.equal(value, kept[live + name]), name


def test_the_twin_is_shown_beside_the_model_after_as_many_steps(uninterrupted: Path) -> None:
    records = Records(uninterrupted, "twin", Facts(), writes=False)
    records.rewind(8)
    errors = {(row["phase"], row["step"]): row["validation_error"] for row in read_metrics(uninterrupted)}
    assert [errors["model", step] for step in (3, 6, 8)] != [errors["twin", step] for step in (3, 6, 8)]
    assert [records.model_error_at(step) for step in (3, 6, 8)] == [errors["model", step] for step in (3, 6, 8)]
    assert records.model_error_at(4) is None


@pytest.mark.parametrize(("phase", "step"), [("model", 5), ("model", 6), ("twin", 4)])
def test_resumed_equals_uninterrupted_bit_for_bit(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str, step: int
) -> None:
    """The run is killed without warning at a step; what was done since the last checkpoint is done again."""
    take_step = Optimizers.step

    def killed(self: Optimizers, learners: Sequence[PlayerName], losses: Losses, at: int) -> None:
        in_phase = any(term.kind == "views" for term in losses.terms) == (phase == "model")
        if "encoder" in learners and at == step and in_phase:
            raise ConnectionAbortedError("pulled the plug")
        take_step(self, learners, losses, at)

    with monkeypatch.context() as patch:
        patch.setattr(Optimizers, "step", killed)
        with pytest.raises(ConnectionAbortedError):
            train(DIGITS, set=SHORT, out=tmp_path / "run")
    train(DIGITS, set=SHORT, out=tmp_path / "run", resume=True)
    assert_same_files(uninterrupted, tmp_path / "run")
    rows, expected = read_metrics(tmp_path / "run"), read_metrics(uninterrupted)
    assert [(row["phase"], row["step"]) for row in expected] == [(p, at) for p in ("model", "twin") for at in (3, 6, 8)]
    for row in rows + expected:
        assert row.pop("seconds") > 0.0
    assert rows == expected


def test_same_seed_same_run_and_another_seed_another(uninterrupted: Path, tmp_path: Path) -> None:
    train(DIGITS, set=SHORT, out=tmp_path / "again")
    assert_same_files(uninterrupted, tmp_path / "again")
    train(DIGITS, set={**SHORT, "training.seed": 1}, out=tmp_path / "other")
    first, other = weights(uninterrupted / "last.safetensors"), weights(tmp_path / "other" / "last.safetensors")
    head = "game.encoder.conditionals.y.net.head.weight"
    assert not torch.equal(first[head], other[head])


def test_twin_learns_from_the_labelled_pairs_alone(uninterrupted: Path, tmp_path: Path) -> None:
    """Whatever the unlabelled stream holds, the twin is the same; and it starts where the model started."""
    changed = {**SHORT, "streams.unlabelled.batch": 16, "streams.labels.batch": 16}
    other = train(DIGITS, set=changed, out=tmp_path / "other").path
    first, second = weights(uninterrupted / "twin.safetensors"), weights(other / "twin.safetensors")
    assert all(torch.equal(first[key], second[key]) for key in first if key.startswith("game.encoder."))
    model = weights(other / "last.safetensors")
    head = "game.encoder.conditionals.y.net.head.weight"
    assert not torch.equal(first[head], model[head])


def test_finished_run_resumes_to_itself(uninterrupted: Path) -> None:
    before = (uninterrupted / "last.safetensors").read_bytes()
    run = train(DIGITS, set=SHORT, out=uninterrupted, resume=True)
    assert run.finished
    assert (uninterrupted / "last.safetensors").read_bytes() == before


def test_changed_recipe_is_not_resumed(uninterrupted: Path) -> None:
    with pytest.raises(RunError, match=r"(?s)training\.steps: was 8, now 9.*Undo these changes"):
        train(DIGITS, set={**SHORT, "training.steps": 9}, out=uninterrupted, resume=True)


def test_run_goes_on_with_its_own_split(uninterrupted: Path, tmp_path: Path) -> None:
    other = train(DIGITS, set={**SHORT, "split.seed": 1}, out=tmp_path / "other").path
    with pytest.raises(RunError, match=r"the run was started with another split than .*; leave out --split"):
        train(DIGITS, set=SHORT, out=uninterrupted, split=other / "split.json", resume=True)
    train(DIGITS, set=SHORT, out=uninterrupted, split=uninterrupted / "split.json", resume=True)


def test_run_that_lost_its_checkpoint_does_not_silently_start_afresh(uninterrupted: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(uninterrupted, tmp_path / "copy"))
    (copy / "last.safetensors").unlink()
    with pytest.raises(RunError, match=r"last\.safetensors: no such checkpoint"):
        train(DIGITS, set=SHORT, out=copy, resume=True)


def test_damaged_files_of_a_run_are_named_on_resume(uninterrupted: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(uninterrupted, tmp_path / "copy"))
    with (copy / "metrics.jsonl").open("a") as file:
        file.write('{"phase": "twin", "st')  # the power went
    train(DIGITS, set=SHORT, out=copy, resume=True)
    assert len(read_metrics(copy)) == 6
    wide = train(DIGITS, set={**SHORT, "decoder.x.net.hidden": [8]}, out=tmp_path / "wide", twin=False).path
    shutil.copy(wide / "last.safetensors", copy / "last.safetensors")
    with pytest.raises(RunError, match=r"last\.safetensors holds another model than the recipe"):
        train(DIGITS, set=SHORT, out=copy, resume=True)
    (copy / "recipe.yaml").write_text("about: nothing")
    with pytest.raises(RunError, match=r"its recipe\.yaml was changed or damaged"):
        train(DIGITS, set=SHORT, out=copy, resume=True)


def test_nothing_is_selected_without_validation(tmp_path: Path) -> None:
    run = train(DIGITS, set={**SHORT, "split.validation": 0}, out=tmp_path / "run")
    assert not (run.path / "selected.safetensors").exists()
    assert run.evaluate()["selected"] is None


def test_twin_can_be_added_to_a_run(uninterrupted: Path, tmp_path: Path) -> None:
    alone = train(DIGITS, set=SHORT, out=tmp_path / "run", twin=False).path
    assert not (alone / "twin.safetensors").exists()
    train(DIGITS, set=SHORT, out=alone, twin=True, resume=True)
    assert_same_files(uninterrupted, alone)


def test_run_is_not_overwritten_unless_asked(uninterrupted: Path, tmp_path: Path) -> None:
    before = (uninterrupted / "last.safetensors").read_bytes()
    with pytest.raises(RunError, match="a run is there already; go on with it by --resume"):
        train(DIGITS, set=SHORT, out=uninterrupted)
    assert (uninterrupted / "last.safetensors").read_bytes() == before
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="exists and is not a run"):
        train(DIGITS, set=SHORT, out=tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").exists()


def test_overwriting_takes_the_run_and_leaves_what_else_is_in_its_folder(uninterrupted: Path, tmp_path: Path) -> None:
    folder, link = tmp_path / "run", tmp_path / "link"
    shutil.copytree(uninterrupted, folder)
    shutil.copytree(uninterrupted, folder / "seed0")  # as `--seeds` leaves it
    (folder / "notes.txt").write_text("mine")
    (folder / "calibration.json").write_text("[]")
    link.symlink_to(folder)
    train(DIGITS, set=SHORT | {"training.steps": 2, "training.twin": False}, out=link, overwrite=True)
    assert_same_files(uninterrupted, folder / "seed0")
    assert (folder / "notes.txt").read_text() == "mine"
    assert not (folder / "calibration.json").exists() and not (folder / "twin.safetensors").exists()
    assert {row["step"] for row in read_metrics(folder)} == {2}


def test_two_trainings_never_write_to_one_folder(uninterrupted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LOCK_FILE}
    with only_writer(folder):
        for resume in (True, False):
            with pytest.raises(RunError, match="another training writes there; wait for it, or choose another folder"):
                train(DIGITS, set=SHORT, out=folder, resume=resume, overwrite=not resume)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LOCK_FILE} == before
    train(DIGITS, set=SHORT, out=folder, resume=True)  # freed again


def test_a_folder_with_a_lock_alone_is_empty(tmp_path: Path) -> None:
    with only_writer(tmp_path / "run"):
        pass
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK_FILE]
    check_folder(tmp_path / "run", overwrite=False, resume=False)  # raises where a folder is not empty


def test_what_a_recipe_says_about_itself_may_change(uninterrupted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder)
    train(DIGITS, set=SHORT | {"about": "My digits."}, out=folder, resume=True)
    assert read_recipe(folder / "recipe.yaml").about == "My digits."


def test_no_memory_left_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = ArrayStream.batch

    def larger(self: ArrayStream, step: int) -> dict[str, torch.Tensor]:
        """Asks for more than any machine can address, as a batch that is too large does."""
        return batch(self, step) if self.name != "unlabelled" else {"x": torch.empty(2**57, dtype=torch.uint8)}

    monkeypatch.setattr(ArrayStream, "batch", larger)
    changes = (f"--set={key}={value}" for key, value in SHORT.items() if key != "streams.unlabelled.batch")
    words = ["train", DIGITS, "--device", "cpu", "--out", str(tmp_path / "run"), *changes]
    result = CliRunner().invoke(app, words)
    told = " ".join(result.stderr.split())
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit) and "Traceback" not in told
    assert "no memory is left on cpu; make the batches smaller, the largest is streams.unlabelled.batch" in told


@pytest.mark.parametrize(
    ("message", "is_memory"),
    [
        ("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory", True),
        ("could not create a primitive", True),
        ("could not create a primitive descriptor for the matmul primitive", False),  # what oneDNN cannot compute
        ("unable to mmap 4096 bytes from file <last.safetensors>: Cannot allocate memory (12)", True),
        ("unable to mmap 4096 bytes from file <last.safetensors>: Permission denied (13)", False),
        ("std::bad_alloc", True),
        ("mat1 and mat2 shapes cannot be multiplied (4x3 and 4x3)", False),
    ],
)
def test_torch_says_in_words_only_that_memory_is_lacking(message: str, is_memory: bool) -> None:
    assert is_out_of_memory(RuntimeError(message)) == is_memory


def test_a_start_that_was_killed_at_any_file_can_be_made_again(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until all files of a run are there, training may start anew in what a kill has left, unless more lies there."""
    split, replace = Run.load(uninterrupted).split(), os.replace

    def begin(folder: Path) -> None:
        start_folder(folder, read_recipe(DIGITS), split, lambda: write_palette(folder, "a\nb\n"))

    for moves in range(4):
        folder = tmp_path / f"killed{moves}"

        def counted(source: Path, target: Path, last: Path = folder, moves: int = moves) -> None:
            if len([path for path in last.iterdir() if not path.name.startswith(".")]) == moves:
                shutil.copy(source, tmp_path / "left")
                raise KeyboardInterrupt(source.name)
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", counted)
            with pytest.raises(KeyboardInterrupt) as killed:
                begin(folder)
        shutil.copy(tmp_path / "left", folder / str(killed.value))  # as SIGKILL leaves it
        check_folder(folder, overwrite=False, resume=False)
        begin(folder)
        assert {path.name for path in folder.iterdir()} == {
            "run.json",
            "recipe.yaml",
            "source_palette.txt",
            "split.json",
        }
        (folder / "split.json").unlink()
        (folder / "mine.txt").write_text("not of a run")
        with pytest.raises(RunError, match="exists and is not a run"):
            check_folder(folder, overwrite=False, resume=False)


def test_a_run_is_replaced_only_by_one_that_has_made_a_step(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder)
    (folder / "calibration.json").write_text("[]")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LOCK_FILE}
    batch = ArrayStream.batch

    def broken(self: ArrayStream, step: int) -> dict[str, torch.Tensor]:
        if step == breaks_at:
            raise ConnectionAbortedError
        return batch(self, step)

    def seen(state: Progress) -> None:
        assert (folder / REPLACED).is_dir() == (state.step == 0)

    monkeypatch.setattr(ArrayStream, "batch", broken)
    breaks_at = 0
    with pytest.raises(ConnectionAbortedError):
        train(DIGITS, set=SHORT, out=folder, overwrite=True, progress=seen)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LOCK_FILE} == before
    breaks_at = 5
    with pytest.raises(ConnectionAbortedError):
        train(DIGITS, set=SHORT, out=folder, overwrite=True, progress=seen)
    assert not (folder / "calibration.json").exists() and read_metrics(folder)[-1]["step"] == 3


def test_what_a_killed_training_set_aside_stays_there(uninterrupted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder)
    with pytest.raises(ConnectionAbortedError), replacing(folder):
        start_folder(folder, read_recipe(DIGITS), Run.load(uninterrupted).split())
        shutil.copytree(folder, tmp_path / "killed")
        raise ConnectionAbortedError
    assert_same_files(uninterrupted, folder)
    assert not (tmp_path / "killed" / "last.safetensors").exists()
    with pytest.raises(ConnectionAbortedError), replacing(tmp_path / "killed"):
        raise ConnectionAbortedError
    assert_same_files(uninterrupted, tmp_path / "killed")


def test_a_run_is_not_resumed_beside_other_unlabelled_data(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).random((40, 1, 8, 8)), np.arange(40) % 10
    changes = SHORT | {"source": {"name": "arrays", "path": "d.npz"}, "split": {"labelled": 20, "validation": 0}}
    play = partial(train, DIGITS, set=changes, out=tmp_path / "run", data_root=tmp_path, twin=False)
    np.savez(tmp_path / "d.npz", x=x, y=y, x_test=x / 2, y_test=y, x_unlabelled=x[:9])
    play()
    play(resume=True)
    np.savez(tmp_path / "d.npz", x=x, y=y, x_test=x / 2, y_test=y, x_unlabelled=x[:8])
    with pytest.raises(RunError, match="the data without labels have changed since the run was started"):
        play(resume=True)


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run to go on with"):
        train(DIGITS, set=SHORT, out=tmp_path / "absent", resume=True)
    assert not (tmp_path / "absent").exists()


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = ArrayStream.batch

    def poisoned(self: ArrayStream, step: int) -> dict[str, torch.Tensor]:
        sample = batch(self, step)
        return {**sample, "x": sample["x"] * float("nan")} if self.name == "labelled" and step == 5 else sample

    monkeypatch.setattr(ArrayStream, "batch", poisoned)
    with pytest.raises(TrainingError, match=r"step 5: the network of h given x, y returns values that are not"):
        train(DIGITS, set=SHORT, out=tmp_path / "run")
    run = semivae.load(str(tmp_path / "run"))
    assert run.facts.step == 4
    assert all(torch.isfinite(value).all() for value in run.encoder.state_dict().values())


def optimizers_of(parameters: list[torch.nn.Parameter], spec: TrainingSpec) -> Optimizers:
    return Optimizers({"encoder": PlayerOptimizer(parameters, spec, "encoder")})


def test_a_loss_that_is_not_finite_names_player_and_term() -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    optimizers = optimizers_of([weight], TrainingSpec(steps=10))
    loss = (weight * float("inf")).sum()
    terms = {Term("encoder", "labels", "h"): loss.detach(), Term("encoder", "labelled", "y"): torch.tensor(0.5)}
    with pytest.raises(
        TrainingError, match=r"step 7: the loss of the encoder is not finite \(encoder\.labels\.h = inf\); try"
    ):
        optimizers.step(("encoder",), Losses(loss, terms), 7)
    with pytest.raises(TrainingError, match="step 7: the gradient of the encoder is not finite"):
        optimizers.step(("encoder",), Losses((weight - 1.0).sqrt().sum()), 7)  # 0, with an infinite slope
    assert weight.item() == 1.0


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])  # Ctrl-C, a termination, a terminal that is closed
def test_a_signal_leaves_a_resumable_run_at_the_step_where_it_came(
    uninterrupted: Path, tmp_path: Path, name: str
) -> None:
    number = getattr(signal, name, None)
    if number is None:
        pytest.skip(f"this system has no {name}")

    def missed(*_: object) -> None:
        raise AssertionError(f"{name} was not taken")

    def sent(state: Progress) -> None:
        if (state.phase, state.step) == ("model", 3):
            signal.raise_signal(number)

    before = signal.signal(number, missed)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(DIGITS, set=SHORT, out=tmp_path / "run", progress=sent)
        assert signal.getsignal(number) is missed, "given back"
    finally:
        signal.signal(number, before)
    assert semivae.load(str(tmp_path / "run")).facts.step == 3  # between the checkpoints of every fourth step
    train(DIGITS, set=SHORT, out=tmp_path / "run", resume=True)
    assert_same_files(uninterrupted, tmp_path / "run")


def test_a_second_signal_stops_at_once() -> None:
    with interruption() as stopped:
        signal.raise_signal(signal.SIGINT)
        assert stopped.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_progress_tells_losses_bits_error_and_time(tmp_path: Path) -> None:
    told: list[Progress] = []
    train(DIGITS, set=SHORT, out=tmp_path / "run", progress=told.append)
    last = [state for state in told if state.phase == "model"][-1]
    assert set(last.losses) == {"decoder.x", "encoder.y", "encoder.h", "views.y"}
    assert 0.0 <= last.bits["h"] + 1.0 <= 17.0
    assert last.validation_error is not None and 0.0 <= last.validation_error <= 1.0
    assert last.confident == 1.0  # at threshold 0
    assert (last.step, last.steps, last.seconds_left) == (8, 8, 0.0)
    assert [state.phase for state in told][-1] == "twin"


def test_labels_of_images_left_out_are_never_read(tmp_path: Path) -> None:
    """With those labels replaced by nonsense, every stream shows the same batches."""
    recipe = read_recipe(DIGITS)
    dataset = load_source(recipe.source, tmp_path)
    parts = make_split(dataset, recipe.split)
    nonsense = dataset.train["y"].clone()
    nonsense[parts.unlabelled] = 9 - nonsense[parts.unlabelled]
    changed = replace(dataset, train={**dataset.train, "y": nonsense})
    for step in (0, 7):
        one, other = (
            {name: stream.batch(step) for name, stream in build_scenario(recipe, data, parts, CPU).streams.items()}
            for data in (dataset, changed)
        )
        assert set(one["unlabelled"]) == {"x"}
        for name in one:
            assert all(torch.equal(one[name][key], other[name][key]) for key in one[name])


def test_time_is_kept_across_a_resume(uninterrupted: Path) -> None:
    before = semivae.load(str(uninterrupted)).facts.seconds
    time.sleep(0.05)
    after = train(DIGITS, set=SHORT, out=uninterrupted, resume=True).facts.seconds
    assert after == before > 0


def conv_player(optimizer: str) -> tuple[torch.nn.Conv2d, Optimizers]:
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(3, 8, 3)
    spec = TrainingSpec(steps=10, learning_rate=0.1, optimizer=optimizer, schedule="constant")
    return layer, optimizers_of(list(layer.parameters()), spec)


def move(layer: torch.nn.Conv2d, optimizers: Optimizers, step: int) -> None:
    images = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(step))
    loss = layer(images).square().mean() + layer.bias.sum()  # type: ignore[union-attr]
    optimizers.step(("encoder",), Losses(loss), step)


@pytest.mark.parametrize("name", ["adam", "adamw", "muon"])
def test_an_optimizer_goes_on_from_what_it_kept(name: str) -> None:
    whole, optimizer = conv_player(name)
    for step in range(2):
        move(whole, optimizer, step)
    kept = {key: tensor.clone() for key, tensor in optimizer.tensors().items()}
    resumed, other = conv_player(name)
    resumed.load_state_dict({key: tensor.clone() for key, tensor in whole.state_dict().items()})
    other.load(kept)
    for step in range(2, 4):
        move(whole, optimizer, step)
        move(resumed, other, step)
    assert kept and all(torch.equal(whole.state_dict()[key], value) for key, value in resumed.state_dict().items())


def test_muon_moves_a_convolution_by_an_orthogonal_matrix_and_its_bias_as_adam_does() -> None:
    layer, optimizer = conv_player("muon")
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()  # type: ignore[union-attr]
    move(layer, optimizer, 0)
    moved = (layer.weight.detach() - weight).flatten(1)
    lengths = torch.linalg.svdvals(moved) / (0.1 * 0.2 * math.sqrt(27))  # of a step of AdamW's size, [8, 27] a matrix
    assert lengths.min() > 0.5 and lengths.max() < 1.5  # what five Newton-Schulz steps promise
    assert torch.allclose(layer.bias.detach(), bias - 0.1, atol=1e-4)  # type: ignore[union-attr]


def test_muon_leaves_weights_alone_that_nothing_taught() -> None:
    layer, optimizer = conv_player("muon")
    weight = layer.weight.detach().clone()
    optimizer.step(("encoder",), Losses(layer.bias.sum()), 0)  # type: ignore[union-attr]
    assert torch.equal(layer.weight, weight)


def test_players_may_have_algorithms_of_their_own() -> None:
    spec = TrainingSpec(steps=10, optimizer=PlayerOptimizers(encoder="muon", decoder="adam"))
    weights = [torch.nn.Parameter(torch.ones(2, 3))]
    kinds = {player: type(PlayerOptimizer(weights, spec, player).optimizers[-1]) for player in ("encoder", "decoder")}
    assert kinds == {"encoder": Muon, "decoder": torch.optim.Adam}
