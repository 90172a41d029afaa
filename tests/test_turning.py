"""Views that turn an angle with its image: pairs stay pairs, the teacher's answer moves along, and what is refused."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from semivae.data.dataset import Dataset, LabelInfo
from semivae.data.sources import load_source
from semivae.data.views import View
from semivae.errors import DataError, RecipeError
from semivae.game.conditionals import NetworkConditional
from semivae.game.distributions import numbers_of
from semivae.game.game import Game
from semivae.game.graphs import Factor, StreamGraph
from semivae.game.plan import derive_plan
from semivae.game.players import Player
from semivae.game.teaching.number_teacher import NumberTeacher
from semivae.game.teaching.teacher import StoredView, StreamViews
from semivae.recipe import read_recipe
from semivae.recipe.schema import VariableSpec, ViewSpec
from semivae.scenario.build import build_game, build_scenario
from semivae.scenario.plan import plan_of, twin_plan
from semivae.tasks.splitting import make_split
from semivae.variables import Variable

CPU = torch.device("cpu")
ANGLE = Variable("y", "gaussian", (), mean=(0.0,), deviation=(30.0,))
IMAGE = Variable("x", "bernoulli", (1, 25, 41))


def view(**turn: object) -> View:
    return View(ViewSpec.model_validate({"turn": turn}))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spots(degrees: Tensor, height: int = 25, width: int = 41) -> Tensor:
    """Images with a smooth spot at a distance of seven pixels from the centre, in a direction."""
    up, right = 7 * degrees.deg2rad().sin(), 7 * degrees.deg2rad().cos()
    rows, columns = torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2
    squares = (rows[:, None] + up[:, None, None]) ** 2 + (columns - right[:, None, None]) ** 2
    return torch.exp(-squares / 8.0)[:, None]


def directions(images: Tensor) -> Tensor:
    """The directions of spots, anticlockwise from the right, in degrees."""
    rows = torch.arange(images.shape[2]) - (images.shape[2] - 1) / 2
    columns = torch.arange(images.shape[3]) - (images.shape[3] - 1) / 2
    up, right = -(images[:, 0].sum(2) * rows).sum(1), (images[:, 0].sum(1) * columns).sum(1)
    return torch.atan2(up, right).rad2deg()


class Reads(nn.Module):
    """A network that reads the direction of a spot without a mistake, with a scale of one deviation."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor, given: Tensor | None = None) -> Tensor:
        standardised = self.gain * directions(images) / 30.0
        return torch.stack([standardised, torch.zeros_like(standardised)], dim=1)


def reader() -> Player:
    return Player([NetworkConditional(ANGLE, (IMAGE,), Reads())])


@pytest.mark.parametrize("clockwise", [False, True])
def test_a_turned_pair_is_the_pair_of_the_turned_angle(clockwise: bool) -> None:
    sense = -1.0 if clockwise else 1.0
    angles = torch.linspace(-80.0, 80.0, 50)
    images, turns = view(degrees=60, clockwise=clockwise).turned(spots(angles), seeded())
    assert 50.0 < turns.abs().max() <= 60.0 and -turns.min() > 50.0
    torch.testing.assert_close(images, spots(angles + sense * turns), atol=0.07, rtol=0.0)  # bilinear values of a spot
    torch.testing.assert_close(directions(images), angles + sense * turns, atol=0.5, rtol=0.0)


def test_it_turns_as_rotate_does_and_draws_no_more() -> None:
    images = torch.rand(9, 1, 8, 8)
    rotated = View(ViewSpec(rotate=30, scale=0.2, noise=0.1))(images, seeded())
    both = View(ViewSpec.model_validate({"turn": {"degrees": 30}, "scale": 0.2, "noise": 0.1}))
    torch.testing.assert_close(both(images, seeded()), rotated)
    torch.testing.assert_close(both.turned(images, seeded())[0], rotated)
    still, turns = View(ViewSpec(rotate=30, scale=0.2, noise=0.1)).turned(images, seeded())
    assert torch.equal(still, rotated) and not turns.any()
    assert View(ViewSpec()).turned(images, seeded())[0] is images


@pytest.mark.parametrize(
    ("label", "least", "most"),
    [(50.0, -40.0, 10.0), (0.0, -40.0, 40.0), (-60.0, 0.0, 40.0), (80.0, -40.0, 0.0), (math.nan, -40.0, 40.0)],
)
def test_turns_leave_labels_between_their_limits_and_are_uniform(label: float, least: float, most: float) -> None:
    """A label beyond a limit counts as the limit; one that is not known, as one without limits. Mean and deviation are
    within 4 and 5 of their standard errors of 2,000 draws: fails once in 10,000 times, and the seed is fixed."""
    images = torch.zeros(2000, 1, 4, 4)
    turns = view(degrees=40, low=-60, high=60).turned(images, seeded(), torch.full((2000,), label))[1].double()
    assert turns.min() >= least and turns.max() <= most
    deviation = (most - least) / 12**0.5
    assert turns.mean().item() == pytest.approx((least + most) / 2, abs=4 * deviation / 2000**0.5)
    assert turns.std().item() == pytest.approx(deviation, rel=0.05)


def test_one_limit_may_stand_alone() -> None:
    images, label = torch.zeros(500, 1, 4, 4), torch.full((500,), 50.0)
    assert view(degrees=40, high=60).turned(images, seeded(), label)[1].aminmax().max <= 10.0
    low = view(degrees=40, low=40).turned(images, seeded(), label)[1].aminmax()
    assert -10.0 <= low.min < -9.0 and low.max > 39.0


def test_labelled_pairs_of_a_stream_stay_pairs() -> None:
    """The stream shows a number that is not known too, and a second label that stays."""
    plan = derive_plan((), (Factor("y", ("x",)),), [StreamGraph("pairs", ("x", "y"))])
    views = {"pairs": StreamViews("x", view=view(degrees=60, low=-90, high=90), turned="y")}
    game = Game(Player([]), reader(), plan, views=views)
    angles = torch.linspace(-80.0, 80.0, 50)
    batch = {"x": spots(angles), "y": angles.clone(), "c": torch.arange(50)}
    batch["y"][7] = math.nan
    step = game.begin({"pairs": batch}, {"pairs": 50}, 0.0, seeded())
    found, known = step.augmented["pairs"], torch.arange(50) != 7
    assert (found["y"] - angles)[known].abs().max() > 20.0 and found["y"][known].abs().max() <= 90.0
    torch.testing.assert_close(directions(found["x"])[known], found["y"][known], atol=0.5, rtol=0.0)
    assert found["y"][7].isnan() and torch.equal(found["c"], batch["c"])
    assert batch["y"][0] == -80.0 and step.batches["pairs"] is batch, "the data themselves stay as they are"
    assert game.losses_of([plan.lessons[0]], step).total < 0.5 * math.log(2 * math.pi) + math.log(30.0) + 0.01


def test_the_teachers_answer_moves_by_the_difference_of_both_turns() -> None:
    weak, strong = view(degrees=20), view(degrees=50, low=-90, high=90)
    views = StreamViews("x", weak=weak, strong=strong, turned="y", threshold=0.0)
    images, average, encoder = spots(torch.linspace(-80.0, 80.0, 50)), reader(), reader()
    with torch.no_grad():
        encoder["y"].net.gain.mul_(0.5)  # type: ignore[union-attr, operator]
    loss, _ = NumberTeacher("y", views, average).loss(encoder, images, seeded(), 0.5)
    generator = seeded()
    seen, first = weak.turned(images, generator)
    target = numbers_of(average["y"]({"x": seen}))
    answer, scale = target.loc.detach(), target.scale.detach()
    moved, second = strong.turned(images, generator, answer - first)
    assert (answer + second - first).abs().max() <= 90.5 and (second - first).abs().max() > 40.0
    learnt = numbers_of(encoder["y"]({"x": moved})).loc
    torch.testing.assert_close(loss, (0.5 * ((learnt - (answer + second - first)) / scale).square()).mean())


def test_who_reads_angles_exactly_learns_nothing_from_turned_views() -> None:
    images = spots(torch.linspace(-80.0, 80.0, 50))
    pair = StreamViews("x", weak=view(degrees=20), strong=view(degrees=50), turned="y", threshold=0.0)
    loss, _ = NumberTeacher("y", pair, reader()).loss(reader(), images, seeded(), 0.5)
    assert loss < 1e-4
    other = StreamViews("x", weak=pair.weak, strong=pair.strong, turned="another_label", threshold=0.0)
    assert NumberTeacher("y", other, reader()).loss(reader(), images, seeded(), 0.5)[0] > 0.1


def test_rows_and_stored_draws_turn_no_labels() -> None:
    with pytest.raises(DataError, match="a view of rows of a table"):
        view(degrees=5).turned(torch.zeros(2, 3), seeded())
    with pytest.raises(ValueError, match="stored draws of views turn no labels"):
        StoredView(0).turned(torch.zeros(1, 2, 3), seeded())


def test_the_recipe_and_its_twin_turn_the_same_pairs(tmp_path: Path) -> None:
    recipe = read_recipe("digits_angle", ["source.of=digits", "split.labelled=20", "split.validation=20"])
    data = load_source(recipe.source, tmp_path)
    made = build_scenario(recipe, data, make_split(data, recipe.split), CPU)
    batch = made.streams["labelled"].batch(0)
    for game in (made.game, build_game(made.recipe, twin_plan(made.recipe), CPU)):
        moved = game.begin({"labelled": batch}, {"labelled": len(batch["y"])}, 0.0, seeded()).augmented["labelled"]["y"]
        assert (moved - batch["y"]).abs().max() > 5.0 and moved.abs().max() <= 60.001


def test_an_angle_needs_its_unit() -> None:
    images, angles = torch.rand(30, 1, 8, 8), torch.linspace(-60.0, 60.0, 30)
    part = {"x": images, "y": angles}
    recipe = read_recipe("digits_angle", ["source.of=digits", "split.labelled=12", "split.validation=10"])
    for unit, where in (("", pytest.raises(RecipeError, match="the unit of y is not known; if it is an angle in degr")),
                        ("minutes", pytest.raises(RecipeError, match="but y is in minutes")),
                        ("degrees", nullcontext())):  # fmt: skip
        data = Dataset("arrays", {"y": LabelInfo("numbers", unit=unit)}, part, part)
        shaped = recipe.model_copy(update={"variables": {**recipe.variables, "x": VariableSpec(family="bernoulli")}})
        with where:
            build_scenario(shaped, data, make_split(data, recipe.split), CPU)


TURN = "views.strong={turn: {degrees: 10}}"


@pytest.mark.parametrize(
    ("recipe", "changes", "message"),
    [
        ("digits_50labels", [TURN], "only a single gaussian number can turn with the image, but y is categorical"),
        ("digits_angle", ["variables.y.shape=[2]"], "but y is a vector of 2"),
        ("digits_angle", ["variables.y.unit=years"], "but y is in years"),
        ("digits_angle", ["views.strong.turn={degrees: 10, label: angle}"], "there is no variable angle"),
        ("digits_angle", ["views.strong.rotate=5"], "rotate changes an angle and leaves its label as it is"),
        ("digits_angle", ["views.strong.flip=true"], "flip changes an angle"),
        ("digits_angle", ["views.strong.turn={degrees: 5, low: 9, high: 9}"], "low is 9 and high 9; low must be below"),
        ("digits_angle", ["views.strong.turn={degrees: 0}"], "views.strong.turn.degrees"),
    ],
)  # fmt: skip
def test_what_cannot_turn_is_refused(recipe: str, changes: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        plan_of(read_recipe(recipe, changes))
