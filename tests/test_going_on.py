"""More steps for a finished run, and a start from the weights of another one: exact, recorded, and refused in time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from typer.testing import CliRunner

import semivae
from semivae.api import Run
from semivae.cli import app
from semivae.cli.train_command import resuming
from semivae.errors import RunError
from semivae.recipe.schema import TrainingSpec
from semivae.runs.checkpoint import read_checkpoint
from semivae.runs.folder import read_metrics
from semivae.runs.history import MoreSteps, history_of
from semivae.training.length import Length
from semivae.training.progress import Progress
from tests import narrow

TINY: dict[str, object] = narrow.DIGITS | {
    "training.steps": 6,
    "training.validate_every": 2,
    "training.checkpoint_every": 1,
    "training.twin": True,
    "streams.unlabelled.views.threshold": 0.0,
}


def quiet(_: Progress) -> None:
    pass


def stop_at(step: int, phase: str = "model") -> Any:
    def report(progress: Progress) -> None:
        if (progress.phase, progress.step) == (phase, step) and not progress.about_data and not progress.message:
            raise KeyboardInterrupt

    return report


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": value
        for name in ("last", "selected", "twin")
        for key, value in read_checkpoint(folder / f"{name}.safetensors")[0].items()
    }


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in read_metrics(folder)]


def assert_equal(one: Path, other: Path) -> None:
    found, expected = tensors_of(one), tensors_of(other)
    assert found.keys() == expected.keys()
    assert [key for key, value in found.items() if not torch.equal(value, expected[key])] == []
    assert rows_of(one) == rows_of(other)


# More steps -----------------------------------------------------------------------------------------------------------


def test_added_steps_begin_at_a_share_of_the_rate_and_keep_what_is_switched_on() -> None:
    length = Length(TrainingSpec(steps=100, warmup=4), [MoreSteps(from_step=100, steps=40, learning_rate=0.5)])
    assert length.total == 140
    assert [length.progress(step) for step in (0, 50, 99, 100, 139)] == [0.0, 0.5, 0.99, 1.0, 1.0]
    assert length.rate_at(0, 1.0) == pytest.approx(0.2)  # the first of five steps of warm-up
    assert length.rate_at(50, 1.0) == pytest.approx(0.5)
    assert length.rate_at(100, 1.0) == pytest.approx(0.1)  # the first of five: a tenth of 40, and one
    assert length.rate_at(120, 1.0) == pytest.approx(0.25)  # half of a half cosine from 0.5
    assert length.rate_at(139, 1.0) == pytest.approx(0.5 * 0.5 * (1 + np.cos(np.pi * 39 / 40)))
    twice = Length(length.spec, [*length.continued, MoreSteps(from_step=140, steps=20, learning_rate=0.8)])
    assert twice.total == 160 and twice.rate_at(120, 1.0) == length.rate_at(120, 1.0)
    assert twice.rate_at(150, 1.0) == pytest.approx(0.4)  # half of a half cosine from 0.8, over 20 steps
    constant = Length(TrainingSpec(steps=100, schedule="constant"), length.continued)
    assert constant.rate_at(99, 1.0) == 1.0 and constant.rate_at(139, 1.0) == 0.5


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    semivae.train("digits_50labels", set=TINY, out=folder, device="cpu", progress=quiet)
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture(scope="module")
def lengthened(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(finished, tmp_path_factory.mktemp("lengthened") / "run"))
    semivae.train("digits_50labels", set=TINY, out=folder, device="cpu", progress=quiet, more_steps=4)
    return folder


@pytest.mark.parametrize(("phase", "step"), [("model", 6), ("model", 8), ("twin", 6), ("twin", 8)])
def test_a_stop_among_added_steps_changes_nothing(copied: Path, lengthened: Path, phase: str, step: int) -> None:
    arguments: dict[str, Any] = {"set": TINY, "out": copied, "device": "cpu"}
    with pytest.raises(KeyboardInterrupt):
        semivae.train("digits_50labels", **arguments, progress=stop_at(step, phase), more_steps=4)
    if phase == "model":
        assert not semivae.load(copied, device="cpu").finished
    run = semivae.train("digits_50labels", **arguments, progress=quiet, resume=True)
    assert run.finished and run.facts.steps == 10
    assert_equal(copied, lengthened)


def test_added_steps_are_recorded_and_said(lengthened: Path, finished: Path) -> None:
    assert history_of(lengthened).continued == (MoreSteps(from_step=6, steps=4, learning_rate=0.3),)
    assert not torch.equal(
        tensors_of(lengthened)["last.game.encoder_average.n_averaged"],
        tensors_of(finished)["last.game.encoder_average.n_averaged"],
    )
    run = semivae.load(lengthened, device="cpu")
    line = "4 steps added at step 6, from 30% of the learning rate"
    assert run.evaluate()["history"] == [line] and line in run.card()
    shown = CliRunner().invoke(app, ["evaluate", str(lengthened)])
    assert line in " ".join(shown.stdout.split())
    assert [row["step"] for row in read_metrics(lengthened)] == [2, 4, 6, 2, 4, 6, 8, 10, 8, 10]
    assert "history" not in semivae.load(finished, device="cpu").evaluate()
    run.diagnose(samples=20)


def test_steps_can_be_added_twice_and_resume_has_nothing_to_do_then(copied: Path) -> None:
    arguments: dict[str, Any] = {"set": TINY, "out": copied, "device": "cpu", "progress": quiet}
    for steps in (2, 3):
        semivae.train("digits_50labels", **arguments, more_steps=steps, learning_rate=1.0)
    assert [more.from_step for more in history_of(copied).continued] == [6, 8]
    before = tensors_of(copied)
    run = semivae.train("digits_50labels", **arguments, resume=True)
    assert run.facts.step == run.facts.steps == 11
    assert all(torch.equal(value, before[key]) for key, value in tensors_of(copied).items())
    content = json.loads((copied / "run.json").read_text())
    assert content["format"] and len(content["continued"]) == 2


def test_steps_are_not_added_where_they_make_no_sense(copied: Path, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"set": TINY, "device": "cpu", "progress": quiet}
    for options, message in (
        ({"more_steps": 4, "resume": True}, "leave out resume, overwrite"),
        ({"more_steps": 4, "overwrite": True}, "leave out resume, overwrite"),
        ({"more_steps": 4, "start_from": copied}, "leave out resume, overwrite"),
        ({"more_steps": 0}, "give 1 or more"),
        ({"more_steps": 4, "learning_rate": 0.0}, "share of the learning rate is 0"),
        ({"more_steps": 4, "learning_rate": 1.5}, "share of the learning rate is 1.5"),
        ({"more_steps": 4, "out": tmp_path / "none"}, "no run to go on with"),
    ):
        with pytest.raises(RunError, match=message):
            semivae.train("digits_50labels", **arguments | {"out": copied} | options)
    with pytest.raises(KeyboardInterrupt):
        semivae.train("digits_50labels", set=TINY, out=tmp_path / "half", device="cpu", progress=stop_at(4))
    with pytest.raises(RunError, match=r"is at step . of 6, and more steps are added to a finished run"):
        semivae.train("digits_50labels", **arguments, out=tmp_path / "half", more_steps=4)
    assert history_of(copied).continued == () and history_of(tmp_path / "half").continued == ()


def test_the_hint_after_a_stop_does_not_add_the_steps_again() -> None:
    words = ["train", "a.yaml", "--more-steps", "50", "--at-rate=0.5", "--out", "run"]
    assert resuming([*words, "--overwrite"]) == "semivae train a.yaml --out run --resume"


# Another run's weights ------------------------------------------------------------------------------------------------


def named(digits: Sequence[str]) -> dict[str, Any]:
    """Digits by names that end in them."""
    found = load_digits()
    rows = np.isin(found.target, [int(name[-1]) for name in digits])
    called = {int(name[-1]): name for name in digits}
    return {
        "x": found.images[rows].astype(np.float32) / 16,
        "y": np.array([called[digit] for digit in found.target[rows]], dtype=str),
    }


SOME: dict[str, object] = TINY | {"variables.y.classes": None, "split": {"labelled": 30, "validation": 30}}
FIRST, SECOND = ["a1", "b2", "c3"], ["A7", "a1", "b9", "c3"]  # b2 has gone, A7 and b9 are new; a1 and c3 moved


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("earlier") / "run"
    return semivae.train("digits_50labels", set=SOME, dataset=named(FIRST), out=folder, device="cpu", progress=quiet)


def begun(folder: Path, earlier: Run, classes: Sequence[str], **options: Any) -> Run:
    """A run that started from an earlier one, before its first step."""
    arguments: dict[str, Any] = {"set": SOME, "dataset": named(classes), "out": folder, "device": "cpu"}
    with pytest.raises(KeyboardInterrupt):
        semivae.train("digits_50labels", **arguments | options, progress=stop_at(0), start_from=earlier.path)
    return semivae.load(folder, device="cpu", dataset=options.get("dataset", named(classes)))


def test_the_same_classes_begin_as_the_earlier_run_ended(tmp_path: Path, earlier: Run) -> None:
    run = begun(tmp_path / "run", earlier, FIRST)
    assert run.facts.step == 0
    for own, theirs in ((run.encoder, earlier.encoder), (run.decoder, earlier.decoder)):
        state = theirs.state_dict()
        assert [key for key, value in own.state_dict().items() if not torch.equal(value, state[key])] == []


def test_known_classes_keep_what_is_theirs_whatever_their_numbers(tmp_path: Path, earlier: Run) -> None:
    run = begun(tmp_path / "run", earlier, SECOND)
    assert run.classes == ("A7", "a1", "b9", "c3") and earlier.classes == ("a1", "b2", "c3")
    images = torch.rand(20, 1, 8, 8)
    own, theirs = (each.encoder["y"].parameters_of({"x": images}) for each in (run, earlier))
    assert torch.allclose(own[:, [1, 3]], theirs[:, [0, 2]], atol=1e-6)
    codes = torch.randint(0, 2, (20, 16)).float()
    for name in ("a1", "c3"):
        number, before = run.classes.index(name), earlier.classes.index(name)
        own, theirs = (
            each.decoder["x"].parameters_of({"y": torch.full((20,), which), "h": codes})
            for each, which in ((run, number), (earlier, before))
        )
        assert torch.allclose(own, theirs, atol=1e-5)
    new, former = (
        each.decoder["x"].parameters_of({"y": torch.zeros(20).long(), "h": codes}) for each in (run, earlier)
    )
    assert not torch.allclose(new, former, atol=1e-3)  # A7 is new, and is not taken for the former class 0
    assert run.history.started_from is not None and run.history.started_from.step == 6
    assert run.history.lines() == [f"started from {earlier.path} at step 6; new classes: A7, b9; classes gone: b2"]


def test_a_learnt_prior_and_a_label_among_other_vectors_go_along(tmp_path: Path) -> None:
    """p(y) is learnt, and y comes between two codes."""
    net = {"name": "mlp", "hidden": [8]}
    changes = SOME | {
        "variables.k": {"family": "bernoulli", "shape": [3]},
        "decoder": {"y": "learned", "h": "uniform", "k": "uniform", "x": {"given": ["k", "y", "h"], "net": net}},
        "encoder.k": {"given": ["x", "y"], "net": net},
        "streams.labels.loss_weights": {"y": {"encoder": 0}},
        "streams.labels.values": "hidden",
        "training.twin": False,
    }
    arguments: dict[str, Any] = {"device": "cpu", "set": changes}
    one = semivae.train("digits_50labels", **arguments, dataset=named(FIRST), out=tmp_path / "one", progress=quiet)
    run = begun(tmp_path / "two", one, SECOND, set=changes)
    sample = {"k": torch.rand(9, 3), "h": torch.rand(9, 16)}
    own, theirs = (
        each.decoder["x"].parameters_of(sample | {"y": torch.full((9,), number)})
        for each, number in ((run, 1), (one, 0))
    )
    assert torch.allclose(own, theirs, atol=1e-5)
    own, theirs = (each.decoder["y"].parameters_of({}) for each in (run, one))
    assert torch.equal(own[[1, 3]], theirs[[0, 2]]) and bool(theirs.abs().max() > 0)


def test_the_twin_starts_there_too_and_a_kill_before_the_first_checkpoint_loses_nothing(
    tmp_path: Path, earlier: Run
) -> None:
    arguments: dict[str, Any] = {"set": SOME, "dataset": named(SECOND), "device": "cpu"}
    whole = semivae.train(
        "digits_50labels", **arguments, out=tmp_path / "whole", progress=quiet, start_from=earlier.path
    )
    begun(tmp_path / "killed", earlier, SECOND)
    for name in ("last.safetensors", "metrics.jsonl"):
        (tmp_path / "killed" / name).unlink(missing_ok=True)
    semivae.train("digits_50labels", **arguments, out=tmp_path / "killed", progress=quiet, resume=True)
    assert_equal(tmp_path / "killed", whole.path)
    fresh = semivae.train("digits_50labels", **arguments, out=tmp_path / "fresh", progress=quiet)
    one, other = (each.at("twin").encoder["y"].parameters_of({"x": torch.ones(1, 1, 8, 8)}) for each in (whole, fresh))
    assert not torch.allclose(one, other)


def test_other_networks_are_refused_with_advice(tmp_path: Path, earlier: Run) -> None:
    arguments: dict[str, Any] = {"dataset": named(FIRST), "device": "cpu", "progress": quiet, "out": tmp_path / "run"}
    for changes, message in (
        ({"variables.h.shape": [8]}, r"decoder.*has the shape .* here, .* there"),
        ({"encoder.y.net": {"name": "mlp", "hidden": [8]}}, "is in one of them only"),
    ):
        with pytest.raises(RunError, match=message) as caught:
            semivae.train("digits_50labels", set=SOME | changes, **arguments, start_from=earlier.path)
        assert "recipe.yaml) with the new data" in str(caught.value) and not (tmp_path / "run").exists()
    with pytest.raises(RunError, match="no such folder"):
        semivae.train("digits_50labels", set=SOME, **arguments, start_from=tmp_path / "nothing")


def test_a_run_that_is_resumed_keeps_its_start(tmp_path: Path, earlier: Run) -> None:
    begun(tmp_path / "run", earlier, FIRST)
    arguments: dict[str, Any] = {"set": SOME, "dataset": named(FIRST), "out": tmp_path / "run", "device": "cpu"}
    with pytest.raises(RunError, match=r"was started from .*, not from elsewhere; go on without --from"):
        semivae.train("digits_50labels", **arguments, resume=True, progress=quiet, start_from="elsewhere")
    run = semivae.train("digits_50labels", **arguments, resume=True, progress=quiet, start_from=earlier.path)
    assert run.finished and history_of(run.path).started_from is not None
    assert run.evaluate()["history"] == [f"started from {earlier.path} at step 6"]
