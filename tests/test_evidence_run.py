"""A trained run with coarse classes and annotators: its posterior given evidence, doubts, tables and commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

import semivae
from semivae.classification.evidence import WithEvidence, annotators, table_of, with_evidence
from semivae.cli import app
from semivae.errors import RunError
from semivae.game.distributions import categorical_of
from semivae.label_errors.annotations import annotation_doubts
from semivae.recipe.schema import Recipe
from semivae.reports.confusions import confusions
from semivae.reports.diagnosis import diagnose
from semivae.variables import VOID

NET = {"name": "mlp", "hidden": [64]}
GROUPS = {"few": ["0", "1", "2"], "many": ["3", "4", "5", "6", "7", "8", "9"]}
NAMES = ("ann", "bob")


def recipe() -> Recipe:
    """Digits with one label each, of ann (90% right) or bob (60%); ten with the true one, 100 with a group."""
    crowd = {"one_of": "crowd"}
    return Recipe.model_validate(
        {
            "source": {
                "name": "digits",
                "simulate": {
                    "c": {"groups": GROUPS},
                    "ann": {"accuracy": 0.9, **crowd},
                    "bob": {"accuracy": 0.6, **crowd},
                },
            },
            "split": {"labelled": 10, "validation": 100, "also_labelled": {"c": 100, "ann": 400, "bob": 400}},
            "variables": {
                "x": {"family": "bernoulli", "complete_with": "mean"},
                **{name: {"family": "categorical"} for name in ("y", "c", *NAMES)},
                "h": {"family": "bernoulli", "shape": [4]},
            },
            "decoder": {
                "y": "uniform",
                "c": {"given": ["y"], "groups": GROUPS},
                "ann": {"given": ["y"], "confusion": {"start": 0.75, "per": "annotator"}},
                "bob": {"given": ["y"], "confusion": {"start": 0.75}},
                "h": "uniform",
                "x": {"given": ["y", "h"], "net": NET},
            },
            "encoder": {"y": {"given": ["x"], "net": NET}, "h": {"given": ["x", "y"], "net": NET}},
            "streams": {
                "labelled": {"observe": ["x", "y", "ann", "bob"], "batch": 10},
                "coarse": {"observe": ["x", "c"], "batch": 16},
                "crowd": {"observe": ["x", "ann", "bob"], "batch": 64},
                "unlabelled": {"observe": ["x"], "batch": 16},
                "labels": {"observe": ["y"], "batch": 16, "values": "uniform", "loss_weights": {"y": 0}},
            },
            "training": {"steps": 100, "learning_rate": 1e-2, "validate_every": 50, "twin": True},
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> semivae.Run:
    return semivae.train(recipe(), out=tmp_path_factory.mktemp("evidence") / "run", device="cpu")


@pytest.fixture(scope="module")
def shown(run: semivae.Run) -> WithEvidence:
    return with_evidence(run)


def test_it_learns_the_label_and_who_is_right_how_often(run: semivae.Run) -> None:
    report = run.evaluate(calibrate=False)
    assert report["last"]["error"] < 0.15 and report["twin"]["error"] < 0.3
    found = confusions(run)
    right = {name: found[name]["accuracy"] for name in NAMES}
    assert right["ann"] == pytest.approx(0.9, abs=0.1) and right["bob"] == pytest.approx(0.6, abs=0.2)
    assert right["ann"] > right["bob"] + 0.2
    assert found["ann"]["shown"] + found["bob"]["shown"] == 810
    low, high = found["bob"]["interval"]
    assert low < found["bob"]["accuracy"] < high


def test_the_posterior_given_evidence_is_the_product(run: semivae.Run, shown: WithEvidence) -> None:
    split, data = run.split(), run.dataset()
    assert set(shown.rows.tolist()) == {
        *split.labelled.tolist(), *(row for name in ("c", *NAMES) for row in split.also_labelled[name].tolist())
    }  # fmt: skip
    posterior = shown.given_evidence()
    known = shown.label >= 0
    assert known.sum() == 10 and (posterior[known].argmax(1) == shown.label[known]).all()
    assert (posterior[known].max(1) == 1).all()
    for place in np.flatnonzero(~known)[:40].tolist():
        row = int(shown.rows[place])
        q = categorical_of(run.posterior("y", x=data.train["x"][row : row + 1].float() / 255)).probs[0].double()
        expected = q.numpy().copy()
        for name in ("c", *NAMES):
            value = int(data.train[name][row])
            if row in split.also_labelled[name] and value != VOID:
                expected *= table_of(run, name)[:, value]
        np.testing.assert_allclose(posterior[place], expected / expected.sum(), atol=1e-4)


def test_what_the_split_hides_plays_no_part(run: semivae.Run, shown: WithEvidence) -> None:
    """The data know c of all digits; only 110 show it."""
    assert shown.shown["c"].sum() == 110 and len(shown.rows) > 700
    hidden = ~shown.shown["c"]
    assert (shown.log_likelihood["c"][hidden] == 0).all() and (shown.values["c"][hidden] >= 0).any()


def test_doubts_say_whose_label_is_wrong(run: semivae.Run) -> None:
    found = run.doubts()
    assert annotators(run) == NAMES and set(found.parts) == set(NAMES) and len(found) == 800
    assert found.how == "annotators" and (np.diff(found.doubt) <= 0).all()
    truth = run.dataset().train["y"].numpy()[found.rows]
    wrong = np.array([run.classes[number] for number in truth]) != np.array(found.given)
    assert roc_auc_score(wrong, found.doubt) > 0.93
    assert found.expected_wrong == pytest.approx(wrong.sum(), rel=0.35)
    proposed = np.array([run.classes[number] for number in truth]) == np.array(found.proposed)
    assert proposed[wrong].mean() > 0.8
    of_bob = np.array(found.parts) == "bob"
    assert found.doubt[of_bob].mean() > 2 * found.doubt[~of_bob].mean()


def test_true_labels_can_be_judged_all_the_same(run: semivae.Run) -> None:
    with pytest.raises(RunError, match="no class has two labelled examples"):
        run.doubts(retrain=True)


def test_diagnose_shows_tables_with_intervals(run: semivae.Run) -> None:
    report = diagnose(run, samples=64)
    bob, c = report["evidence"]["bob"], report["evidence"]["c"]
    assert np.asarray(bob["table"]).shape == (10, 10) and np.asarray(bob["intervals"]).shape == (10, 10, 2)
    assert sum(bob["counts"]) == pytest.approx(bob["shown"], abs=1e-3) and bob["columns"] == list(run.classes)
    assert (c["learnt"], c["columns"]) == (False, ["few", "many"]) and "accuracy" not in c
    json.dumps(report["evidence"])


def test_commands_show_what_was_learnt(run: semivae.Run, tmp_path: Path) -> None:
    def command(*arguments: object) -> str:
        done = CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "200"})
        assert done.exit_code == 0, done.output
        return done.output

    text = command("diagnose", run.path, "--samples", 64)
    assert "Annotators" in text and "p(bob | y)" in text and "p(c | y)" not in text
    text = command("doubts", run.path, "-n", 3, "--out", tmp_path / "doubts.csv")
    assert "part says who wrote the label" in text
    rows = (tmp_path / "doubts.csv").read_text().splitlines()
    assert len(rows) == 4 and rows[1].split(",")[1] in NAMES


def test_the_report_shows_the_tables(run: semivae.Run, tmp_path: Path) -> None:
    run.report(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "What was written down of the label" in page and "bob is right in" in page
    assert "c, given y (known, not learnt)" in page and page.count('class="matrix"') >= 3


def test_a_run_that_has_seen_no_true_label_is_told_of_like_any_other(tmp_path: Path) -> None:
    base = recipe()
    streams = {name: spec for name, spec in base.streams.items() if name != "labelled"}
    changes: dict[str, Any] = {"streams": streams, "split": base.split.model_copy(update={"labelled": 0})}
    changes["training"] = base.training.model_copy(update={"steps": 4, "validate_every": 2})
    run = semivae.train(base.model_copy(update=changes), out=tmp_path / "run", device="cpu")
    assert run.evaluate(calibrate=False)["twin"]["error"] <= 1.0, "the twin learns from annotators"
    assert set(run.diagnose(samples=16)["evidence"]) == {"c", *NAMES} and len(run.doubts()) == 800
    run.report(tmp_path / "report.html")
    assert "digits" in run.card()


def test_runs_without_annotators_say_so(run: semivae.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    roles = run.roles
    monkeypatch.setattr(run, "roles", roles.__class__(**{**roles.__dict__, "evidence": ("c",)}))
    assert annotators(run) == ()
    with pytest.raises(RunError, match="the recipe has no annotators, whose labels are classes of y"):
        annotation_doubts(run)
    monkeypatch.setattr(run, "roles", roles.__class__(**{**roles.__dict__, "evidence": ()}))
    with pytest.raises(RunError, match="the recipe has no evidence of the label"):
        with_evidence(run)
    assert confusions(run) == {}


def test_samples_of_the_decoder_come_with_what_annotators_would_write(run: semivae.Run) -> None:
    drawn: dict[str, Any] = dict(run.sample(400, y=3))
    assert float((torch.as_tensor(drawn["ann"]) == 3).float().mean()) > 0.75
    assert (torch.as_tensor(drawn["c"]) == 1).all()
