"""Evaluation of a really trained run: the numbers fit each other, and nothing but the right images is used."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from semivae.api import Run
from semivae.classification import Classifier
from semivae.classification.posterior import Floats, encoder_log_posterior, vote_of_decoder
from semivae.classification.trust import predict_sets
from semivae.data.inputs.pieces import AnyExamples
from semivae.errors import DataError, RunError
from semivae.game.conditionals import NetworkConditional
from semivae.reports.evaluation import evaluate
from semivae.runs.checkpoint import read_checkpoint, write_checkpoint
from semivae.runs.model import TrainedModel
from semivae.tasks.kinds import CLASSES
from semivae.variables import Sample


def copied(run: Run, folder: Path) -> Run:
    return Run.load(shutil.copytree(run.path, folder / "copy"), device="cpu")


def test_report_holds_what_is_promised(tiny_run: Run) -> None:
    report = evaluate(tiny_run)
    parts = {"run", "kind", "nouns", "split", "count", "last", "selected", "twin", "sets", "risk_coverage"}
    assert set(report) == parts
    assert report["split"] == "test" and report["count"] == 500
    for checkpoint in ("last", "selected", "twin"):
        found = report[checkpoint]
        assert set(found) == {"error", "error_interval", "nll", "brier", "ece", "reliability", "per_class", "confusion"}
        confusion = np.array(found["confusion"])
        assert confusion.sum() == 500
        assert found["error"] == (500 - np.trace(confusion)) / 500
        low, high = found["error_interval"]
        assert 0 <= low < found["error"] < high <= 1
        assert list(found["per_class"]) == [str(digit) for digit in range(10)]
        weighted = sum(
            error * count for error, count in zip(found["per_class"].values(), confusion.sum(1), strict=True)
        )
        assert weighted / 500 == pytest.approx(found["error"])
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_each_checkpoint_is_measured_with_its_own_weights(tiny_run: Run) -> None:
    report = evaluate(tiny_run)
    test = tiny_run.dataset().test
    for checkpoint in ("last", "selected", "twin"):
        wrong = tiny_run.at(checkpoint).predict(test["x"]) != test["y"].numpy()
        assert report[checkpoint]["error"] == wrong.mean()
    assert report["twin"]["nll"] != report["last"]["nll"]


def test_a_selected_checkpoint_that_is_the_last_one_has_its_scores(tiny_run: Run, tmp_path: Path) -> None:
    run = copied(tiny_run, tmp_path)
    tensors, facts = read_checkpoint(run.path / "last.safetensors")
    write_checkpoint(run.path / "selected.safetensors", tensors, facts)
    report = evaluate(run)
    assert report["selected"] == report["last"] and report["selected"] is not report["last"]
    shifted = {name: tensor + 0.5 for name, tensor in tensors.items() if name.endswith("bias")}
    write_checkpoint(run.path / "selected.safetensors", {**tensors, **shifted}, facts)
    changed = evaluate(run)
    assert changed["selected"]["nll"] != report["selected"]["nll"] and changed["last"] == report["last"]


def test_a_watcher_sees_the_last_checkpoints_answers_alone(tiny_run: Run) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    report = evaluate(tiny_run, watch=lambda answers, labels: seen.append((answers, labels)))
    answers, labels = (torch.cat(column) for column in zip(*seen, strict=True))
    assert torch.equal(labels, tiny_run.dataset().test["y"])
    assert (answers.argmax(1) != labels).double().mean().item() == report["last"]["error"]


@pytest.mark.parametrize("steps", [{}, {"calibrate": True}, {"calibrate": True, "vote": True}])
def test_every_network_reads_a_test_image_once(
    steps: dict[str, Any], tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores, all steps of the classifier and the promises are of one reading."""
    run = copied(tiny_run, tmp_path)
    tensors, facts = read_checkpoint(run.path / "last.safetensors")
    shifted = {name: tensor + 0.5 for name, tensor in tensors.items() if name.endswith("bias")}
    write_checkpoint(run.path / "selected.safetensors", {**tensors, **shifted}, facts)  # else the last one's scores
    first, read, real = (
        run.values(run.dataset().test["x"][:1])["x"][0],
        Counter[int | str](),
        NetworkConditional.parameters_of,
    )

    def counted(self: NetworkConditional, sample: Sample) -> torch.Tensor:
        if self.target.name == "y":
            read[id(self)] += int((sample["x"] == first).flatten(1).all(1).sum())
        return real(self, sample)

    def voted(of: TrainedModel, images: AnyExamples, draws: int) -> Floats:
        assert isinstance(images, torch.Tensor)
        read["votes"] += len(images) == test_images
        return vote_of_decoder(of, images, draws)

    test_images = len(run.dataset().test["y"])
    monkeypatch.setattr(NetworkConditional, "parameters_of", counted)
    monkeypatch.setattr("semivae.classification.classifier.vote_of_decoder", voted)
    report = evaluate(run, **steps)
    assert read.pop("votes", 0) == ("vote" in steps)
    assert len(read) == 3 and set(read.values()) == {1}
    assert report["last"] == evaluate(run)["last"]


@pytest.mark.parametrize("steps", [{}, {"calibrate": True}, {"calibrate": True, "vote": True}])
def test_promises_are_of_the_classifier_after_all_its_steps(
    steps: dict[str, Any], tiny_run: Run, tmp_path: Path
) -> None:
    run = copied(tiny_run, tmp_path)
    sets = predict_sets(Classifier.of(run, **steps), run.dataset().test["x"], 0.95)
    assert evaluate(run, **steps)["sets"]["mean_size"] == sets.sum(axis=1).mean()


def test_validation_part_is_not_the_test_part(tiny_run: Run) -> None:
    report = evaluate(tiny_run, split="validation")
    assert report["split"] == "validation"
    assert report["count"] == len(tiny_run.split().validation) > 0
    assert report["last"]["nll"] != evaluate(tiny_run)["last"]["nll"]


def test_run_may_be_given_by_its_path(tiny_run: Run) -> None:
    assert evaluate(str(tiny_run.path), device="cpu") == evaluate(tiny_run)
    with pytest.raises(RunError, match="no such folder"):
        evaluate(tiny_run.path.parent / "nothing")


def test_missing_or_half_trained_twin_is_none(tiny_run: Run, tmp_path: Path) -> None:
    run = copied(tiny_run, tmp_path)
    twin = run.path / "twin.safetensors"
    tensors, facts = read_checkpoint(twin)
    write_checkpoint(twin, tensors, facts.model_copy(update={"step": 7}))
    assert evaluate(run)["twin"] is None
    twin.unlink()
    report = evaluate(run)
    assert report["twin"] is None and report["last"] is not None


def test_probabilities_do_not_depend_on_batches_or_form(tiny_run: Run) -> None:
    images = tiny_run.dataset().test["x"][:50]
    whole = Classifier(tiny_run).probabilities(images)
    assert whole.shape == (50, 10)
    torch.testing.assert_close(whole.sum(dim=1), torch.ones(50))
    in_parts = np.exp(encoder_log_posterior(tiny_run, images, batch=7))
    torch.testing.assert_close(torch.from_numpy(in_parts).float(), whole)
    torch.testing.assert_close(Classifier(tiny_run).probabilities(images.float() / 255), whole)
    torch.testing.assert_close(tiny_run.posterior("y", x=images[:3]).log_prob(torch.arange(3)).exp(), whole.diag()[:3])


@pytest.mark.parametrize("shape", [(4, 1, 28, 28), (4, 3, 8, 8), (4, 8, 8), (0, 1, 8, 8)])
def test_images_of_another_size_are_refused(tiny_run: Run, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"expects x of shape \(n, 1, 8, 8\)"):
        Classifier(tiny_run).probabilities(torch.zeros(shape))


def test_perfect_predictions_score_perfectly() -> None:
    labels = torch.tensor([0, 1, 1, 2])
    found = CLASSES.scores([(torch.eye(3)[labels], labels)], ("a", "b", "c"))
    assert (found["error"], found["nll"], found["brier"], found["ece"]) == (0, 0, 0, 0)
    assert found["per_class"] == {"a": 0, "b": 0, "c": 0}


def test_parts_that_are_none_are_refused(tiny_run: Run) -> None:
    with pytest.raises(RunError, match="'train' is not a part of the data; use test or validation"):
        tiny_run.evaluate(split="train")  # type: ignore[arg-type]


def test_a_vote_needs_a_draw(tiny_run: Run) -> None:
    with pytest.raises(RunError, match="draws is 0, but the decoder's vote needs 1 or more"):
        tiny_run.classifier(vote=True, draws=0)
