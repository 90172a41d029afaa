"""Grades: the cumulative link, the order of the classes, scores in grades, and a run from training to every command."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from pydantic import ValidationError
from sklearn.metrics import cohen_kappa_score
from torch import nn
from torch.distributions import Categorical
from typer.testing import CliRunner

import semivae
from semivae.cli import app
from semivae.cli.kinds import shown_as
from semivae.data.dataset import Dataset, LabelInfo
from semivae.errors import DataError
from semivae.game.families import FAMILIES
from semivae.game.ordinal import CumulativeLink, grade_log_probs
from semivae.page.kinds import on_page
from semivae.page.report import write_report
from semivae.recipe.schema import VariableSpec
from semivae.sklearn import SemiVAEClassifier
from semivae.tasks.kinds import CLASSES, ORDINAL, parents_of, task_of
from semivae.tasks.ordinal import grade_scores
from semivae.variables import Variable

GRADE = Variable("y", "ordinal", (), classes=5)


class Same(nn.Module):
    """Puts out what it is given."""

    def forward(self, images: torch.Tensor | None, vectors: torch.Tensor) -> torch.Tensor:
        return vectors


# The link ------------------------------------------------------------------------------------------------------------


def test_probabilities_are_differences_of_a_logistic_function() -> None:
    link = CumulativeLink(Same(), 5).double()
    with torch.no_grad():
        link.first.add_(0.05)
        link.gaps.add_(torch.linspace(-0.1, 0.2, 3))
    given = torch.tensor([[0.0, 0.0], [1.5, -1.0], [-40.0, 2.0]]).double()
    cuts, scales = link.thresholds(), nn.functional.softplus(given[:, 1:] + np.log(np.e - 1)) + 1e-2
    cumulative = ((cuts - given[:, :1]) / scales).sigmoid()
    ends = torch.cat([torch.zeros(3, 1), cumulative, torch.ones(3, 1)], dim=1)
    found = link(None, given).exp()
    torch.testing.assert_close(found.double(), ends.diff(dim=1), atol=1e-6, rtol=1e-5)
    assert (cuts.diff() > 0).all()


def test_zeros_make_all_grades_equally_likely() -> None:
    for classes in (2, 3, 10):
        torch.testing.assert_close(
            CumulativeLink(Same(), classes)(None, torch.zeros(1, 2)).exp(),
            torch.full((1, classes), 1 / classes),
            atol=6e-3,  # the smallest scale
            rtol=0,
        )


def test_thresholds_start_where_grades_are_equally_likely_and_never_meet() -> None:
    link = CumulativeLink(Same(), 5)
    torch.testing.assert_close(link.thresholds(), torch.tensor([0.2, 0.4, 0.6, 0.8]).logit())
    with torch.no_grad():
        link.first.add_(0.05)
        link.gaps.fill_(-20.0)
    expected = math.log(0.25) + 0.4 + torch.tensor([0.0, 1e-3, 2e-3, 3e-3])  # eight times as far as the parameter
    torch.testing.assert_close(link.thresholds(), expected, atol=1e-6, rtol=0)


def test_no_answer_is_surer_than_the_smallest_scale() -> None:
    given = torch.tensor([[-1.4, -100.0]])
    found = CumulativeLink(Same(), 2)(None, given).exp()
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.0]]), atol=1e-6, rtol=0)
    near = CumulativeLink(Same(), 2)(None, torch.tensor([[-0.01, -100.0]])).exp()
    torch.testing.assert_close(near[0, 0], torch.tensor(1.0).sigmoid())


def test_what_a_network_says_in_bfloat16_is_linked_in_float32() -> None:
    link, given = CumulativeLink(Same(), 5), torch.tensor([[0.3, -0.7], [-1.1, 0.4]]).bfloat16()
    assert torch.equal(link(None, given), link(None, given.float()))


def test_far_out_log_probabilities_and_their_gradients_are_finite() -> None:
    ends = torch.tensor([[-80.0, -79.0, -78.5], [60.0, 60.1, 90.0], [0.0, 0.0, 0.0]], requires_grad=True)
    found = grade_log_probs(ends)
    found.sum().backward()
    assert found.isfinite().all() and ends.grad is not None and ends.grad.isfinite().all()
    torch.testing.assert_close(grade_log_probs(ends[:1].double()).exp().sum(), torch.ones(()).double())


def test_a_grade_is_fed_as_how_far_it_reaches() -> None:
    family = FAMILIES["ordinal"]
    fed = family.as_input(GRADE, torch.tensor([0, 2, 4]))
    assert fed.tolist() == [[0, -1, -1, -1, -1], [0, 1, 1, -1, -1], [0, 1, 1, 1, 1]]
    soft = torch.tensor([[0.0, 0.5, 0.5, 0.0, 0.0]], requires_grad=True)
    torch.testing.assert_close(family.as_input(GRADE, soft), torch.tensor([[0.0, 1.0, 0.0, -1.0, -1.0]]))
    assert fed.shape[1:] == GRADE.input_shape and GRADE.network_shape == (2,) and GRADE.parameter_shape == (5,)


# The kind ------------------------------------------------------------------------------------------------------------


def graded(names: tuple[str, ...]) -> Dataset:
    y = torch.arange(12) % len(names)
    train = {
        "x": torch.zeros(12, 2),
        "y": y,
        "ann": y.clone(),
        "m": nn.functional.one_hot(y, len(names)).to(torch.int8),
    }
    info = LabelInfo("classes", names)
    return Dataset("d", {"y": info, "ann": info, "m": replace(info, kind="candidates")}, train, train)


def spec(**keys: object) -> VariableSpec:
    return VariableSpec.model_validate({"family": "ordinal", **keys})


def test_the_kind_follows_from_the_family() -> None:
    assert task_of("y", spec()) is ORDINAL and parents_of("ordinal") == ("ordinal", "classes")
    assert task_of("y", VariableSpec(family="categorical")) is CLASSES


def test_classes_are_put_into_the_order_of_the_grades_with_all_that_shares_them() -> None:
    data = graded(("high", "low", "medium"))
    found = ORDINAL.prepare(data, "y", spec(order=["low", "medium", "high"]))
    assert found.classes == ("low", "medium", "high") and found.labels["y"].kind == "ordinal"
    assert found.train["y"].tolist()[:3] == [2, 0, 1] == found.train["ann"].tolist()[:3]
    assert found.labels["ann"].kind == "classes" and found.labels["ann"].classes == found.classes
    assert found.train["m"].argmax(dim=1).tolist()[:3] == [2, 0, 1]
    assert ORDINAL.prepare(found, "y", spec(order=["low", "medium", "high"])) is found, "once"


def test_numbers_need_no_order() -> None:
    found = ORDINAL.prepare(graded(("10", "2", "1.5")), "y", spec())
    assert found.classes == ("1.5", "2", "10")
    for twice in (("1", "2", "1.0"), ("1", "2", "nan")):
        with pytest.raises(DataError, match="are the same number, or not a number"):
            ORDINAL.prepare(graded(twice), "y", spec())


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ((), r"nothing says the order of the grades high, low, medium.*order: \[high, low, medium\]"),
        (("low", "high"), "order lacks medium"),
        (("low", "medium", "high", "top"), "order names top, which the data lack"),
    ],
)
def test_an_order_that_is_none_is_refused(order: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ORDINAL.prepare(graded(("high", "low", "medium")), "y", spec(order=order))


def test_labels_of_another_kind_are_no_grades() -> None:
    data = graded(("1", "2"))
    data = replace(data, labels={"y": LabelInfo("numbers")})
    with pytest.raises(DataError, match="holds numbers, no grades"):
        ORDINAL.prepare(data, "y", spec())


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"family": "categorical", "order": ["a", "b"]}, "order belongs to an ordinal variable"),
        ({"shape": [2]}, "a single grade of each example"),
        ({"order": ["a", "a"]}, "names each grade once"),
        ({"order": ["a"]}, "two at least"),
        ({"complete_with": "mean"}, "has no mean"),
        ({"strangers": {}}, "strangers belong to a single class, a categorical variable"),
    ],
)
def test_mistakes_of_the_variable_are_refused(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec(**keys)


def test_scores_are_in_grades() -> None:
    answers, labels = torch.tensor([0, 1, 2, 4, 4, 0]), torch.tensor([0, 2, 2, 2, 4, 1])
    found = grade_scores(answers, labels)
    assert found["mae"] == pytest.approx(4 / 6) and found["near"] == pytest.approx(5 / 6)
    assert found["kappa"] == pytest.approx(cohen_kappa_score(answers, labels, weights="quadratic", labels=range(5)))
    assert found["mae_interval"][0] < found["mae"] < found["mae_interval"][1]
    assert grade_scores(torch.zeros(3), torch.zeros(3))["kappa"] is None
    posterior = Categorical(probs=nn.functional.one_hot(answers, 5).float() * 0.8 + 0.04)
    statistics = ORDINAL.measure(posterior, torch.where(labels == 1, -1, labels))
    assert statistics.errors is not None and statistics.errors.tolist() == [0, 1, 0, 2, 0]
    assert ORDINAL.headline_of([statistics])[0] == pytest.approx(3 / 5)
    assert ORDINAL.consistency(posterior, labels).tolist() == [1, 0, 1, 0, 1, 0]


def test_a_kind_without_modules_is_shown_as_what_it_is_made_from() -> None:
    assert shown_as("ordinal").predict is shown_as("classes").predict
    keys = [score.key for score in on_page("ordinal").scores]
    assert keys[:4] == ["mae", "kappa", "near", "error"] and "error" in keys and len(set(keys)) == len(keys)


# A run ---------------------------------------------------------------------------------------------------------------


def rows(count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Rows of four numbers, the grade of which is how large the sum of two is."""
    x = np.random.default_rng(0).normal(size=(count, 4))
    return x, np.digitize(x[:, 0] + x[:, 1], [-1.2, -0.4, 0.4, 1.2])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ordinal")
    x, y = rows()
    names = ["poor", "fair", "good", "fine", "superb"]
    with (folder / "t.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "c", "d", "label"])
        writer.writerows(
            [*row, names[grade] if place < 200 else ""] for place, (row, grade) in enumerate(zip(x, y, strict=True))
        )
    order = "[poor, fair, good, fine, superb]"
    command("copy", "table_grades", folder / "r.yaml")
    sets = [f"variables.y={{family: ordinal, order: {order}}}", "source.path=t.csv", "split.validation=40",
            "training.steps=60", "training.validate_every=20", "training.learning_rate=0.01"]  # fmt: skip
    options = [word for each in sets for word in ("--set", each)]
    command("train", folder / "r.yaml", *options, "--out", folder / "run", "--data-root", folder, "--device", "cpu")
    return folder


def command(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.output


def test_evaluate_counts_errors_in_grades(folder: Path) -> None:
    report = json.loads(command("evaluate", folder / "run", "--json"))
    assert report["kind"] == "ordinal" and next(iter(report["last"]["per_class"])) == "poor"
    assert report["last"]["mae"] < 0.6 and report["last"]["kappa"] > 0.75 and "sets" in report
    shown = " ".join(command("evaluate", folder / "run").split())
    assert "MAE in grades" in shown and "quadratic weighted kappa" in shown
    rows = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert any(row.get("validation_deviation") for row in rows), "a mean has a standard error"


def test_the_order_is_not_that_of_the_alphabet(folder: Path) -> None:
    run = semivae.load(folder / "run")
    assert run.classes == ("poor", "fair", "good", "fine", "superb")
    x, y = rows()
    with (folder / "new.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["a", "b", "c", "d"], *x[200:].tolist()])
    answers = [
        row["label"] for row in csv.DictReader(command("predict", folder / "run", folder / "new.csv").splitlines())
    ]
    distance = [abs(run.classes.index(answer) - grade) for answer, grade in zip(answers, y[200:], strict=True)]
    assert np.mean(distance) < 0.6
    command("sample", folder / "run", "--given", "y=superb", "-n", 3, "--out", folder / "s.csv")
    assert len((folder / "s.csv").read_text().splitlines()) == 4


def test_reports_cards_and_exports_know_of_grades(folder: Path) -> None:
    run = semivae.load(folder / "run")
    run.export(folder / "m.onnx")
    test = run.dataset().test["x"]
    session = onnxruntime.InferenceSession(folder / "m.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: test.numpy()})
    np.testing.assert_allclose(found, run.classifier().probabilities(test).numpy(), atol=1e-5)
    write_report([run], folder / "page.html")
    page = (folder / "page.html").read_text()
    assert "Quadratic weighted kappa" in page and "MAE in grades" in page
    text = command("card", folder / "run", "--out", folder / "card.md") or (folder / "card.md").read_text()
    assert "MAE in grades" in (folder / "card.md").read_text() or "MAE in grades" in text


def test_scikit_learn_takes_grades() -> None:
    x, y = rows(200)
    model = SemiVAEClassifier(
        steps=30, random_state=0, set={"variables.y.family": "ordinal", "training.learning_rate": 0.02}
    )
    model.fit(x, np.where(np.arange(200) < 80, y * 10, -1))
    assert model.classes_.tolist() == [0, 10, 20, 30, 40]
    assert np.abs(model.predict(x) / 10 - y).mean() < 0.7


def test_a_recipe_without_an_order_says_what_to_write(folder: Path) -> None:
    said: Any = command("train", folder / "r.yaml", "--set", "source.path=t.csv", "--out", folder / "no",
                        "--data-root", folder, code=1)  # fmt: skip
    assert "order: [fair, fine, good, poor, superb]" in " ".join(said.split())
