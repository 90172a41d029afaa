"""Numbers as labels: their unit, unknown ones, splits, streams, the teacher, and what intervals promise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from semivae.data.dataset import Dataset, LabelInfo, number_label
from semivae.data.formats.number_labels import strata
from semivae.data.sources import load_source
from semivae.errors import DataError, RecipeError, RunError
from semivae.game.conditionals import NetworkConditional, Prior
from semivae.game.distributions import NormalNumbers, numbers_of
from semivae.game.families import FAMILIES
from semivae.game.network_inputs import network_inputs
from semivae.game.players import Player
from semivae.game.teaching.number_teacher import NumberTeacher, divergence, surest
from semivae.game.teaching.teacher import StreamViews
from semivae.nets import Mlp
from semivae.recipe import change_recipe
from semivae.recipe.schema import ArraysSource, Recipe, SplitSpec, TableSource, VariableSpec
from semivae.scenario.build import build_scenario, resolve
from semivae.scenario.shapes import build_variables
from semivae.tasks.kinds import NUMBERS
from semivae.tasks.number_intervals import Intervals
from semivae.tasks.number_scores import scores_of
from semivae.tasks.splitting import make_split
from semivae.variables import Variable

CPU = torch.device("cpu")
GAUSSIAN = FAMILIES["gaussian"]
YEAR = Variable("y", "gaussian", (), mean=(2000.0,), deviation=(10.0,))
PAIR = Variable("y", "gaussian", (2,), mean=(10.0, -1.0), deviation=(2.0, 0.5))
NAN = math.nan


# The unit ------------------------------------------------------------------------------------------------------------


def test_parameters_of_zero_are_the_units_mean_and_deviation() -> None:
    one = GAUSSIAN.distribution(YEAR, torch.zeros(3, 2))
    assert one.batch_shape == (3,) and one.event_shape == ()
    torch.testing.assert_close(one.mean, torch.full((3,), 2000.0))
    torch.testing.assert_close(one.stddev, torch.full((3,), 10.0), rtol=2e-3, atol=0.0)
    two = GAUSSIAN.distribution(PAIR, torch.zeros(3, 4))
    assert two.batch_shape == (3,) and two.event_shape == (2,)
    torch.testing.assert_close(two.mean, torch.tensor([[10.0, -1.0]] * 3))
    torch.testing.assert_close(two.stddev, torch.tensor([[2.0, 0.5]] * 3), rtol=2e-3, atol=0.0)


def test_a_unit_moves_and_stretches_the_standardised_distribution() -> None:
    parameters = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    plain = GAUSSIAN.distribution(Variable("y", "gaussian", (2,)), parameters)
    inside = GAUSSIAN.distribution(PAIR, parameters)
    value = torch.randn(5, 2, generator=torch.Generator().manual_seed(1))
    deviation = torch.tensor(PAIR.deviation)
    moved = torch.tensor(PAIR.mean) + deviation * value
    torch.testing.assert_close(inside.log_prob(moved), plain.log_prob(value) - deviation.log().sum())


def test_networks_see_standardised_numbers_and_the_mean_for_unknown_ones() -> None:
    images, vectors = network_inputs([YEAR], {"y": torch.tensor([2010.0, 1995.0, NAN])})
    assert images is None and vectors is not None
    torch.testing.assert_close(vectors, torch.tensor([[1.0], [-0.5], [0.0]]))
    _, vectors = network_inputs([PAIR], {"y": torch.tensor([[12.0, NAN]])})
    assert vectors is not None
    torch.testing.assert_close(vectors, torch.tensor([[1.0, 0.0]]))


@pytest.mark.parametrize(("variable", "count"), [(YEAR, 1), (PAIR, 2)])
def test_an_unknown_number_adds_nothing_to_scores_and_gradients(variable: Variable, count: int) -> None:
    parameters = torch.randn(4, 2 * count, generator=torch.Generator().manual_seed(0)).requires_grad_()
    distribution = GAUSSIAN.distribution(variable, parameters)
    value = distribution.mean.detach() + 1.0
    value[1] = NAN
    log_prob = distribution.log_prob(value)
    assert log_prob[1] == 0.0
    log_prob.sum().backward()
    assert parameters.grad is not None and parameters.grad.isfinite().all()
    assert (parameters.grad[1] == 0.0).all() and (parameters.grad[0] != 0.0).all()


def test_of_a_vector_the_known_numbers_count() -> None:
    distribution = GAUSSIAN.distribution(PAIR, torch.zeros(1, 4))
    whole = distribution.log_prob(torch.tensor([[11.0, -0.7]]))
    first, second = (distribution.log_prob(torch.tensor([row])) for row in ([11.0, NAN], [NAN, -0.7]))
    torch.testing.assert_close(first + second, whole)


def test_a_standard_prior_is_normal_in_the_unit() -> None:
    prior = Prior(YEAR)
    torch.manual_seed(0)
    drawn = prior.draw({}, 4000)
    assert drawn.shape == (4000,)
    assert abs(float(drawn.mean()) - 2000.0) < 4 * 10.0 / math.sqrt(4000)  # fails once in 16,000
    assert abs(float(drawn.std()) / 10.0 - 1.0) < 0.05
    expanded = prior.to_draw({}, 3)
    assert isinstance(expanded, NormalNumbers) and expanded.certainty.shape == (3,)


def test_certainty_is_the_explained_fraction_of_the_variance() -> None:
    numbers = NormalNumbers(torch.zeros(3), torch.tensor([2.0, 10.0, 40.0]), torch.tensor(10.0))
    torch.testing.assert_close(numbers.certainty, torch.tensor([0.96, 0.0, 0.0]))


# Data ----------------------------------------------------------------------------------------------------------------


def ages(count: int = 40, shape: tuple[int, ...] = ()) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (count, 1, 4, 4), generator=generator, dtype=torch.uint8)
    y = 50.0 + 20.0 * torch.randn(count, *shape, generator=generator)
    return Dataset("ages", number_label("years"), {"x": x, "y": y}, {"x": x[:8], "y": y[:8]})


def recipe(**changes: Any) -> Recipe:
    net = {"name": "mlp", "hidden": [8]}
    content = {
        "source": {"name": "digits"},
        "split": {"labelled": 12, "validation": 10},
        "variables": {
            "x": {"family": "bernoulli"},
            "y": {"family": "gaussian"},
            "h": {"family": "bernoulli", "shape": [2]},
        },
        "decoder": {"y": "standard", "h": "uniform", "x": {"given": ["y", "h"], "net": net}},
        "encoder": {"y": {"given": ["x"], "net": net}, "h": {"given": ["x", "y"], "net": net}},
        "views": {"weak": {"noise": 0.1}},
        "streams": {
            "labelled": {"observe": ["x", "y"], "batch": 8},
            "unlabelled": {"observe": ["x"], "batch": 8, "views": {"weak": "weak", "strong": "weak", "threshold": 0.0}},
            "labels": {"observe": ["y"], "batch": 8},
        },
        "training": {"steps": 2},
    }
    return Recipe.model_validate(content | changes)


def streams(**labels: Any) -> dict[str, Any]:
    return {
        **recipe().model_dump(exclude_defaults=True)["streams"],
        "labels": {"observe": ["y"], "batch": 2000, **labels},
    }


def test_the_scale_is_that_of_the_labelled_numbers() -> None:
    data = ages()
    data.train["y"][3] = NAN
    split = make_split(data, SplitSpec(labelled=12))
    spec = resolve(recipe(), data, split).variables["y"]
    shown = data.train["y"][split.labelled]
    shown = shown[~shown.isnan()].double()
    assert spec.mean == pytest.approx((float(shown.mean()),), rel=1e-5)
    assert spec.deviation == pytest.approx((float(shown.std()),), rel=1e-5)
    assert (spec.unit, spec.shape) == ("years", ())
    stated = recipe(variables={**recipe().variables, "y": VariableSpec(family="gaussian", mean=40.0, deviation=9.0)})
    kept = resolve(stated, data, split)
    assert (kept.variables["y"].mean, kept.variables["y"].deviation) == (40.0, 9.0)
    assert build_variables(kept)["y"].mean == (40.0,)


def test_a_scale_of_a_vector_has_an_entry_for_each_number() -> None:
    data = ages(shape=(2,))
    data.train["y"][:, 1] *= 0.01
    made = build_variables(resolve(recipe(), data))["y"]
    torch.testing.assert_close(torch.tensor(made.mean), data.train["y"].mean(dim=0), rtol=1e-5, atol=0.0)
    torch.testing.assert_close(torch.tensor(made.deviation), data.train["y"].std(dim=0), rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("factor", [1e-20, 1e20])
def test_a_scale_whose_square_no_float_holds_is_refused(factor: float) -> None:
    """Losses would not be finite at the first step, and their message would blame the learning rate."""
    data = ages()
    data.train["y"] *= factor
    with pytest.raises(DataError, match=r"y has a deviation of .*, whose square 32-bit floats do not hold"):
        resolve(recipe(), data)
    stated = change_recipe(recipe(), {"variables.y.mean": 0.0, "variables.y.deviation": factor})
    with pytest.raises(DataError, match=r"give the numbers in a unit in which it lies between 1e-15 and 1e\+15"):
        resolve(stated, ages())


def test_equal_numbers_have_no_scale() -> None:
    data = ages()
    data.train["y"][:] = 3.0
    with pytest.raises(DataError, match=r"the labelled examples show 1 different y, so numbers have no scale"):
        resolve(recipe(), data)


@pytest.mark.parametrize(
    ("labels", "family", "message"),
    [
        (
            LabelInfo("classes", ("a", "b")),
            "gaussian",
            r"variables.y is gaussian, but y of ages holds classes.*its family, or write source.kinds: {y: numbers}",
        ),
        (
            LabelInfo("numbers"),
            "categorical",
            "variables.y is categorical, but y of ages holds numbers, which are gaus",
        ),
    ],
)
def test_a_variable_of_another_kind_than_the_datas_is_refused(labels: LabelInfo, family: str, message: str) -> None:
    data = ages()
    other = Dataset("ages", {"y": labels}, data.train, data.test)
    with pytest.raises(DataError, match=message):
        resolve(recipe(variables={**recipe().variables, "y": {"family": family}}), other)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"family": "gaussian", "mean": 1.0}, "give both"),
        ({"family": "gaussian", "shape": [2], "mean": [1.0], "deviation": 1.0}, "mean has 1 entries for shape"),
        ({"family": "bernoulli", "shape": [2], "unit": "m"}, "unit belongs to a gaussian number"),
        (
            {"family": "gaussian", "shape": [1, 2, 2], "mean": 0.0, "deviation": 1.0},
            "mean belongs to a gaussian number",
        ),
        ({"family": "gaussian", "mean": 0.0, "deviation": 0.0}, "greater than 0"),
    ],
)
def test_a_scale_that_is_none_is_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VariableSpec.model_validate(spec)


# Splits --------------------------------------------------------------------------------------------------------------


def test_strata_are_equal_parts_by_the_number() -> None:
    values = torch.tensor([5.0, 1.0, 4.0, NAN, 2.0, 3.0, 9.0])
    none = torch.zeros(0, dtype=torch.int64)
    assert strata(values, none, 7).tolist() == [4, 0, 3, 6, 1, 2, 5]
    assert strata(values, torch.tensor([0]), 3).tolist() == [0, 0, 1, 2, 0, 1, 2]
    assert strata(torch.stack([values, -values], dim=1), none, 7).tolist() == [4, 0, 3, 6, 1, 2, 5]


@pytest.mark.parametrize("labelled", [3, 20, "all"])
def test_labelled_and_validation_examples_cover_the_range(labelled: int | str) -> None:
    data = ages(200)
    split = make_split(data, SplitSpec(labelled=labelled, validation=20, seed=1))
    rank = data.train["y"].argsort().argsort()
    count = 180 if labelled == "all" else int(labelled)
    parts = min(10, count)
    validated, taught = (
        (rank[rows] * parts // 200).bincount(minlength=parts) for rows in (split.validation, split.labelled)
    )
    assert taught.tolist() == [count // parts] * parts
    assert validated.max() - validated.min() <= (20 % parts > 0)
    together = torch.cat([split.labelled, split.unlabelled, split.validation]).sort().values
    assert together.tolist() == list(range(200))
    assert split.dataset_digest == data.digest and split.spec.balance == "balanced"


def test_a_smaller_split_is_a_part_of_a_larger_one() -> None:
    data = ages(200)
    few, many = (set(make_split(data, SplitSpec(labelled=count)).labelled.tolist()) for count in (20, 50))
    assert few < many


def test_other_seeds_choose_others() -> None:
    data = ages(200)
    one, other = (make_split(data, SplitSpec(labelled=20, seed=seed)).labelled for seed in (0, 1))
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"labelled": 39, "validation": 2}, "asks for 39 labelled examples and 2 for validation, but ages has 40"),
        ({"labelled": 8, "balance": {"ratio": 3}}, "a ratio is of class counts, but y is a number"),
    ],
)
def test_splits_that_cannot_be_are_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_split(ages(), SplitSpec.model_validate(spec))


# Streams of numbers alone --------------------------------------------------------------------------------------------


def shown(data: Dataset, split: SplitSpec, **labels: Any) -> Tensor:
    made = build_scenario(recipe(streams=streams(**labels)), data, make_split(data, split), CPU)
    return made.streams["labels"].batch(0)["y"]


def test_a_label_only_stream_shows_known_numbers_of_labelled_or_hidden_examples() -> None:
    data = ages()
    spec = SplitSpec(labelled=12)
    split = make_split(data, spec)
    data.train["y"][split.labelled[0]] = NAN
    split = make_split(data, spec)
    labelled, hidden = (data.train["y"][rows] for rows in (split.labelled, split.unlabelled))
    assert set(shown(data, spec).tolist()) == set(labelled[~labelled.isnan()].tolist())
    assert set(shown(data, spec, values="hidden").tolist()) == set(hidden[~hidden.isnan()].tolist())


@pytest.mark.parametrize(
    ("law", "mean", "deviation"),
    [({"low": 10, "high": 20}, 15.0, 10 / math.sqrt(12)), ({"mean": 40, "deviation": 5}, 40.0, 5.0)],
)
@pytest.mark.parametrize("shape", [(), (2,)])
def test_a_label_only_stream_draws_from_a_stated_distribution(
    law: dict[str, float], mean: float, deviation: float, shape: tuple[int, ...]
) -> None:
    drawn = shown(ages(shape=shape), SplitSpec(labelled=12), values=law)
    assert drawn.shape == (2000, *shape)
    assert abs(float(drawn.mean()) - mean) < 4 * deviation / math.sqrt(2000)  # fails once in 16,000
    assert abs(float(drawn.std()) / deviation - 1.0) < 0.08
    if "low" in law:
        assert drawn.min() >= 10.0 and drawn.max() <= 20.0
    assert torch.equal(drawn, shown(ages(shape=shape), SplitSpec(labelled=12), values=law)), "a function of the step"


def test_a_label_only_stream_shows_rows_of_a_file(tmp_path: Any) -> None:
    np.save(tmp_path / "ages.npy", np.array([30.0, 31.5], np.float32))
    drawn = shown(ages(), SplitSpec(labelled=12), values={"file": str(tmp_path / "ages.npy")})
    assert set(drawn.tolist()) == {30.0, 31.5}


@pytest.mark.parametrize(
    ("values", "message"),
    [("uniform", "y is a number; write"), ({"counts": [1, 2]}, "y is a number; write"),
     ({"low": 2, "high": 2}, "low must be below high")],
)  # fmt: skip
def test_weights_of_classes_are_refused(values: Any, message: str) -> None:
    with pytest.raises((DataError, ValueError), match=message):
        shown(ages(), SplitSpec(labelled=12), values=values)


# The game ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (2,)])
def test_a_scenario_with_a_number_plays(shape: tuple[int, ...]) -> None:
    data = ages(shape=shape)
    made = build_scenario(recipe(), data, make_split(data, recipe().split), CPU)
    batches = {name: stream.batch(0) for name, stream in made.streams.items()}
    sizes = {name: stream.batch_size for name, stream in made.streams.items()}
    step = made.game.begin(batches, sizes, 0.0, torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    for players in made.game.turns:
        losses = made.game.loss(players, step)
        assert losses.total.isfinite()
        losses.total.backward()
    assert made.game.encoder["y"].target.deviation, "the scale is in the unit of the data"


def test_options_of_classes_are_refused() -> None:
    views = {"weak": "weak", "strong": "weak", "cutmix": 0.5}
    asked = {**streams(), "unlabelled": {"observe": ["x"], "views": views}}
    with pytest.raises(
        RecipeError, match=r"streams.unlabelled.views.cutmix: only classes can be mixed, but y is a num"
    ):
        build_scenario(recipe(streams=asked), ages(), make_split(ages(), recipe().split), CPU)


# The teacher ---------------------------------------------------------------------------------------------------------


def normal(loc: list[float], scale: list[float], deviation: float = 10.0) -> NormalNumbers:
    return NormalNumbers(torch.tensor(loc), torch.tensor(scale), torch.tensor(deviation))


def test_means_alone_are_compared_in_scales_of_the_teacher() -> None:
    nats = divergence(normal([0.0, 0.0, 0.0], [5.0, 5.0, 0.1]), normal([10.0, 0.0, 3.0], [1.0, 9.0, 1.0]), None)
    torch.testing.assert_close(
        nats, torch.tensor([2.0, 0.0, 4.5])
    )  # the third: a scale below 0.1 deviations counts as 1


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_scales_are_compared_by_their_divergence(temperature: float) -> None:
    target, learnt = normal([0.0, 4.0], [5.0, 2.0]), normal([1.0, 4.0], [2.0, 3.0])
    cooled, zero = Normal(torch.zeros(2), temperature * target.scale), Normal(torch.zeros(2), learnt.scale)
    scales = torch.distributions.kl_divergence(cooled, zero)
    torch.testing.assert_close(divergence(target, learnt, temperature), divergence(target, learnt, None) + scales)


def test_views_that_agree_on_the_scale_but_not_on_the_mean_do_not_raise_the_scale() -> None:
    scale = torch.tensor([3.0], requires_grad=True)
    learnt = NormalNumbers(torch.tensor([8.0]), scale, torch.tensor(10.0))
    divergence(normal([0.0], [3.0]), learnt, 1.0).sum().backward()
    assert scale.grad is not None and abs(float(scale.grad)) < 1e-6


def test_the_surest_predictions_are_learnt() -> None:
    target = normal([0.0] * 4, [1.0, 2.0, 5.0, 20.0])  # explains 0.99, 0.96, 0.75 and nothing
    assert surest(target, 0.0, 1.0).tolist() == [1.0, 1.0, 1.0, 1.0]
    assert surest(target, 0.95, 1.0).tolist() == [1.0, 1.0, 0.0, 0.0]
    assert surest(target, 0.0, 0.34).tolist() == [1.0, 1.0, 0.0, 0.0]
    vector = NormalNumbers(torch.zeros(2, 2), torch.tensor([[1.0, 9.0], [5.0, 5.0]]), torch.tensor([10.0, 10.0]))
    assert surest(vector, 0.7, 1.0).tolist() == [0.0, 1.0], "the mean over a vector: 0.59 and 0.75"


class Plus:
    """A view that adds a number to every pixel."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return images + self.value

    def turned(self, images: Tensor, generator: torch.Generator, angles: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise AssertionError("no angle here")

    def joint(self, images: Tensor, maps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        raise AssertionError("no map here")


def reader(seed: int) -> Player:
    torch.manual_seed(seed)
    image = Variable("x", "bernoulli", (1, 2, 2))
    return Player([NetworkConditional(YEAR, (image,), Mlp((1, 2, 2), 0, (2,), (8,)))])


def test_the_average_on_the_weak_view_teaches_the_encoder_on_the_strong_one() -> None:
    encoder, average = reader(0), reader(1)
    views = StreamViews("x", weak=Plus(0.1), strong=Plus(0.5), threshold=0.0)
    images = torch.rand(3, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    total, parts = NumberTeacher("y", views, average).loss(encoder, images, torch.Generator(), 0.5)
    target, learnt = numbers_of(average["y"]({"x": images + 0.1})), numbers_of(encoder["y"]({"x": images + 0.5}))
    expected = (0.5 * ((learnt.loc - target.loc) / target.scale).square()).mean()
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(parts["views"], expected.detach())
    assert parts["mask_rate"] == 1.0
    total.backward()
    assert all(parameter.grad is None for parameter in average.parameters())
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in encoder.parameters())


def test_the_teacher_of_a_number_takes_no_evidence() -> None:
    views = StreamViews("x", weak=Plus(0.1), strong=Plus(0.5))
    lesson = NumberTeacher("y", views, reader(1)).lesson(
        reader(0), torch.zeros(3, 1, 2, 2), torch.Generator(), 0.5, torch.zeros(3, 2)
    )
    with pytest.raises(ValueError, match="the teacher of y takes no evidence"):
        next(lesson)


def test_a_teacher_that_is_too_sure_counts_as_sure_to_a_tenth_of_the_deviation() -> None:
    target, learnt = normal([0.0, 0.0], [0.01, 2.0]), normal([3.0, 3.0], [1.0, 1.0])
    torch.testing.assert_close(divergence(target, learnt, None), torch.tensor([0.5 * 3.0**2, 0.5 * 1.5**2]))


def test_predictions_that_are_not_sure_count_as_nothing() -> None:
    encoder, average = reader(0), reader(1)
    images = torch.rand(3, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    views = StreamViews("x", weak=Plus(0.1), strong=Plus(0.5), threshold=1.0)
    total, parts = NumberTeacher("y", views, average).loss(encoder, images, torch.Generator(), 0.5)
    assert total == 0.0 and parts["mask_rate"] == 0.0


# Measures, scores, intervals -----------------------------------------------------------------------------------------


def test_measures_are_squared_errors_of_known_numbers() -> None:
    posterior = GAUSSIAN.distribution(YEAR, torch.zeros(3, 2))
    found = NUMBERS.measure(posterior, torch.tensor([2003.0, NAN, 1990.0]))
    assert found.errors is not None and found.errors.tolist() == [9.0, 100.0]
    assert len(found.confidence) == 2 and NUMBERS.measure(posterior, None).errors is None
    pair = GAUSSIAN.distribution(PAIR, torch.zeros(1, 4))
    errors = NUMBERS.measure(pair, torch.tensor([[12.0, NAN]])).errors
    assert errors is not None and errors.tolist() == [4.0]
    assert NUMBERS.count_values(torch.tensor([[12.0, NAN], [NAN, NAN]])) == 1


@pytest.mark.parametrize("variable", [YEAR, PAIR])
def test_outputs_are_means_and_scales_in_the_unit(variable: Variable) -> None:
    parameters = torch.randn(3, 2 * len(variable.mean), generator=torch.Generator().manual_seed(0))
    posterior = GAUSSIAN.distribution(variable, parameters)
    outputs = NUMBERS.outputs(variable, parameters)
    assert outputs.shape == (3, 2, *variable.shape)
    torch.testing.assert_close(outputs, NUMBERS.outputs_of(posterior))
    torch.testing.assert_close(outputs[:, 1], numbers_of(posterior).scale)
    torch.testing.assert_close(NUMBERS.predict(outputs), posterior.mean)


def outputs_of(means: list[float], scales: list[float]) -> Tensor:
    return torch.stack([torch.tensor(means), torch.tensor(scales)], dim=1)


def test_scores_of_a_small_case_by_hand() -> None:
    outputs = outputs_of([1.0, 2.0, 3.0, 9.0], [1.0, 2.0, 1.0, 1.0])
    labels = torch.tensor([2.0, 2.0, 1.0, NAN])
    found = scores_of([(outputs[:2], labels[:2]), (outputs[2:], labels[2:])])
    assert found["rmse"] == pytest.approx(math.sqrt(5 / 3))
    assert found["mae"] == pytest.approx(1.0)
    assert found["bias"] == pytest.approx(1 / 3)
    assert found["r2"] == pytest.approx(1.0 - (5 / 3) / (2 / 9))
    log_probs = [Normal(mean, scale).log_prob(torch.tensor(label)) for mean, scale, label in
                 ((1.0, 1.0, 2.0), (2.0, 2.0, 2.0), (3.0, 1.0, 1.0))]  # fmt: skip
    assert found["nll"] == pytest.approx(-float(sum(log_probs)) / 3)
    se = torch.tensor([1.0, 0.0, 4.0]).std(correction=0).item() / math.sqrt(3)
    assert found["rmse_interval"][1] == pytest.approx(math.sqrt(5 / 3 + 1.959964 * se))
    assert [row["normal"] for row in found["levels"]] == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3])
    assert "intervals" not in found and "entries" not in found and "covered" not in found["levels"][0]


def test_scores_of_a_vector_name_each_entry() -> None:
    outputs = torch.tensor([[[1.0, 10.0], [1.0, 1.0]], [[2.0, 20.0], [1.0, 1.0]]])
    found = scores_of([(outputs, torch.tensor([[1.0, 13.0], [4.0, NAN]]))])
    assert [entry["rmse"] for entry in found["entries"]] == pytest.approx([math.sqrt(2.0), 3.0])
    assert found["rmse"] == pytest.approx(math.sqrt((0 + 4 + 9) / 3))


def test_factors_are_the_right_scores_in_order() -> None:
    outputs = outputs_of([0.0] * 9, [2.0] * 9)
    intervals = Intervals.of(outputs, torch.tensor([9.0, -1.0, 2.0, 3.0, -4.0, 5.0, 6.0, 7.0, 8.0]))
    assert intervals.scores == ((0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5),)
    assert intervals.factors(0.9) == (4.5,), "the 9th of 9"
    assert intervals.factors(0.5) == (2.5,), "the 5th of 9"
    assert intervals.factors(0.51) == (3.0,)
    with pytest.raises(RunError, match=r"9 validation examples cannot promise intervals with a coverage of 0.91"):
        intervals.factors(0.91)
    with pytest.raises(RunError, match="must lie between 0 and 1"):
        intervals.factors(1.0)
    low, high = intervals.bounds(outputs_of([10.0], [3.0]), 0.5).unbind(dim=1)
    assert (low.item(), high.item()) == (2.5, 17.5)
    assert Intervals.kept(intervals.facts()) == intervals


def test_each_number_of_a_vector_has_its_own_factor() -> None:
    outputs = torch.ones(9, 2, 2)
    labels = 1.0 + torch.arange(1.0, 10.0)[:, None] * torch.tensor([1.0, 10.0])
    labels[0, 1] = NAN
    intervals = Intervals.of(outputs, labels)
    assert (intervals.count, intervals.factors(0.8)) == (8, (8.0, 90.0))
    assert not intervals.promises(0.9)


def test_intervals_hold_what_they_promise_on_new_examples() -> None:
    """Over 300 draws of 99 held-out examples, coverage is 90% on average: mean Beta(90, 10); fails once in 15,000."""
    generator = torch.Generator().manual_seed(0)
    covered = []
    for _ in range(300):
        scales = 0.5 + torch.rand(99 + 200, generator=generator)
        labels = 3.0 * scales * torch.randn(299, generator=generator)  # the network is three times too sure
        outputs = torch.stack([torch.zeros(299), scales], dim=1)
        low, high = Intervals.of(outputs[:99], labels[:99]).bounds(outputs[99:], 0.9).unbind(dim=1)
        covered.append(float(((low <= labels[99:]) & (labels[99:] <= high)).double().mean()))
    deviation = math.sqrt(0.9 * 0.1 / 101 + 0.9 * 0.1 / 200) / math.sqrt(300)
    assert abs(float(np.mean(covered)) - 0.9) < 4 * deviation


def test_scores_with_intervals_say_what_they_hold() -> None:
    outputs = outputs_of([0.0] * 9, [1.0] * 9)
    chosen = Intervals.of(outputs, torch.arange(1.0, 10.0)).facts()
    found = scores_of([(outputs_of([0.0, 0.0, 0.0], [1.0, 1.0, 2.0]), torch.tensor([9.0, -9.5, 18.0]))], chosen)
    intervals = found["intervals"]
    assert (intervals["coverage"], intervals["count"], intervals["factors"]) == (0.9, 9, [9.0])
    assert intervals["covered"] == pytest.approx(2 / 3) and intervals["mean_width"] == pytest.approx(24.0)
    covered = {row["coverage"]: row.get("covered") for row in found["levels"]}
    assert covered[0.5] == 0.0 and covered[0.95] is None


def test_an_independent_vector_is_read_too() -> None:
    assert isinstance(GAUSSIAN.distribution(PAIR, torch.zeros(1, 4)), Independent)


# Arrays --------------------------------------------------------------------------------------------------------------


def read(
    tmp_path: Any, kinds: dict[str, str] | None = None, keys: dict[str, str] | None = None, **arrays: Any
) -> Dataset:
    np.savez(tmp_path / "own.npz", x=np.zeros((len(arrays["y"]), 4, 4), np.uint8) + _shades(len(arrays["y"])), **arrays)
    source = ArraysSource(name="arrays", path="own.npz", kinds=kinds or {}, keys=keys or {})
    return load_source(source, tmp_path)


def _shades(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint8)[:, None, None]


def test_floats_are_numbers_and_nan_is_unlabelled(tmp_path: Any) -> None:
    y = np.linspace(0.5, 30.0, 60)
    y[5::6] = np.nan
    data = read(tmp_path, y=y)
    assert data.labels == {"y": LabelInfo("numbers")} and data.classes == ()
    together = torch.cat([data.train["y"], data.test["y"]])
    assert sorted(together.tolist()) == pytest.approx(sorted(y[~np.isnan(y)].tolist()))
    assert data.unlabelled["x"][:, 0, 0, 0].tolist() == list(range(5, 60, 6)) and "y" not in data.unlabelled
    for part in (data.train, data.test):
        torch.testing.assert_close(part["x"][:, 0, 0, 0].float() * 0.5 + 0.5, part["y"], msg="rows stay together")
    assert (data.test["y"] * 10 / 30.1).long().bincount(minlength=10).tolist() == [1] * 10, "a fifth of each tenth"


@pytest.mark.parametrize(
    ("y", "kinds", "kind"),
    [
        (np.arange(40) % 20, None, "classes"),
        (np.arange(40), {"y": "numbers"}, "numbers"),
        (np.arange(40) / 2, None, "numbers"),
        (np.stack([np.arange(40) / 2, -np.arange(40) / 2], axis=1), None, "numbers"),
        (np.stack([np.arange(40) % 2.0, np.arange(40) // 20.0], axis=1), None, "attributes"),
        (np.stack([np.arange(40) / 40, np.arange(40) / 80], axis=1), {"y": "numbers"}, "numbers"),
    ],
)
def test_the_type_of_an_array_or_the_recipe_says_what_it_holds(tmp_path: Any, y: Any, kinds: Any, kind: str) -> None:
    assert read(tmp_path, kinds, y=y).labels["y"].kind == kind


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.where(np.arange(40) == 3, np.inf, 1.5), "y holds inf in row 3; write NaN where it is not known"),
        (
            np.where(np.arange(40) == 3, 3e30, 1.5),
            r"y holds 3e\+30 in row 3; give numbers in a unit in which they are below 1e\+30, and",
        ),
        (np.full(40, np.nan), "y holds NaN alone, so no number is known"),
        (np.full((40, 2, 2), 1.5), r"y has shape \[40, 2, 2\]; one number, or one row of numbers"),
        (np.linspace(0, 1, 39), "y has 39 labels for 40 examples|one entry"),
    ],
)
def test_arrays_that_are_no_numbers_are_refused(tmp_path: Any, y: np.ndarray, message: str) -> None:
    np.savez(tmp_path / "own.npz", x=np.zeros((40, 4, 4), np.uint8) + _shades(40), y=y)
    with pytest.raises(DataError, match=message):
        load_source(ArraysSource(name="arrays", path="own.npz"), tmp_path)


def test_what_may_be_meant_otherwise_is_a_warning(tmp_path: Any) -> None:
    few = read(tmp_path, y=np.arange(60) % 5.0)
    assert any("5 different whole numbers and is read as a number" in text for text in few.warnings)
    many = read(tmp_path, y=np.arange(240) // 2)
    assert any("120 different numbers, which are read as classes; if they measure" in text for text in many.warnings)
    far = read(tmp_path, y=1.7e9 + np.arange(60) / 60)
    assert any("32-bit floats tell apart badly; subtract a constant" in text for text in far.warnings)


def test_a_further_label_may_be_a_number(tmp_path: Any) -> None:
    angle = np.where(np.arange(60) % 3, np.arange(60) / 2, np.nan)
    data = read(tmp_path, keys={"x": "x", "y": "y", "a": "angle"}, y=np.arange(60) % 2, angle=angle)
    assert [info.kind for info in data.labels.values()] == ["classes", "numbers"]
    a = data.train["a"]
    torch.testing.assert_close(a[~a.isnan()], data.train["x"][:, 0, 0, 0].float()[~a.isnan()] / 2)
    assert a.isnan().any()


def test_a_class_and_a_number_of_one_image_play_together(tmp_path: Any) -> None:
    angle = np.where(np.arange(60) % 3, np.arange(60) / 2, np.nan)
    data = read(tmp_path, keys={"x": "x", "y": "y", "a": "angle"}, y=np.arange(60) % 2, angle=angle)
    net = {"name": "mlp", "hidden": [8]}
    asked = recipe(
        split={"labelled": 12, "also_labelled": {"a": 10}},
        variables={
            **recipe().variables,
            "y": {"family": "categorical"},
            "a": {"family": "gaussian", "unit": "degrees"},
        },
        decoder={"y": "uniform", "a": "standard", "h": "uniform", "x": {"given": ["y", "a", "h"], "net": net}},
        encoder={
            "y": {"given": ["x"], "net": net},
            "a": {"given": ["x"], "net": net},
            "h": {"given": ["x", "y", "a"], "net": net},
        },
        streams={
            "labelled": {"observe": ["x", "y"], "batch": 4},
            "angles": {"observe": ["x", "a"], "batch": 4},
            "both": {"observe": ["x", "y", "a"], "batch": 4},
            "unlabelled": {"observe": ["x"], "batch": 4},
            "prior": {"observe": [], "batch": 4},
        },
    )
    split = make_split(data, asked.split)
    made = build_scenario(asked, data, split, CPU)
    assert [task.name for task in made.roles.labels.values()] == ["classes", "numbers"]
    known = data.of_all("a")[split.shown(data, "a")]
    spec = made.recipe.variables["a"]
    assert isinstance(spec.mean, tuple) and spec.mean[0] == pytest.approx(float(known.mean()), rel=1e-4)
    for step in range(3):
        assert not made.streams["angles"].batch(step)["a"].isnan().any(), "who shows a number knows it"
        assert not made.streams["both"].batch(step)["a"].isnan().any()
    batches = {name: stream.batch(0) for name, stream in made.streams.items()}
    sizes = {name: stream.batch_size for name, stream in made.streams.items()}
    step_of = made.game.begin(batches, sizes, 0.0, torch.Generator().manual_seed(0))
    taught = {(lesson.stream, name) for lesson in made.plan.of("encoder") for name in lesson.scores}
    assert {("both", "a"), ("angles", "a"), ("labelled", "y")} <= taught
    for players in made.game.turns:
        assert made.game.loss(players, step_of).total.isfinite()


# Tables --------------------------------------------------------------------------------------------------------------


def table(tmp_path: Any, cells: list[str], **source: Any) -> Dataset:
    rows = "".join(f"{row % 7},{row},{cell}\n" for row, cell in enumerate(cells))
    (tmp_path / "t.csv").write_text("a,b,age\n" + rows)
    return load_source(TableSource(name="table", path="t.csv", label="age", **source), tmp_path)


def test_a_column_is_a_number_where_the_recipe_says(tmp_path: Any) -> None:
    cells = [f"{20.5 + row}" if row % 4 else "" for row in range(60)]
    cells[1] = "unknown"
    data = table(tmp_path, cells, kinds={"y": "numbers"}, unlabelled=["unknown"])
    assert data.labels["y"].kind == "numbers"
    assert len(data.unlabelled["x"]) == 16 and len(data.train["y"]) + len(data.test["y"]) == 44
    assert data.encoding is not None and data.encoding.label == "age"
    column = [each.name for each in data.encoding.columns].index("b")
    deviation, mean = data.encoding.columns[column].deviation, data.encoding.columns[column].mean  # type: ignore[union-attr]
    b = data.train["x"][:, column] * deviation + mean
    torch.testing.assert_close(b + 20.5, data.train["y"], rtol=1e-3, atol=0.05)


def test_a_column_of_many_numbers_is_suggested_to_be_one(tmp_path: Any) -> None:
    data = table(tmp_path, [str(row // 2) for row in range(60)])
    assert data.labels["y"].kind == "classes"
    assert any("column age holds 30 different numbers, which are read as classes" in text for text in data.warnings)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            ["1.5", "old", "2.5"] * 5,
            "column age holds numbers as labels, but 'old' in row 1 is none; correct it, or name",
        ),
        ([""] * 15, "column age: no row has a number"),
        (["1.5", "1e31", "2.5"] * 5, r"holds 1e\+31 in row 1"),
    ],
)
def test_cells_that_are_no_numbers_are_refused(tmp_path: Any, cells: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        table(tmp_path, cells, kinds={"y": "numbers"})


def test_candidates_are_no_kind_of_the_label_itself() -> None:
    with pytest.raises(ValueError, match="here y is classes or numbers, not candidates"):
        TableSource(name="table", path="t.csv", label="age", kinds={"y": "candidates"})
