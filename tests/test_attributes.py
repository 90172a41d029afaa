"""Attributes as data: splits, streams, values that users give, and what readers return."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from semivae.data.attribute_splits import stratified
from semivae.data.dataset import Dataset, LabelInfo
from semivae.data.readers.arrays import dataset_of_arrays
from semivae.data.readers.digit_pairs import pair_digits
from semivae.data.splits import Split, load_split, save_split
from semivae.data.streams import AttributeStream
from semivae.data.unpaired import Unpaired
from semivae.errors import DataError, RecipeError, RunError
from semivae.recipe import read_recipe
from semivae.recipe.schema import (
    ArraysSource,
    DigitPairsSource,
    FrequenciesSpec,
    ProbabilitiesSpec,
    Recipe,
    SplitSpec,
    StreamSpec,
    VariableSpec,
)
from semivae.scenario.build import build_scenario
from semivae.scenario.plan import plan_of
from semivae.tasks.kinds import ATTRIBUTES
from semivae.tasks.splitting import make_split
from semivae.tasks.user_values import UserValue, attribute_values
from semivae.variables import VOID

CPU = torch.device("cpu")
NAMES = ("smiling", "hat", "glasses")


# Splits --------------------------------------------------------------------------------------------------------------


def people(count: int = 400, **changes: Any) -> Dataset:
    """Half smile, one in twenty has a hat, three wear glasses; of some rows one attribute is unknown."""
    generator = torch.Generator().manual_seed(0)
    y = (torch.rand(count, 3, generator=generator) < torch.tensor([0.5, 0.05, 0.0])).to(torch.int8)
    y[torch.tensor([3, 77, 200]), 2] = 1
    y[::9, 0] = VOID
    x = torch.randint(0, 256, (count, 1, 4, 4), generator=generator, dtype=torch.uint8)
    arrays = {"x": x, "y": y}
    return Dataset("people", {"y": LabelInfo("attributes", NAMES)}, arrays, arrays, **changes)


def test_labelled_examples_have_every_attribute() -> None:
    """A random choice of 20 has glasses in one of seven cases."""
    data = people()
    for seed in range(5):
        split = make_split(data, SplitSpec(labelled=20, validation=100, seed=seed))
        labelled, checked = (data.train["y"][rows] == 1 for rows in (split.labelled, split.validation))
        assert labelled[:, 2].sum() >= 1 and labelled[:, 1].sum() >= 1
        assert 8 <= labelled[:, 0].sum() <= 10, "as frequent as in all: 0.45 of 20"
        assert abs(int(checked[:, 0].sum()) - 45) <= 2 and abs(int(checked[:, 1].sum()) - 5) <= 2
        assert (len(split.labelled), len(split.validation), len(split.unlabelled)) == (20, 100, 280)
        every = torch.cat([split.labelled, split.validation, split.unlabelled])
        assert sorted(every.tolist()) == list(range(400))


def test_a_split_by_attributes_is_the_same_for_everybody(tmp_path: Path) -> None:
    data, spec = people(), SplitSpec(labelled=20, validation=30)
    split = make_split(data, spec)
    assert make_split(people(), spec).digest == split.digest != make_split(data, SplitSpec(labelled=20, seed=1)).digest
    save_split(split, tmp_path / "split.json")
    assert torch.equal(load_split(tmp_path / "split.json", data).labelled, split.labelled)


def test_splits_keep_what_data_bring_for_validation() -> None:
    own = torch.tensor([3, 77, 200])  # all that wear glasses
    split = make_split(people(validation=own), SplitSpec(labelled=20))
    assert torch.equal(split.validation, own) and not torch.isin(split.labelled, own).any()
    with pytest.raises(DataError, match="has its own 3 examples for validation"):
        make_split(people(validation=own), SplitSpec(labelled=20, validation=5))


def test_what_a_split_by_attributes_refuses() -> None:
    with pytest.raises(DataError, match="an example has several attributes, so a ratio of classes has no meaning"):
        make_split(people(), SplitSpec.model_validate({"labelled": 20, "balance": {"ratio": 10}}))
    with pytest.raises(DataError, match="people has 400 to train on; ask for fewer"):
        make_split(people(), SplitSpec(labelled=401))
    assert len(make_split(people(), SplitSpec(labelled="all", validation=40)).labelled) == 360


def test_the_rarest_attribute_is_shared_out_first() -> None:
    """By hand: the one example with both goes where the rarer attribute lacks most."""
    has = np.array([[1, 0], [1, 1], [1, 0], [1, 0], [0, 0], [0, 0]], dtype=bool)
    assert stratified(has, (3, 3), at_least=1).tolist() == [1, 0, 0, 1, 0, 1]
    assert stratified(has, (1, 5)).tolist()[1] == 1, "a sixth of one example is less than what the others lack"
    assert stratified(has, (1, 5), at_least=1).tolist()[1] == 0
    assert np.bincount(stratified(has, (2, 0, 4))).tolist() == [2, 0, 4]


# Streams without images ----------------------------------------------------------------------------------------------


def alone(values: Any = None, data: Dataset | None = None, split: Split | None = None) -> AttributeStream:
    data = data or people()
    spec = StreamSpec(observe=("y",), batch=64, values=values)
    recipe: Any = SimpleNamespace(variables={"y": VariableSpec(family="bernoulli", shape=(3,))})
    split = split or make_split(data, SplitSpec(labelled=20))
    stream = ATTRIBUTES.unpaired(Unpaired("labels", spec, recipe, data, split, CPU, 0))
    assert isinstance(stream, AttributeStream)
    return stream


def test_rows_keep_together_and_unknown_entries_are_drawn_by_frequency() -> None:
    """Two rows, of which one lacks the first entry: it is drawn, here always as 1, for all that are known have it."""
    y = torch.tensor([[1, 0, 1], [VOID, 1, 0]], dtype=torch.int8).repeat(10, 1)
    arrays = {"x": torch.zeros(20, 1, 4, 4, dtype=torch.uint8), "y": y}
    stream = alone(data=Dataset("two", {"y": LabelInfo("attributes", NAMES)}, arrays, arrays))
    batch = stream.batch(0)["y"]
    assert batch.dtype == torch.float32 and {tuple(row) for row in batch.tolist()} == {(1, 0, 1), (1, 1, 0)}
    assert torch.equal(stream.batch(5)["y"], stream.batch(5)["y"]) and not torch.equal(stream.batch(5)["y"], batch)


def test_a_learned_prior_starts_at_the_frequencies_of_its_stream() -> None:
    content = recipe_with({"frequencies": {"smiling": 0.25, "hat": 0.0, "glasses": 0.75}})
    recipe, data = Recipe.model_validate({**content, "source": {"name": "digits"}}), people()
    made = build_scenario(recipe, data, make_split(data, SplitSpec(labelled=20)), CPU)
    prior = ATTRIBUTES.prior_frequencies(made.game.decoder["y"]({}))
    assert prior == pytest.approx((0.25, 0.001, 0.75), abs=1e-5), "and no logit is endless"
    fixed = recipe.model_copy(update={"decoder": {**recipe.decoder, "y": "uniform"}})
    made = build_scenario(fixed, data, make_split(data, SplitSpec(labelled=20)), CPU)
    assert ATTRIBUTES.prior_frequencies(made.game.decoder["y"]({})) == (0.5, 0.5, 0.5)


def test_frequencies_alone_draw_each_attribute_by_itself() -> None:
    """6,400 draws: each mean within 4 standard errors, so it fails by chance once in 5,000 times."""
    stream = alone(FrequenciesSpec(frequencies={"glasses": 0.9, "smiling": 0.2, "hat": 0.0}))
    drawn = torch.cat([stream.batch(step)["y"] for step in range(100)])
    assert drawn.mean(dim=0).tolist() == pytest.approx([0.2, 0.0, 0.9], abs=0.02)
    together = (drawn[:, 0] * drawn[:, 2]).mean().item()
    assert together == pytest.approx(0.18, abs=0.02)


def test_hidden_vectors_are_those_of_the_unlabelled_examples() -> None:
    data = people()
    split = make_split(data, SplitSpec(labelled=20))
    data.train["y"][split.labelled] = torch.tensor([0, 1, 1], dtype=torch.int8)
    assert alone("labelled", data, split).rows.unique(dim=0).tolist() == [[0, 1, 1]]
    hidden = alone("hidden", data, split)
    assert len(hidden.rows) == 380 and hidden.frequencies[1] < 0.2 and (hidden.rows == VOID).any()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (FrequenciesSpec(frequencies={"hat": 0.1}), "frequencies lacks glasses, smiling; name each attribute of y"),
        (FrequenciesSpec(frequencies={**dict.fromkeys(NAMES, 0.1), "beard": 0.1}), "names beard, which the data lack"),
        (ProbabilitiesSpec(probabilities=(0.5, 0.5)), "y is a vector of attributes; write frequencies"),
        ("uniform", "y is a vector of attributes; write frequencies"),
    ],
)
def test_what_streams_of_attributes_refuse(values: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        alone(values)


def test_an_attribute_that_no_example_shows_has_no_frequency() -> None:
    data = people()
    data.train["y"][:, 1] = VOID
    with pytest.raises(DataError, match="no example shows hat; write frequencies of all attributes"):
        alone(data=data)


def recipe_with(values: Any, **streams: Any) -> dict[str, Any]:
    net = {"name": "mlp", "hidden": [8]}
    return {
        "source": {"name": "digit_pairs", "of": "digits"},
        "split": {"labelled": 20},
        "variables": {"x": {"family": "bernoulli"}, "y": {"family": "bernoulli"}},
        "decoder": {"y": "learned", "x": {"given": ["y"], "net": net}},
        "encoder": {"y": {"given": ["x"], "net": net}},
        "streams": {"labelled": {"observe": ["x", "y"]}, "labels": {"observe": ["y"], "values": values}, **streams},
        "training": {"steps": 2},
    }


def test_recipes_say_where_attributes_come_from(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(json.dumps(recipe_with(None)))  # JSON is YAML
    for values in ("labelled", "hidden", '{frequencies: {"0": 0.2}}', "{file: y.npy}"):
        read_recipe(path, [f"streams.labels.values={values}"])
    with pytest.raises(RecipeError, match="y is a vector of attributes; write frequencies, labelled, hidden or a file"):
        read_recipe(path, ["streams.labels.values=uniform"])
    with pytest.raises(RecipeError, match="frequencies are of attributes, a bernoulli vector"):
        read_recipe(path, ['streams.labels.values={frequencies: {"0": 0.2}}', "variables.y.family=categorical"])
    with pytest.raises(RecipeError, match="a box of another image may hide what has an attribute"):
        read = read_recipe(path, ["views={w: {noise: 0.1}}", "streams.labelled.mixup=null"])
        views = {"weak": "w", "strong": "w", "cutmix": 0.5}
        streams = {**read.streams, "unlabelled": StreamSpec.model_validate({"observe": ["x"], "views": views})}
        plan_of(read.model_copy(update={"streams": streams}))


# Values that users give ----------------------------------------------------------------------------------------------


def given(value: Any, count: int = 2, names: tuple[str, ...] = NAMES) -> Tensor:
    variable = VariableSpec(family="bernoulli", shape=(len(NAMES),))
    return attribute_values(UserValue("y", value, count, variable, names))


@pytest.mark.parametrize(
    ("value", "vector"),
    [
        ("hat", [0, 1, 0]),
        (" hat , smiling", [1, 1, 0]),
        (["hat", "smiling"], [1, 1, 0]),
        ("", [0, 0, 0]),
        ("hat,?", [VOID, 1, VOID]),
        ("?,!hat", [VOID, 0, VOID]),
        ("?", [VOID, VOID, VOID]),
        ([0, 1, VOID], [0, 1, VOID]),
        (1, [1, 1, 1]),
        ("1", [1, 1, 1]),
    ],
)
def test_attributes_by_name_or_number(value: Any, vector: list[int]) -> None:
    assert given(value).tolist() == [vector, vector]


def test_one_vector_for_each_sample() -> None:
    assert given(np.array([[1, 0, 0], [0, 0, 1]])).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_a_name_may_look_like_a_number_or_a_sign() -> None:
    assert given("1", names=("1", "2", "!x")).tolist()[0] == [1, 0, 0]
    assert given("!x", names=("1", "2", "!x")).tolist()[0] == [0, 0, 1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("beard", "y: attribute 'beard' is unknown; the attributes are smiling, hat, glasses; !NAME says"),
        ("!beard,hat", "attribute 'beard' is unknown"),
        ("!smilling", "attribute 'smilling' is unknown; did you mean smiling\\?"),
        ([0, 2, 0], "attributes are 0, 1, or -1 where they are unknown"),
        ([0, -0.5, 0], "attributes are 0, 1, or -1 where they are unknown"),
        ([0, 1], "the value has shape"),
    ],
)
def test_values_that_are_no_attributes(value: Any, message: str) -> None:
    with pytest.raises(RunError, match=message):
        given(value)


# Data ----------------------------------------------------------------------------------------------------------------


def arrays(**changes: Any) -> dict[str, NDArray[Any]]:
    y = np.array([[1, 0, -1], [0, 1, 0], [-1, -1, -1], [0, 0, 1]] * 5)
    found = {"x": np.arange(20 * 16, dtype=np.uint8).reshape(20, 4, 4), "y": y, "y_names": np.array(NAMES)}
    return {name: value for name, value in {**found, **changes}.items() if value is not None}


def read(**changes: Any) -> Dataset:
    return dataset_of_arrays(arrays(**changes), ArraysSource(name="arrays", path="a.npz"), Path("a.npz"))


def test_a_y_of_several_columns_is_a_vector_of_attributes() -> None:
    data = read()
    assert data.labels == {"y": LabelInfo("attributes", NAMES)} and data.train["y"].dtype == torch.int8
    assert len(data.train["y"]) == 12 and len(data.test["y"]) == 3, "a fifth of the fifteen of which any is known"
    assert len(data.unlabelled["x"]) == 5, "nothing is known of these"
    for part in (data.train, data.test):
        for x, y in zip(part["x"], part["y"], strict=True):
            assert y.tolist() == arrays()["y"][int(x[0, 0, 0]) // 16].tolist(), "rows stay together"


def test_rows_with_one_attribute_each_may_be_attributes() -> None:
    y = np.eye(3, dtype=int)[[0, 1, 2, 0] * 5]
    source = ArraysSource(name="arrays", path="a.npz", kinds={"y": "attributes"})
    assert dataset_of_arrays(arrays(y=y), source, Path("a.npz")).labels["y"].kind == "attributes"


def test_a_test_part_and_further_images_may_be_given() -> None:
    more = {"x_test": arrays()["x"][:3], "y_test": arrays()["y"][:3].astype(float), "x_unlabelled": arrays()["x"][:2]}
    more["y_test"][0, 2] = np.nan
    data = read(**more, y_names=None)
    assert data.classes == ("0", "1", "2") and len(data.train["y"]) == 15 and len(data.unlabelled["x"]) == 7
    assert data.test["y"].tolist() == [[1, 0, VOID], [0, 1, 0]], "of the third nothing is known"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.full((20, 3), 2)}, "a.npz: y holds 2; an attribute is 0 or 1, and -1 or NaN where it is unknown"),
        ({"y": np.full((20, 3), 0.25)}, "If y holds the probabilities or ranks of classes"),
        ({"y": np.full((20, 3), "no")}, "one class name or number for each example is expected"),
        ({"y": np.eye(4, dtype=int)[[0, 1, 2, 3] * 5]}, "of one-hot rows, take .argmax.axis=1.; if rows .*attributes"),
        ({"y": np.tile([1, 1, 0], (19, 1))}, "y has 19 labels for 20 examples; give one for each"),
        ({"y": np.full((20, 3), -1)}, "y shows no attribute of any example"),
        ({"y_names": np.array(["hat", "hat", "cap"])}, "y_names holds 2 different names for 3 attributes"),
        ({"x_test": np.zeros((2, 4, 4), np.uint8), "y_test": np.zeros((2, 2), int)}, "y_test is .2, 2., but"),
    ],
)
def test_arrays_that_are_no_attributes(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(**changes)


def test_attributes_that_are_never_seen_are_warned_of() -> None:
    y = arrays()["y"]
    y[:, 0] = 1
    y[y[:, 1] == 1, 1] = 0
    found = [warning for warning in read(y=y).warnings if "not learnt" in warning]
    assert found == [
        "a.npz: y: no example to train on has hat, so it is not learnt",
        "a.npz: y: no example to train on lacks smiling, so it is not learnt",
    ]


def digits() -> Dataset:
    """Images that show their own class as their grey value."""
    y = torch.arange(10).repeat(4)
    x = (y.to(torch.uint8) * 20)[:, None, None, None].expand(-1, 1, 8, 8).contiguous()
    labels = {"y": LabelInfo("classes", tuple(str(digit) for digit in range(10)))}
    return Dataset("digits", labels, {"x": x, "y": y}, {"x": x[:21], "y": y[:21]})


@pytest.mark.parametrize("size", [None, 4])
def test_pairs_show_which_digits_occur(size: int | None) -> None:
    data = pair_digits(digits(), DigitPairsSource(name="digit_pairs", of="digits", size=size))
    side = size or 8
    assert data.shape == (1, side, 2 * side) and (len(data.train["x"]), len(data.test["x"])) == (20, 10)
    for part in (data.train, data.test):
        for x, y, left, right in zip(*(part[name] for name in ("x", "y", "left", "right")), strict=True):
            assert x[0, :, :side].unique().tolist() == [20 * left] and x[0, :, side:].unique().tolist() == [20 * right]
            assert torch.nonzero(y).flatten().tolist() == sorted({int(left), int(right)})
    counts = torch.bincount(torch.cat([data.train["left"], data.train["right"]]))
    assert counts.tolist() == [4] * 10, "every digit is used once"


def test_pairs_are_the_same_for_everybody() -> None:
    source = DigitPairsSource(name="digit_pairs", of="digits")
    again = pair_digits(digits(), source)
    assert pair_digits(digits(), source).digest == again.digest
    other = pair_digits(digits(), source.model_copy(update={"seed": 1}))
    assert other.digest != again.digest
