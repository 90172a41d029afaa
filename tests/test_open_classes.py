"""Strangers: unlabelled examples of no class. Their data, share, alignment, scores, refusals, and commands."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from sklearn.metrics import roc_auc_score
from torch.distributions import Categorical
from typer.testing import CliRunner

import semivae
from semivae.classification.strangers import grouped
from semivae.cli import app
from semivae.data.dataset import Dataset, class_label
from semivae.data.mixture import cross_scores, part_share, rest_share
from semivae.data.readers.digits import read_digits
from semivae.data.splits import load_split, save_split
from semivae.errors import DataError, RecipeError, RunError, SemivaeError
from semivae.game.teaching.logit_adjustment import adjust_logits
from semivae.game.teaching.open_teacher import STRANGERS_DECAY, align_open
from semivae.parallel.shards import Shard
from semivae.recipe import read_recipe
from semivae.recipe.schema import Recipe
from semivae.reports.card import card
from semivae.reports.promises import beyond
from semivae.scenario.build import build_scenario, resolve
from semivae.scenario.plan import plan_of
from semivae.sklearn import SemiVAEClassifier
from semivae.tasks.kinds import CLASSES, OPEN_CLASSES, task_of
from semivae.tasks.open_classes import stranger_scores
from semivae.tasks.splitting import make_split, prepared

NET = {"name": "mlp", "hidden": [32]}
QUICK: dict[str, Any] = {"steps": 75, "random_state": 0, "set": {"training.learning_rate": 0.02}}
VIEWS = {"weak": {"shift": 0.06}, "strong": {"shift": 0.12, "rotate": 15, "noise": 0.1}}
PAIRS = {"observe": ["x", "y"], "batch": 40}
PAIR = {"threshold": 0, "temperature": 0.5, "ramp": 0.6, "align": True}


def document(**changes: object) -> dict[str, Any]:
    """A recipe on digits, of which 8 and 9 are strangers."""
    base: dict[str, Any] = {
        "source": {"name": "digits"},
        "split": {"labelled": 80, "validation": 40},
        "variables": {
            "x": {"family": "bernoulli", "complete_with": "mean"},
            "y": {"family": "categorical", "strangers": {"share": 0.25, "classes": [8, 9]}},
            "h": {"family": "bernoulli", "shape": [4]},
        },
        "decoder": {"y": "uniform", "h": "uniform", "x": {"given": ["y", "h"], "net": NET}},
        "encoder": {"y": {"given": ["x"], "net": NET}, "h": {"given": ["x", "y"], "net": NET}},
        "views": VIEWS,
        "streams": {
            "labelled": {"observe": ["x", "y"], "batch": 40, "views": "strong", "loss_weights": {"y": {"decoder": 0}}},
            "unlabelled": {"observe": ["x"], "batch": 96, "views": PAIR, "loss_weights": {"y": {"decoder": 0}}},
            "labels": {"observe": ["y"], "batch": 16, "loss_weights": {"y": {"encoder": 0}}},
        },
        "training": {"steps": 6, "validate_every": 3, "learning_rate": 3e-3, "ema_decay": 0.98},
    }  # fmt: skip
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = base
        for parent in parents:
            place = place[parent]
        place[last] = value
    return base


def recipe(**changes: object) -> Recipe:
    return Recipe.model_validate(document(**changes))


def digits() -> Dataset:
    return prepared(read_digits(), recipe())


# Data ----------------------------------------------------------------------------------------------------------------


def test_strangers_are_the_last_class_in_train_and_test() -> None:
    before, after = read_digits(), digits()
    assert after.classes == ("0", "1", "2", "3", "4", "5", "6", "7", "strangers")
    for part in ("train", "test"):
        old, new = getattr(before, part)["y"], getattr(after, part)["y"]
        assert torch.equal(new, old.clamp_max(8))
    assert prepared(after, recipe()) is not before
    assert prepared(after, recipe()).classes == after.classes


def test_a_class_in_the_middle_moves_to_the_end() -> None:
    asked = recipe(variables__y={"family": "categorical", "strangers": {"classes": [3]}})
    found = prepared(read_digits(), asked)
    old, new = read_digits().train["y"], found.train["y"]
    assert found.classes[3:] == ("4", "5", "6", "7", "8", "9", "strangers")
    assert (new[old == 3] == 9).all() and (new[old == 4] == 3).all() and (new[old == 9] == 8).all()


@pytest.mark.parametrize(
    ("classes", "message"),
    [(["eight"], "eight is no class of digits"), (list(range(9)), "at least two classes must remain, here 9")],
)
def test_classes_that_cannot_be_strangers(classes: list[object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepared(read_digits(), recipe(variables__y={"family": "categorical", "strangers": {"classes": classes}}))


def test_a_class_of_their_name_must_be_theirs() -> None:
    x = torch.rand(6, 2)
    data = Dataset("d", class_label(("a", "b", "strangers")), {"x": x, "y": torch.arange(6) % 3}, {"x": x[:0]})
    asked = recipe(variables__y={"family": "categorical", "strangers": {"share": 0.3}})
    with pytest.raises(DataError, match="d has a class called strangers; add it to"):
        prepared(data, asked)
    named = recipe(variables__y={"family": "categorical", "strangers": {"classes": ["strangers"]}})
    assert prepared(data, named).classes == ("a", "b", "strangers")


@pytest.mark.parametrize("labelled", [80, "all"])
def test_strangers_show_no_label_and_validate_nothing(labelled: int | str, tmp_path: Path) -> None:
    data = digits()
    asked = recipe(split={"labelled": labelled, "validation": 40})
    split = make_split(data, asked.split)
    y = data.train["y"]
    assert (y[split.labelled] < 8).all() and (y[split.validation] < 8).all()
    assert torch.equal((y == 8).nonzero()[:, 0], split.unlabelled[y[split.unlabelled] == 8])
    together = torch.cat([split.labelled, split.unlabelled, split.validation])
    assert torch.equal(together.sort().values, torch.arange(len(y)))
    save_split(split, tmp_path / "split.json")
    read = load_split(tmp_path / "split.json", data)
    assert torch.equal(read.labelled, split.labelled) and torch.equal(read.unlabelled, split.unlabelled)
    assert read.digest == split.digest


def test_strangers_in_a_validation_part_of_the_data_are_not_trained_on() -> None:
    data = digits()
    rows = (data.train["y"] == 8).nonzero()[:5, 0]
    own = replace(data, validation=torch.cat([torch.arange(3), rows]).unique())
    split = make_split(own, recipe(split={"labelled": 80}).split)
    assert not torch.isin(rows, split.unlabelled).any() and torch.isin(rows, split.validation).all()


def test_known_classes_show_the_labels_that_they_show_without_strangers() -> None:
    """Rows keep their numbers, so that a recipe with strangers is compared with one that does not know of them."""
    data, spec = digits(), recipe().split
    plain = make_split(read_digits(), spec.model_copy(update={"labelled": 100}))
    y = read_digits().train["y"]
    assert torch.equal(make_split(data, spec).labelled, plain.labelled[y[plain.labelled] < 8])


# The share -----------------------------------------------------------------------------------------------------------


def weights_of(**changes: object) -> list[float]:
    asked, data = recipe(**changes), digits()
    split = make_split(data, asked.split)
    scenario = build_scenario(asked, data, split, torch.device("cpu"))
    return [round(each, 6) for each in scenario.streams["labels"].weights.tolist()]  # type: ignore[attr-defined]


def test_the_label_only_stream_shows_strangers_by_their_share() -> None:
    assert weights_of() == [0.09375] * 8 + [0.25]
    counts = [4, 2, 1, 1, 1, 1, 1, 1]
    assert weights_of(streams__labels__values={"counts": counts}) == [0.0625 * c for c in counts] + [0.25]
    hidden = weights_of(streams__labels__values="hidden")
    rows = make_split(digits(), recipe().split).unlabelled
    true = torch.bincount(digits().train["y"][rows], minlength=9)[:8].double()
    assert hidden == [round(each, 6) for each in (0.75 * true / true.sum()).tolist()] + [0.25]


def test_priors_of_known_classes_get_the_share_and_only_once() -> None:
    data = digits()
    split = make_split(data, recipe().split)
    fixed = {"probabilities": [0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]}
    for prior, expected in (("uniform", [0.09375] * 8), (fixed, [0.225] + [0.075] * 7)):
        once = resolve(recipe(decoder__y=prior), data, split)
        assert once.decoder["y"].probabilities == pytest.approx([*expected, 0.25])  # type: ignore[union-attr]
        assert resolve(once, data, split) == once
        assert Recipe.model_validate(once.model_dump(mode="json")) == once


def mixture(share: float, seed: int, count: int = 2000, labelled: int = 300) -> tuple[Any, Any]:
    """Rows of a part, and of a mixture with it in which `share` are of another one, 4 deviations away."""
    draw = np.random.default_rng(seed)
    part, rest = draw.normal(size=(labelled, 2)), draw.normal(size=(count, 2))
    rest[draw.random(count) < share, 0] += 4.0
    return part, rest


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.6])
def test_the_share_of_what_is_not_the_part_is_estimated(share: float) -> None:
    """The deviation over mixtures is about 0.05, so that a mean of eight is off by 0.07 less than once in ten thousand
    times beyond the bias of the smallest ratio, about 0.05 where there are none."""
    found = [rest_share(*mixture(share, seed), np.ones(300), 0) for seed in range(8)]
    assert abs(np.mean(found) - share) < 0.12 and np.std(found) < 0.1


def test_the_ratio_of_a_threshold_is_counted_exactly() -> None:
    """All 1,000 of the part score 1; 600 of the mixture's 1,000 do, the others 0: the part is 60% of it."""
    mixture = np.repeat([1.0, 0.0], [600, 400])
    assert part_share(np.ones(1000), mixture, np.ones(1000)) == pytest.approx(0.6)
    assert part_share(np.ones(1000), np.ones(5), np.ones(1000)) == 1.0


def test_weights_say_how_the_part_is_composed() -> None:
    """The part has two halves, of which the mixture holds the second nine times as often: no stranger is among it."""
    draw = np.random.default_rng(0)
    part = np.concatenate([draw.normal(-3.0, 1.0, 300), draw.normal(3.0, 1.0, 300)])[:, None]
    rest = np.concatenate([draw.normal(-3.0, 1.0, 200), draw.normal(3.0, 1.0, 1800)])[:, None]
    weights = np.repeat([0.1, 0.9], 300)
    assert 1.0 - part_share(*cross_scores(part, rest, weights, 0), weights) < 0.08
    even = np.ones(600)
    assert 1.0 - part_share(*cross_scores(part, rest, even, 0), even) > 0.3


def test_a_recipe_estimates_the_share_once_and_writes_it_down() -> None:
    asked = recipe(variables__y={"family": "categorical", "strangers": {"classes": [8, 9]}})
    data = prepared(read_digits(), asked)
    split = make_split(data, asked.split)
    found = resolve(asked, data, split)
    spec = found.variables["y"].strangers
    assert spec is not None and isinstance(spec.share, float)
    true = float((data.train["y"][split.unlabelled] == 8).double().mean())
    assert 0.01 <= spec.share < true + 0.1  # a line through pixels tells few of them, and the estimate errs to too few
    assert resolve(asked, data, split) == found and resolve(found, data, split) == found


def test_without_unlabelled_examples_no_share_can_be_estimated() -> None:
    asked = recipe(variables__y={"family": "categorical", "strangers": {}}, split={"labelled": "all"})
    data = prepared(read_digits(), asked)
    with pytest.raises(DataError, match="has no unlabelled examples among which strangers could be"):
        resolve(asked, data, make_split(data, asked.split))


# Teaching ------------------------------------------------------------------------------------------------------------


def test_alignment_makes_strangers_of_those_that_are_least_like_any_class() -> None:
    """Ten images, of margin 1 to 10 for their class and, as pairs have taught, none a stranger: three of them become
    strangers, those with the smallest margins, and the others keep their class."""
    margins, which = torch.arange(1.0, 11.0), torch.tensor([0, 1] * 5)
    logits = torch.full((10, 3), -4.0)
    logits[torch.arange(10), which] = margins
    prior = torch.tensor([0.3, 0.4, 0.3])
    frequencies, offsets, strangers = prior.clone(), torch.zeros(3), []
    for _ in range(400):
        answers = align_open(Categorical(logits=logits), prior, frequencies, offsets).logits.argmax(dim=1)
        strangers.append(int((answers == 2).sum()))
    assert answers.tolist() == [2, 2, 2, *which[3:].tolist()]
    assert strangers[50:] == [3] * 350  # it settles, and does not swing


def test_known_classes_are_aligned_among_those_that_are_no_strangers() -> None:
    """A teacher that leans to one class and never names strangers gives labels as the prior says."""
    torch.manual_seed(0)
    posterior = Categorical(logits=torch.randn(4000, 4) + torch.tensor([2.0, 0.0, 0.0, -9.0]))
    prior = torch.tensor([0.1, 0.2, 0.4, 0.3])
    frequencies, offsets = prior.clone(), torch.zeros(4)
    for _ in range(1200):
        moved = align_open(posterior, prior, frequencies, offsets)
    found = torch.bincount(moved.logits.argmax(dim=1), minlength=4) / 4000
    assert (found - prior).abs().max() < 0.01 and (frequencies - prior).abs().max() < 0.01


def test_one_alignment_with_strangers_by_hand() -> None:
    """Of two images one is a stranger, and the other one alone says how frequent the known classes are."""
    posterior = Categorical(logits=torch.tensor([[1.0, -3.0, 0.0], [-2.0, -5.0, 0.0]]))
    prior, frequencies, offsets = torch.tensor([0.25, 0.25, 0.5]), torch.tensor([0.25, 0.25, 0.5]), torch.zeros(3)
    moved = align_open(posterior, prior, frequencies, offsets)
    torch.testing.assert_close(moved.probs, posterior.probs)  # the offsets are those of the next batch
    torch.testing.assert_close(frequencies, torch.tensor([0.98 * 0.25 + 0.02 * 0.5, 0.98 * 0.25, 0.5]))
    change = 0.3 * (math.log(0.5) - torch.tensor([0.51, 0.49]).log())
    median = (1.0 - 2.0) / 2  # of the margins, as half are strangers
    expected = [*(change - change.mean()).tolist(), (1.0 - STRANGERS_DECAY) * median]
    torch.testing.assert_close(offsets, torch.tensor(expected))


def test_shards_align_as_the_whole_batch_does() -> None:
    """Two shards of a batch, of which the last one updates, come to the offsets of the whole batch."""
    torch.manual_seed(1)
    logits, prior = torch.randn(40, 4), torch.tensor([0.2, 0.2, 0.3, 0.3])
    alone = prior.clone(), torch.zeros(4)
    cut = prior.clone(), torch.zeros(4)
    for _ in range(20):
        whole = align_open(Categorical(logits=logits), prior, *alone)
        parts = []
        for index in range(2):
            shard = Shard(index, 2, updates=index == 1, exchange=lambda own: logits)
            with shard.active():
                parts.append(align_open(Categorical(logits=shard.rows(logits)), prior, *cut).logits)
        assert torch.allclose(torch.cat(parts), whole.logits)
    assert torch.allclose(cut[1], alone[1]) and torch.allclose(cut[0], alone[0])


def test_pairs_say_nothing_of_a_class_that_they_cannot_show() -> None:
    posterior = Categorical(logits=torch.tensor([[1.0, 2.0, 3.0]]))
    prior, frequencies = torch.tensor([0.3, 0.3, 0.4]), torch.tensor([0.8, 0.2, 0.0])
    found = adjust_logits(posterior, frequencies, prior)
    expected = torch.tensor([[1.0 + math.log(0.8 / 0.3), 2.0 + math.log(0.2 / 0.3), 3.0]])
    assert torch.allclose(found.logits, expected.log_softmax(dim=-1))


def toy(seed: int = 0, count: int = 900) -> tuple[dict[str, Any], Callable[[Any], Any]]:
    """Rows of two normal classes and strangers between and above them, 30% of all; and p(strangers | x)."""
    draw = np.random.default_rng(seed)
    means, frequencies = np.array([[-4.0, 0.0], [4.0, 0.0], [0.0, 4.0]]), np.array([0.35, 0.35, 0.3])
    y = draw.choice(3, size=2 * count, p=frequencies)
    x = (means[y] + draw.normal(size=(2 * count, 2))).astype(np.float32)

    def posterior(rows: Any) -> Any:
        density = frequencies * np.exp(-0.5 * ((rows[:, None] - means) ** 2).sum(axis=-1))
        return density[:, 2] / density.sum(axis=1)

    arrays = {"x": x[:count], "y": y[:count], "x_test": x[count:], "y_test": y[count:]}
    return arrays, posterior


def toy_recipe(**changes: object) -> Recipe:
    rows = {
        "variables__x": {"family": "gaussian"},
        "variables__y": {"family": "categorical", "strangers": {"share": 0.3, "classes": [2]}},
        "split": {"labelled": 40},
        "views": {"weak": {"noise": 0.1}, "strong": {"noise": 0.3}},
        "training": {"steps": 100, "validate_every": 100, "learning_rate": 2e-2, "ema_decay": 0.98},
        "decoder__x": {"given": ["y", "h"], "net": NET, "scale": "shared"},
    }
    return recipe(**rows | changes)


def test_the_posterior_of_strangers_is_found_where_it_is_known(tmp_path: Path) -> None:
    """Two classes and strangers with known densities, forty labels: q(strangers | x) is near the true posterior."""
    arrays, posterior = toy()
    run = semivae.train(toy_recipe(), out=tmp_path / "run", dataset=arrays, device="cpu", progress=False)
    last = run.evaluate()["last"]
    true = posterior(arrays["x_test"])
    best = roc_auc_score(arrays["y_test"] == 2, true)
    assert last["strangers_auroc"] > best - 0.03 and last["error"] < 0.02
    assert last["strangers_found"] > 0.85 and last["known_lost"] < 0.08
    said = run.classifier().probabilities(arrays["x_test"])[:, -1].numpy()
    assert np.abs(said - true).mean() < 0.08
    assert 0.24 < said.mean() < 0.36


# Scores --------------------------------------------------------------------------------------------------------------


def test_errors_are_of_known_classes_and_strangers_are_scored_beside_them() -> None:
    p = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8], [0.5, 0.3, 0.2]])
    labels = torch.tensor([0, 1, 1, 2, 2])
    found = OPEN_CLASSES.scores([(p[:2], labels[:2]), (p[2:], labels[2:])], ("a", "b", "strangers"))
    assert found["error"] == pytest.approx(1 / 3)  # the second is right among the known, the third is not
    assert found["per_class"] == {"a": 0.0, "b": 0.5} and found["confusion"] == [[1, 0], [1, 1]]
    assert found["strangers"] == 2 and found["strangers_found"] == 0.5 and found["known_lost"] == pytest.approx(1 / 3)
    assert found["strangers_auroc"] == pytest.approx(5 / 6)  # of six pairs 0.2 < 0.5 alone is in the wrong order
    assert found["nll"] == pytest.approx(-np.mean(np.log([2 / 3, 0.6, 4 / 9])))
    alone = stranger_scores(p[:3], torch.zeros(3, dtype=torch.bool))
    assert alone["strangers_auroc"] is None and alone["strangers_found"] is None
    with pytest.raises(DataError, match="all examples are strangers"):
        OPEN_CLASSES.scores([(p[3:], labels[3:])], ("a", "b", "strangers"))


def test_validation_counts_the_best_known_class_and_no_stranger() -> None:
    logits = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8]]).log()
    found = OPEN_CLASSES.measure(Categorical(logits=logits), torch.tensor([0, 1, 1, 2]))
    assert found.errors is not None and found.errors.tolist() == [False, False, True]
    assert len(found.confidence) == 3 and found.counts.tolist() == [2.0, 0.0, 1.0]
    unknown = OPEN_CLASSES.measure(Categorical(logits=logits), None)
    assert unknown.errors is None and len(unknown.confidence) == 4
    intended = OPEN_CLASSES.consistency(Categorical(logits=logits), torch.tensor([0, 1, 1, 2]))
    assert intended.tolist() == [1.0, 0.0, 0.0, 1.0]


def test_groups_are_as_many_as_are_apart_and_the_largest_is_first() -> None:
    draw = np.random.default_rng(0)
    centres = 3.0 * np.eye(4)[:3]
    true = np.repeat([0, 1, 2], [20, 60, 40])
    features = centres[true] + 0.3 * draw.normal(size=(120, 4))
    found = grouped(features, None, 0)
    assert [len(set(found[true == k])) for k in range(3)] == [1, 1, 1]
    assert np.bincount(found).tolist() == [60, 40, 20]
    assert set(grouped(draw.normal(size=(300, 40)), None, 0)) == {0}  # one cloud has no groups
    assert np.bincount(grouped(features, 2, 0)).tolist()[0] >= 60
    with pytest.raises(DataError, match="5 groups are asked for, but the features of only 1"):
        grouped(np.ones((9, 2)), 5, 0)
    assert set(grouped(np.ones((9, 2)), None, 0)) == {0}


# Refusals ------------------------------------------------------------------------------------------------------------


def test_the_kind_follows_from_the_variable() -> None:
    variables = recipe().variables
    assert task_of("y", variables["y"]) is OPEN_CLASSES
    assert task_of("y", variables["y"].model_copy(update={"strangers": None})) is CLASSES


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"streams__unlabelled__views": {**PAIR, "align": False}},
            r"variables\.y\.strangers: no example shows a stranger, and no stream aligns its views to p\(y\)",
        ),
        (
            {"decoder__y": "learned", "streams__labels": {"observe": [], "batch": 16}, "streams__labelled": PAIRS},
            r"p\(y\) is learned, and no stream teaches it how many strangers there are",
        ),
        (
            {"decoder__y": "learned", "streams__unlabelled": {"observe": ["x"], "views": PAIR}},
            r"stream unlabelled teaches p\(y\) too, .* write streams\.unlabelled\.loss_weights: {y: {decoder: 0}}",
        ),
        (
            {"variables__h": {"family": "categorical", "classes": 4, "strangers": {}}},
            r"variables\.h\.strangers: only the primary label, y, can have strangers",
        ),
    ],
)
def test_recipes_that_would_find_no_strangers_are_refused(changes: dict[str, object], message: str) -> None:
    asked = document(**changes)
    with pytest.raises(RecipeError, match=message):
        plan_of(Recipe.model_validate(asked))


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ({"family": "bernoulli", "shape": [3], "strangers": {}}, "strangers belong to a single class"),
        ({"family": "categorical", "shape": [8, 8], "strangers": {}}, "strangers belong to a single class"),
        ({"family": "categorical", "strangers": {"share": 0}}, "share"),
        ({"family": "categorical", "strangers": {"share": 1.5}}, "share"),
        ({"family": "categorical", "strangers": {"share": "some"}}, "share"),
        ({"family": "categorical", "strangers": {"shares": 0.3}}, "shares"),
    ],
)
def test_sections_that_say_nothing_sensible(variable: dict[str, object], message: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(json.dumps(document(variables__y=variable)))  # JSON is YAML
    with pytest.raises(RecipeError, match=message):
        read_recipe(tmp_path / "r.yaml")


def test_labels_of_another_kind_have_no_strangers() -> None:
    arrays: dict[str, Any] = {"x": np.random.default_rng(0).random((40, 3)), "y": np.linspace(0.0, 1.0, 40)}
    with pytest.raises(SemivaeError, match="y of data in memory is no single class"):
        semivae.train(toy_recipe(source={"name": "memory"}), dataset=arrays, device="cpu")


def test_an_estimator_of_scikit_learn_takes_strangers_that_have_no_label() -> None:
    arrays, _ = toy()
    with pytest.raises(RecipeError, match="marks them as having no label"):
        SemiVAEClassifier(recipe=toy_recipe(), steps=2).fit(arrays["x"], arrays["y"])
    centres = np.array([[0.0, 6.0], [6.0, 0.0], [-6.0, -6.0]])
    kinds = np.arange(300) % 3
    x = centres[kinds] + np.random.default_rng(0).normal(size=(300, 2))
    y = np.where((np.arange(300) < 90) & (kinds < 2), kinds, -1)
    model = SemiVAEClassifier(strangers=0.45, **QUICK).fit(x, y)
    assert model.classes_.tolist() == [0, 1] and model.predict_proba(x).shape == (300, 2)
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1.0)
    assert roc_auc_score(kinds == 2, model.stranger_proba(x)) > 0.95
    assert model.score(x[kinds < 2], kinds[kinds < 2]) > 0.95
    prior = SemiVAEClassifier(strangers=0.45, steps=2, class_prior=[0.8, 0.2], random_state=0).fit(x, y)
    assert prior.predict_proba(x[:3]).shape == (3, 2) and np.isfinite(prior.stranger_proba(x)).all()
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.stranger_proba(x), model.stranger_proba(x))
    with pytest.raises(ValueError, match="y gives each one a label"):
        SemiVAEClassifier(strangers=0.2, steps=2).fit(x[kinds < 2], kinds[kinds < 2])
    with pytest.raises(ValueError, match=r"knows no strangers; fit with strangers="):
        SemiVAEClassifier(steps=2, random_state=0).fit(x, y).stranger_proba(x)


# Commands ------------------------------------------------------------------------------------------------------------


def command(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe, a run of it by the command, and test digits as files, those of class k called kN.png."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("strangers")
    steps = {"steps": 80, "validate_every": 40, "learning_rate": 1.5e-2, "ema_decay": 0.98, "twin": True}
    views = {**PAIR, "weight": {"weight": 1, "start": 0.1, "full": 0.5}}
    asked = document(training=steps, encoder__y__net={"name": "mlp", "hidden": [128]}, streams__unlabelled__views=views)
    (folder / "r.yaml").write_text(json.dumps(asked))
    command("train", folder / "r.yaml", "--out", folder / "run", "--device", "cpu")
    (folder / "images").mkdir()
    test = read_digits().test
    for row, (x, y) in enumerate(zip(test["x"][:150, 0], test["y"][:150].tolist(), strict=True)):
        Image.fromarray(x.numpy()).save(folder / "images" / f"{y}_{row}.png")
    return folder


@pytest.fixture(scope="module")
def evaluated(folder: Path) -> tuple[dict[str, Any], str]:
    """What evaluate reports, and what it shows."""
    return json.loads(command("evaluate", folder / "run", "--json")), command("evaluate", folder / "run")


def test_evaluate_tells_strangers_from_errors(evaluated: tuple[dict[str, Any], str]) -> None:
    report, shown = evaluated
    assert report["kind"] == "open_classes" and report["last"]["strangers"] == 96
    assert report["last"]["strangers_auroc"] > 0.9 and report["last"]["error"] < 0.12
    assert list(report["last"]["per_class"]) == list("01234567")
    assert "Strangers: 96 of 500 images; errors are of the other 404" in shown and "AUROC" in shown


def test_sets_promise_something_of_known_classes_and_say_what_becomes_of_strangers(
    folder: Path, evaluated: tuple[dict[str, Any], str]
) -> None:
    sets = evaluated[0]["sets"]
    assert sum(sets["sizes"]) == 404, "known test digits alone"
    low, high = sets["expected_interval"]
    assert low - 0.02 <= sets["covered"] <= high + 0.02
    other = sets["beyond"]
    assert other["count"] == 96 and 0.0 <= other["alone"] <= other["named"] and other["named"] + other["missed"] <= 1.0
    assert other["named"] > 0.5
    shown = " ".join(evaluated[1].split())
    assert "strangers, of which nothing is promised: of 96 sets" in shown and "of 404 images" in shown
    said = CliRunner().invoke(app, ["predict", str(folder / "run"), str(folder / "images"), "--coverage", "0.9"])
    assert said.exit_code == 0 and "strangers are promised nothing" in " ".join(said.output.split())
    refused = command("predict", folder / "run", folder / "images", "--at-most-error", "0.2", code=1)
    assert "withheld answers promise an error" in " ".join(refused.split())
    assert "withheld answers" in command("evaluate", folder / "run", "--at-most-error", "0.2", code=1)


def test_sets_of_the_last_class() -> None:
    sets = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 0], [0, 0, 0]], dtype=bool)
    assert beyond(sets) == {"count": 4, "named": 0.5, "alone": 0.25, "missed": 0.25, "mean_size": 1.25}


def test_exports_and_cards_tell_of_strangers(folder: Path) -> None:
    run = semivae.load(folder / "run")
    run.export(folder / "m.safetensors", coverage=0.9)
    with safe_open(folder / "m.safetensors", "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["strangers"]) == {"class": "strangers", "share": 0.25}
    assert json.loads(metadata["classes"])[-1] == "strangers"
    assert json.loads(metadata["sets"])["of"].startswith("examples of known classes")
    text = card(run)
    assert "AUROC of strangers" in text and "answered as `strangers`" in text and "type: roc_auc" in text


def test_predict_says_who_is_probably_a_stranger(folder: Path) -> None:
    lines = command("predict", folder / "run", folder / "images").splitlines()
    header, rows = lines[0].split(","), [line.split(",") for line in lines[1:]]
    assert header[-1] == "prob_strangers" and len(rows) == 150
    right = [row[1] == (row[0][0] if row[0][0] < "8" else "strangers") for row in rows]
    assert np.mean(right) > 0.8
    sets = command("predict", folder / "run", folder / "images", "--coverage", "0.9").splitlines()
    assert sets[0].split(",")[2] == "set" and any(row.split(",")[2].endswith("|strangers") for row in sets[1:])


def test_strangers_are_listed_drawn_and_copied_in_groups(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("strangers", folder / "run", folder / "images", "--groups", 2)
    out = command(*words, "--out", folder / "s.csv", "--sheet", folder / "s.png", "--copy-to", folder / "new")
    assert "examples are probably of no class that the run knows" in out
    rows = [line.split(",") for line in (folder / "s.csv").read_text().splitlines()[1:]]
    assert np.mean([row[0][0] in "89" for row in rows]) > 0.7
    copied = {path.name: path.parent.name for path in (folder / "new").rglob("*.png")}
    assert copied == {name: f"group-{group}" for name, group, _ in rows}
    assert (folder / "s.png").stat().st_size > 100
    report = json.loads(command(*words, "--json"))
    assert sum(report["groups"]) == report["count"] == len(rows) and report["examples"] == 150
    many = command("strangers", folder / "run", folder / "images", "--groups", 149, code=1)
    assert "149 groups are asked for" in many
    found = semivae.load(folder / "run").strangers(folder / "images", 2)
    assert list(found.names) == [row[0] for row in rows] and found.sizes.tolist() == report["groups"]
    monkeypatch.setattr("semivae.data.inputs.pieces.PIECE", 40)
    assert json.loads(command(*words, "--json")) == report


def test_without_strangers_no_sheet_and_no_copies_are_reported(folder: Path, tmp_path: Path) -> None:
    found = semivae.load(folder / "run").strangers(folder / "images")
    known = [path for path in sorted((folder / "images").iterdir()) if path.name not in found.names]
    (tmp_path / "known").mkdir()
    for path in known[:12]:
        (tmp_path / "known" / path.name).write_bytes(path.read_bytes())
    asked = ("--sheet", tmp_path / "s.png", "--copy-to", tmp_path / "new", "--out", tmp_path / "s.csv", "--json")
    report = json.loads(command("strangers", folder / "run", tmp_path / "known", *asked))
    assert report["count"] == 0 and report["groups"] == []
    assert report["out"] == str(tmp_path / "s.csv") and "sheet" not in report and "copies" not in report
    assert (tmp_path / "s.csv").read_text() == "name,group,probability\n"
    assert not (tmp_path / "s.png").exists() and not (tmp_path / "new").exists()


def test_a_run_that_knows_no_strangers_says_so(tiny_run: semivae.Run) -> None:
    with pytest.raises(RunError, match="this run knows no strangers"):
        tiny_run.strangers(read_digits().test["x"][:4])


def test_show_check_and_the_page_know_of_strangers(folder: Path) -> None:
    assert "9 classes with strangers, 25%" in command("show", folder / "r.yaml")
    assert "ok" in command("check", folder / "r.yaml", "--data-root", folder)
    command("report", folder / "run", "--out", folder / "page.html")
    page = (folder / "page.html").read_text()
    assert "AUROC of strangers" in page and "strangers" in page
    assert json.loads(command("diagnose", folder / "run", "--json"))


def test_novelty_of_the_encoder_is_the_probability_of_a_stranger(folder: Path) -> None:
    run = semivae.load(folder / "run")
    images = read_digits().test["x"][:30]
    found = run.novelty(images).scores.encoder
    assert found is not None
    assert np.allclose(found, run.classifier().probabilities(images)[:, -1].numpy(), atol=1e-6)


def test_a_stopped_run_goes_on_with_the_share_that_it_estimated(folder: Path) -> None:
    asked = document(variables__y={"family": "categorical", "strangers": {"classes": [8, 9]}})
    (folder / "e.yaml").write_text(json.dumps(asked))
    words = ("train", folder / "e.yaml", "--out", folder / "estimated", "--device", "cpu")
    out = CliRunner().invoke(app, [str(word) for word in words]).output
    assert "of the unlabelled examples are of no class of y" in out
    command(*words, "--resume")
    strangers = semivae.load(folder / "estimated").recipe.variables["y"].strangers
    assert strangers is not None and isinstance(strangers.share, float)
