"""Evidence in recipes: roles, tables by the names of classes, simulated labels, mistakes, and a whole training."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

import semivae
from semivae.data.dataset import Dataset, LabelInfo
from semivae.data.simulation import simulate
from semivae.errors import DataError, RecipeError
from semivae.game.distributions import categorical_of
from semivae.game.tables import TableConditional
from semivae.recipe import change_recipe, dump_recipe, read_recipe
from semivae.recipe.schema import BuiltInSource, Recipe, TableSpec
from semivae.recipe.simulated import SimulatedLabel
from semivae.scenario.build import build_players, build_scenario, resolve
from semivae.scenario.plan import plan_of, roles_of, twin_plan
from semivae.tasks.kinds import CLASSES
from semivae.tasks.splitting import make_split
from semivae.variables import VOID

CPU = torch.device("cpu")
NET = {"name": "mlp", "hidden": [32]}
GROUPS = {"few": ["0", "1", 2], "many": ["3", "4", "5", "6", "7", "8", "9"]}  # YAML reads 2 as a number


def recipe(**changes: Any) -> Recipe:
    """Digits with coarse classes c, an annotator a, and sets of candidates m."""
    content = {
        "source": {
            "name": "digits",
            "simulate": {"c": {"groups": GROUPS}, "a": {"accuracy": 0.7}, "m": {"candidates": 2}},
        },
        "split": {"labelled": 20, "validation": 100, "also_labelled": {"c": 100, "a": 300, "m": 50}},
        "variables": {
            "x": {"family": "bernoulli", "complete_with": "mean"},
            "y": {"family": "categorical"},
            "c": {"family": "categorical"},
            "a": {"family": "categorical"},
            "m": {"family": "bernoulli"},
            "h": {"family": "bernoulli", "shape": [4]},
        },
        "decoder": {
            "y": "uniform",
            "c": {"given": ["y"], "groups": GROUPS},
            "a": {"given": ["y"], "confusion": {"start": 0.8}},
            "m": {"given": ["y"], "candidates": True},
            "h": "uniform",
            "x": {"given": ["y", "h"], "net": NET},
        },
        "encoder": {"y": {"given": ["x"], "net": NET}, "h": {"given": ["x", "y"], "net": NET}},
        "streams": {
            "labelled": {"observe": ["x", "y", "a"], "batch": 20},
            "coarse": {"observe": ["x", "c"], "batch": 32},
            "crowd": {"observe": ["x", "a", "m"], "batch": 32},
            "unlabelled": {"observe": ["x"], "batch": 32},
            "labels": {"observe": ["y"], "batch": 32, "values": "uniform", "loss_weights": {"y": 0}},
        },
        "training": {"steps": 2, "learning_rate": 5e-3},
    }
    return Recipe.model_validate(content | changes)


def digits() -> Dataset:
    from semivae.data.sources import load_source

    return load_source(recipe().source, Path("data"))


# Roles and plans -----------------------------------------------------------------------------------------------------


def test_evidence_is_neither_a_label_nor_a_code() -> None:
    roles = roles_of(recipe())
    assert (roles.evidence, list(roles.labels), roles.codes) == (("c", "a", "m"), ["y"], ("h",))


def test_a_label_that_only_evidence_tells_is_one() -> None:
    streams = {name: spec for name, spec in recipe().streams.items() if name != "labelled"}
    roles = roles_of(recipe(streams=streams))
    assert dict(roles.labels) == {"y": CLASSES} and roles.image_label == "y"


def test_plan_of_a_recipe_with_evidence() -> None:
    found = {(lesson.stream, lesson.learner): lesson for lesson in plan_of(recipe()).lessons}
    assert found["labelled", "decoder"].scores == ("a", "x") and found["labelled", "decoder"].evidence == ()
    assert found["coarse", "decoder"].draws == ("y", "h") and found["coarse", "decoder"].evidence == ("c",)
    assert found["crowd", "encoder"].evidence == ("a", "m") and found["crowd", "encoder"].scores == ("y",)


def test_the_twin_learns_from_evidence_too() -> None:
    """It is then the forward correction, and with annotators the model of Raykar et al. (2010)."""
    plan = twin_plan(recipe())
    assert [(lesson.stream, lesson.learner, lesson.scores, lesson.evidence) for lesson in plan.lessons] == [
        ("labelled", "decoder", ("a",), ()),
        ("crowd", "decoder", ("a",), ("a", "m")),
        ("labelled", "encoder", ("y",), ()),
        ("coarse", "encoder", ("y",), ("c",)),
        ("crowd", "encoder", ("y",), ("a", "m")),
    ]
    assert all(lesson.draws in ((), ("y",)) for lesson in plan.lessons)


def test_what_is_shown_and_says_nothing_of_a_label_is_refused() -> None:
    decoder: dict[str, Any] = {**recipe().decoder, "c": "uniform"}
    with pytest.raises(RecipeError, match=r"streams.coarse.observe: the encoder does not infer c, and in the decoder"):
        plan_of(recipe(decoder=decoder))
    decoder["c"] = {"given": ["y", "h"], "net": NET}
    decoder = {name: decoder[name] for name in ("y", "a", "m", "h", "c", "x")}
    with pytest.raises(RecipeError, match=r"give it \{given: \[y\]\} and no children in the decoder"):
        plan_of(recipe(decoder=decoder))


# Tables --------------------------------------------------------------------------------------------------------------


def probabilities(made: Recipe, name: str) -> torch.Tensor:
    conditional = build_players(made)[0][name]
    assert isinstance(conditional, TableConditional)
    return categorical_of(conditional({"y": torch.arange(10)})).probs


def test_groups_become_tables_by_the_names_of_the_data() -> None:
    made = resolve(recipe(), digits())
    table = made.decoder["c"]
    assert (
        isinstance(table, TableSpec) and table.groups is None and table.table == ((1.0, 0.0),) * 3 + ((0.0, 1.0),) * 7
    )
    assert resolve(made, digits()) == made
    assert change_recipe(made, {}) == made and "groups" not in dump_recipe(made).split("decoder:")[1]
    torch.testing.assert_close(probabilities(made, "c")[:, 0], (torch.arange(10) < 3).float())
    torch.testing.assert_close(probabilities(made, "a"), 0.8 * torch.eye(10) + 0.2 / 9 * (1 - torch.eye(10)))


def test_a_table_that_is_learnt_starts_near_what_it_says() -> None:
    decoder = {**recipe().decoder, "c": {"given": ["y"], "groups": GROUPS, "learn": True}}
    found = probabilities(resolve(recipe(decoder=decoder), digits()), "c").detach()
    assert 0.001 < float(found.min()) < 0.01 and float(found.max()) > 0.99
    rows = [[3.0, 1.0]] * 10
    given = resolve(recipe(decoder={**recipe().decoder, "c": {"given": ["y"], "table": rows}}), digits())
    torch.testing.assert_close(probabilities(given, "c"), torch.tensor([[0.75, 0.25]] * 10))


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (
            {"groups": {"few": ["0", "1"], "many": ["3"]}},
            "are in no group; every class of y",
        ),
        ({"groups": {**GROUPS, "many": ["eleven"]}}, "eleven is no class of y"),
        ({"groups": {"low": GROUPS["few"], "high": GROUPS["many"]}}, "has low, high, but digits has few, many"),
        ({"table": [[1.0, 0.0]] * 9}, "table is 9 x 2, but y has 10 classes and c 2"),
        ({"table": [[1.0, 0.0, 0.0]] * 10}, "table is 10 x 3, but y has 10 classes and c 2"),
        ({"confusion": {}}, "c holds few, many, which are no classes of y"),
    ],
)
def test_tables_that_do_not_fit_the_data(factor: dict[str, Any], message: str) -> None:
    decoder = {**recipe().decoder, "c": {"given": ["y"], **factor}}
    with pytest.raises((DataError, RecipeError), match=message):
        build_players(resolve(recipe(decoder=decoder), digits()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder.c": {"given": ["y"], "learn": True}}, "one of table, groups, confusion and candidates, has none"),
        ({"decoder.c": {"given": ["y"], "groups": GROUPS, "candidates": True}}, "has groups and candidates"),
        ({"decoder.a": {"given": ["y"], "confusion": {}, "learn": True}}, "confusion always learns; remove learn"),
        ({"decoder.m": {"given": ["y"], "candidates": True, "learn": True}}, "candidates has nothing to learn"),
        ({"decoder.c": {"given": ["y"], "table": [[1, 0], [1]]}}, "all rows need the same length"),
        ({"decoder.c": {"given": ["y"], "table": [[1, 0], [0, 0]]}}, "a probability above 0"),
        (
            {"decoder.c": {"given": ["h"], "groups": GROUPS}},
            "a table is given a single class, h is none",
        ),
        ({"decoder.c": {"given": ["y", "h"], "groups": GROUPS}}, "given"),
        ({"decoder.m": {"given": ["y"], "confusion": {}}}, "such a table is of a categorical variable, m is bernoulli"),
        ({"decoder.c": {"given": ["y"], "candidates": True}}, "a set of candidates is of a bernoulli variable"),
        (
            {"variables.y.classes": 10, "decoder.c": {"given": ["y"], "table": [[1, 0]] * 9}},
            "9 rows for 10 classes",
        ),
        (
            {"variables.c.classes": 2, "decoder.c": {"given": ["y"], "table": [[1, 0, 0]] * 10}},
            "3 columns for 2",
        ),
        ({"variables.c.classes": 2, "variables.y.classes": 10, "decoder.c": {"given": ["y"], "confusion": {}}}, "same"),
        ({"training.objective": "elbo"}, "the lower bound takes no candidates, such as m"),
        ({"source.simulate.y": {"accuracy": 0.5}}, "y is what data call their own"),
        ({"source.simulate.b": {"accuracy": 0.5, "candidates": 1}}, "has accuracy and candidates"),
        ({"source.simulate.b": {"candidates": 1, "wrong": "next"}}, "only a label with an accuracy can be wrong"),
    ],
)
def test_mistakes_that_a_recipe_shows_by_itself(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        change_recipe(recipe(), changes)


# Simulated labels ----------------------------------------------------------------------------------------------------


def flat(count: int = 4000) -> Dataset:
    sample = {"x": torch.zeros(count, 1, dtype=torch.uint8), "y": torch.arange(count) % 5}
    return Dataset("flat", {"y": LabelInfo("classes", tuple("abcde"))}, sample, {k: v[:50] for k, v in sample.items()})


def made_of(**labels: dict[str, Any]) -> Dataset:
    return simulate(flat(), {name: SimulatedLabel.model_validate(spec) for name, spec in labels.items()})


def test_simulated_annotators_are_as_often_right_as_declared() -> None:
    """Of 4,000, the share that is right has a deviation of 0.0077; five of them have a chance of 6e-7."""
    data = made_of(a={"accuracy": 0.6}, b={"accuracy": 0.6, "wrong": "next"}, d={"accuracy": 0.6, "seed": 1})
    y = data.train["y"]
    for name in "abd":
        assert abs(float((data.train[name] == y).float().mean()) - 0.6) < 0.039, name
    wrong = data.train["a"] != y
    offsets = torch.bincount((data.train["a"] - y)[wrong] % 5, minlength=5)
    assert offsets[0] == 0 and offsets[1:].min() > 320, "all wrong classes alike: 400 each, deviation 17"
    wrong = data.train["b"] != y
    assert torch.equal(data.train["b"][wrong], (y[wrong] + 1) % 5)
    assert not torch.equal(data.train["a"], data.train["d"])
    assert torch.equal(data.train["a"], made_of(a={"accuracy": 0.6}).train["a"]), "the same again"
    assert not torch.equal(data.test["a"], data.train["a"][:50]), "test examples have errors of their own"
    assert data.labels["a"].classes == data.classes


def test_simulated_candidates_hold_the_right_class_and_others_evenly() -> None:
    data = made_of(m={"candidates": 2})
    sets, y = data.train["m"], data.train["y"]
    assert (sets.sum(1) == 3).all() and (sets.gather(1, y[:, None]) == 1).all() and sets.dtype == torch.int8
    others = sets.sum(0) - torch.bincount(y, minlength=5)
    assert (others - 1600).abs().max() < 150, "deviation 28"
    with pytest.raises(DataError, match=r"source.simulate.m: of 5 classes, fewer can be wrong candidates"):
        made_of(m={"candidates": 5})


def test_each_example_has_one_of_some_labels() -> None:
    spec = {"accuracy": 0.9, "one_of": "crowd"}
    data = made_of(a=spec, b=spec, d=spec, e={"accuracy": 0.9})
    seen = torch.stack([data.train[name] != VOID for name in "abd"])
    assert (seen.sum(0) == 1).all() and (data.train["e"] != VOID).all()
    assert (seen.sum(1) - 4000 / 3).abs().max() < 160, "deviation 30"


def test_simulated_groups_name_every_class_once() -> None:
    data = made_of(c={"groups": {"vowels": ["a", "e"], "others": ["b", "c", "d"]}})
    assert torch.equal(data.train["c"], torch.tensor([0, 1, 1, 1, 0])[data.train["y"]])
    for groups, message in (({"v": ["a"], "w": ["z"]}, "z is no class"), ({"v": ["a"], "w": ["b"]}, "hold 2 of 5")):
        with pytest.raises(DataError, match=message):
            made_of(c={"groups": groups})


# Trainings -----------------------------------------------------------------------------------------------------------


def test_no_label_at_all_may_be_shown() -> None:
    data = digits()
    spec = recipe().split.model_copy(update={"labelled": 0})
    split = make_split(data, spec)
    assert len(split.labelled) == 0 and len(split.validation) == 100 and len(split.also_labelled["a"]) == 300
    with pytest.raises(DataError, match=r"streams\.labelled: no training example shows y; ask for some in split"):
        build_scenario(recipe(split=spec), data, split, CPU)


def test_a_step_of_all_kinds_of_evidence_at_once() -> None:
    data = digits()
    made = build_scenario(recipe(), data, make_split(data, recipe().split), CPU)
    batches = {name: stream.batch(0) for name, stream in made.streams.items()}
    assert (batches["crowd"]["a"] == VOID).any() and (batches["crowd"]["m"][:, 0] == VOID).any(), "what is not shown"
    sizes = {name: stream.batch_size for name, stream in made.streams.items()}
    step = made.game.begin(batches, sizes, 0.0, torch.Generator().manual_seed(0))
    for learners in made.game.turns:
        losses = made.game.loss(learners, step)
        assert torch.isfinite(losses.total)
        losses.total.backward()


@pytest.mark.slow
def test_noisy_labels_alone_teach_the_label(tmp_path: Path) -> None:
    """Without any clean label: 900 labels, each of which names another class with probability 0.3."""
    streams = {
        "noisy": {"observe": ["x", "a"], "batch": 64, "loss_weights": {"x": 0, "y": {"encoder": 0.5}}},
        "unlabelled": {"observe": ["x"], "batch": 64},
        "labels": {"observe": ["y"], "batch": 32, "values": "uniform", "loss_weights": {"y": 0}},
    }
    base = recipe()
    kept = ("x", "y", "a", "h")
    noisy = recipe(
        source={"name": "digits", "simulate": {"a": {"accuracy": 0.7}}},
        split={"labelled": 0, "validation": 100, "also_labelled": {"a": 900}},
        variables={name: base.variables[name] for name in kept},
        decoder={name: base.decoder[name] for name in kept if name != "x"} | {"x": base.decoder["x"]},
        streams=streams,
        training={"steps": 200, "learning_rate": 5e-3, "validate_every": 100},
    )
    run = semivae.train(noisy, out=tmp_path / "run", device="cpu")
    assert run.evaluate(calibrate=False)["last"]["error"] < 0.15, "half of what the labels get wrong"
    table = categorical_of(run.decoder["a"]({"y": torch.arange(10)})).probs.detach()
    assert float(table.diagonal().mean()) == pytest.approx(0.7, abs=0.2), "without views some are learnt by heart"


CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


@pytest.mark.parametrize(
    ("name", "classes", "evidence"),
    [
        ("mnist_noisy", tuple("0123456789"), ("a",)),
        ("mnist_annotators", tuple("0123456789"), ("a1", "a2", "a3", "a4", "a5")),
        ("fashion_coarse", CLOTHES, ("c",)),
    ],
)
def test_shipped_recipes_play_on_data_of_their_shape(
    name: str, classes: tuple[str, ...], evidence: tuple[str, ...]
) -> None:
    shipped = read_recipe(name, {"split.validation": 10, "split.also_labelled": {each: 5 for each in evidence}})
    if shipped.split.labelled:
        shipped = change_recipe(shipped, {"split.labelled": 10})
    x = torch.randint(0, 256, (150, 1, 28, 28), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    sample = {"x": x, "y": torch.arange(150) % 10}
    assert isinstance(shipped.source, BuiltInSource)
    data = simulate(Dataset(name, {"y": LabelInfo("classes", classes)}, sample, sample), shipped.source.simulate)
    made = build_scenario(shipped, data, make_split(data, shipped.split), CPU)
    assert made.roles.evidence == evidence and made.roles.label == "y"
    batches = {stream: made.streams[stream].batch(0) for stream in made.streams}
    sizes = {stream: made.streams[stream].batch_size for stream in made.streams}
    step = made.game.begin(batches, sizes, 0.5, torch.Generator().manual_seed(0))
    assert all(torch.isfinite(made.game.loss(learners, step).total) for learners in made.game.turns)
    assert twin_plan(made.recipe).of("encoder")


def test_a_class_that_an_annotator_has_misspelt_is_not_taken_for_one_of_the_label() -> None:
    """Names are told, whatever their number: as many as the label has classes, more, or fewer."""
    read, names = digits(), tuple("0123456789")
    for written, wrong in (
        (names, None),
        ((*names[:9], "nien"), "a holds nien, which is no class of y"),
        ((*names, "ten"), "a holds ten, which is no class of y"),
        ((*names, "ten", "twelve"), "a holds ten, twelve, which are no classes of y"),
        (names[:9], "a knows 9 classes of y and lacks 9"),
        (names[::-1], "a has its classes in another order than y"),
    ):
        data = dataclasses.replace(read, labels={**read.labels, "a": LabelInfo("classes", written)})
        if wrong is None:
            resolve(recipe(), data)
        else:
            with pytest.raises(DataError, match=wrong + "; the classes of y are 0, 1, 2.*correct the data"):
                resolve(recipe(), data)
