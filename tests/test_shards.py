"""Batches in parts: together the shards learn what the whole batch teaches, draws and statistics included."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, Normal

from semivae.data.views import View
from semivae.game.conditionals import NetworkConditional
from semivae.game.distributions import DiscretizedLogistic, NormalNumbers, VoidableCategorical
from semivae.game.flow import FlowConditional, Sampling
from semivae.game.game import Game
from semivae.game.losses import Losses
from semivae.game.lower_bound import LowerBound, differentiable_draw
from semivae.game.schedules import Weight
from semivae.game.teaching.map_teacher import pseudo_label_maps
from semivae.game.teaching.number_teacher import surest
from semivae.game.teaching.teacher import StreamViews, Vote
from semivae.nets import Mlp
from semivae.parallel.cut import Cut
from semivae.parallel.shards import Shard, current_shard, sample_rows
from semivae.parallel.world import World
from semivae.recipe.schema import ViewSpec
from semivae.training.reduction import Reduction, checksum
from semivae.variables import TIME_FEATURES, Sample, Variable
from tests.game_steps import make_game

SIZES = {"labelled": 12, "unlabelled": 24, "labels": 12}
ALL_CHANGES = ViewSpec(
    shift=0.2, rotate=30, scale=0.2, shear=10, elastic=0.1, flip=True, brightness=0.3, contrast=0.3, gamma=0.3,
    shade=0.3, noise=0.1, speckle=0.1, cutout=0.4,
)  # fmt: skip
PAIR = StreamViews("x", weak=View(ViewSpec(shift=0.1, noise=0.05)), strong=View(ALL_CHANGES), threshold=0.0)


def by_shards(task: Callable[[Shard], Tensor], count: int) -> Tensor:
    """The rows that a task returns for every shard, one below the other; all draw from the same seeds."""
    cut = Cut(shards=count)
    for shard in cut.own:
        shard.seed(1, 100 + shard.index)
    return torch.cat(cut.each(task))


def turn_by_turn(game: Game, count: int, progress: float) -> tuple[dict[str, Tensor], list[Tensor], dict[str, Tensor]]:
    """Losses, gradients and buffers of a step in which nobody moves."""
    torch.manual_seed(2)
    images = torch.rand(36, 1, 2, 2)
    given: dict[str, Sample] = {
        "labelled": {"x": images[:12], "y": torch.randint(3, (12,))},
        "unlabelled": {"x": images[12:]},
        "labels": {"y": torch.randint(3, (12,))},
    }
    cut = Cut(shards=count)
    reduction = Reduction(cut, lambda: False)
    generators = [torch.Generator().manual_seed(0) for _ in cut.own]
    for shard in cut.own:
        shard.seed(1, 100 + shard.index)

    def begin(shard: Shard) -> Any:
        parts = {name: {key: shard.rows(value) for key, value in sample.items()} for name, sample in given.items()}
        sizes = {name: size // count for name, size in SIZES.items()}
        return game.begin(parts, sizes, progress, generators[shard.index])

    steps, losses, gradients = cut.each(begin), dict[str, Tensor](), list[Tensor]()
    for learners in game.turns:
        turn = partial(game.loss, learners)

        def loss(shard: Shard, turn: Callable[[Any], Losses] = turn) -> Losses:
            return turn(steps[shard.index])

        parts = cut.each(loss)
        parameters = [parameter for player in learners for parameter in game.player(player).parameters()]
        losses |= reduction.mean(parameters, parts).by_name()
        gradients += [parameter.grad.clone() for parameter in parameters if parameter.grad is not None]
    return losses, gradients, dict(game.named_buffers())


GAMES: dict[str, Callable[[], Game]] = {
    "plain": make_game,
    "views": lambda: make_game(views=PAIR),
    "one view": lambda: make_game(views=StreamViews("x", view=View(ALL_CHANGES))),
    "vote": lambda: make_game(views=with_(vote=Vote(0.5, draws=2, classes=2))),
    "alignment": lambda: make_game(views=with_(distribution_alignment=True)),
    "curriculum": lambda: make_game(views=with_(curriculum=0.9)),
    "mutual information": lambda: make_game(views=with_(mutual_information=Weight(200.0))),
    "cutmix": lambda: make_game(views=with_(cutmix=0.8, temperature=0.5)),
    "mixup": lambda: make_game(mixup=0.7),
    "lower bound": lambda: make_game(kind=LowerBound),
}


def with_(**changes: Any) -> StreamViews:
    return replace(PAIR, **changes)


@pytest.mark.parametrize("name", list(GAMES))
def test_shards_together_learn_what_the_whole_batch_teaches(name: str) -> None:
    losses, gradients, buffers = turn_by_turn(GAMES[name](), 1, 0.5)
    for count in (2, 3):
        other_losses, other_gradients, other_buffers = turn_by_turn(GAMES[name](), count, 0.5)
        for key, value in losses.items():
            torch.testing.assert_close(other_losses[key], value, rtol=1e-4, atol=1e-5, msg=f"{key} by {count}")
        assert len(gradients) == len(other_gradients)
        for one, other in zip(gradients, other_gradients, strict=True):
            assert (one - other).abs().max() <= 1e-4 * max(1.0, float(one.abs().max()))
        for key, value in buffers.items():
            torch.testing.assert_close(other_buffers[key], value, msg=key)


DISTRIBUTIONS: Mapping[str, Callable[[Tensor], Distribution]] = {
    "bits": lambda x: Independent(Bernoulli(logits=x), 1),
    "classes": lambda x: Categorical(logits=x),
    "maps": lambda x: Independent(VoidableCategorical(logits=x.view(12, 4, 5)), 1),
    "numbers": lambda x: Independent(Normal(x, x.exp()), 1),
    "channels": lambda x: Independent(DiscretizedLogistic(x, x.exp()), 1),
}


@pytest.mark.parametrize("name", list(DISTRIBUTIONS))
def test_draws_of_shards_are_those_of_the_whole_batch(name: str) -> None:
    make, x = DISTRIBUTIONS[name], torch.randn(12, 20, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    first, second = make(x).sample(), make(x).sample()
    assert not torch.equal(first, second)

    def draw(shard: Shard) -> Tensor:
        whole = make(x)
        own = whole.expand(whole.batch_shape)  # a copy; its rows are cut as a network would compute them
        parameters = x[shard.index * 3 : (shard.index + 1) * 3]
        own = (
            make(parameters) if name != "maps" else Independent(VoidableCategorical(logits=parameters.view(3, 4, 5)), 1)
        )
        sample_rows(own)
        torch.rand(shard.index + 1)  # what a shard draws by itself changes nothing
        return sample_rows(own)

    assert torch.equal(by_shards(draw, 4), second)


def test_differentiable_draws_of_numbers_are_those_of_the_whole_batch() -> None:
    x = torch.randn(12, 5)
    torch.manual_seed(1)
    expected = Normal(x, x.exp()).rsample()
    found = by_shards(lambda shard: differentiable_draw(Normal(shard.rows(x), shard.rows(x).exp())), 3)
    torch.testing.assert_close(found, expected)


def test_maps_that_a_teacher_gives_to_shards_are_those_of_the_whole_batch() -> None:
    """With a draw at every pixel, the most certain pixels of every class, and boxes of the next image."""
    torch.manual_seed(0)
    shape = (6, 6)
    image, maps = Variable("x", "gaussian", (1, *shape)), Variable("s", "categorical", shape, classes=3)
    teacher = NetworkConditional(maps, (image,), Mlp((1, *shape), 0, (3, *shape), (16,)))
    for parameter in teacher.parameters():
        nn.init.normal_(parameter)
    images, view = torch.rand(12, 1, *shape), View(ViewSpec(shift=0.1, noise=0.1))

    def label(shard: Shard) -> Tensor:
        generator = torch.Generator().manual_seed(3)
        strong, found, _ = pseudo_label_maps(
            teacher, "x", shard.rows(images), view, view, 0.4, generator, fraction=0.6, cutmix=0.8, temperature=0.5
        )
        return torch.cat([strong.flatten(1), found.flatten(1).float()], dim=1)

    torch.testing.assert_close(by_shards(label, 4), by_shards(label, 1))


def test_the_surest_numbers_are_chosen_for_shards_as_for_the_whole_batch() -> None:
    scale = torch.arange(1.0, 13.0)  # sorted, so that a shard's own surest ones are others

    def choose(shard: Shard) -> Tensor:
        own = shard.rows(scale)
        return surest(NormalNumbers(torch.zeros_like(own), own, torch.tensor(20.0)), 0.0, 0.4)[:, None]

    torch.testing.assert_close(by_shards(choose, 3), by_shards(choose, 1))
    assert by_shards(choose, 1)[:, 0].tolist() == [1.0] * 5 + [0.0] * 7


def test_a_flow_draws_and_learns_for_shards_what_it_does_for_the_whole_batch() -> None:
    torch.manual_seed(0)
    parent, target = Variable("y", "gaussian", (2,)), Variable("h", "bernoulli", (3,))
    net = Mlp(None, 3 + TIME_FEATURES + 2, (3,), (16,))
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    flow = FlowConditional(target, (parent,), net, Sampling(steps=3, guides=("y",), drop=0.5, levels=4))
    given = {"y": torch.randn(12, 2), "h": torch.randint(2, (12, 3)).float()}

    def use(shard: Shard) -> Tensor:
        own = {name: shard.rows(value) for name, value in given.items()}
        drawn = flow.draw({"y": own["y"]}, len(own["y"]))
        scores = [flow(own).log_prob(own["h"]), flow.lesson_score(own)]
        return torch.cat([drawn, *(score[:, None] for score in scores)], dim=1)

    whole = by_shards(use, 1)
    torch.testing.assert_close(by_shards(use, 3), whole, rtol=1e-4, atol=1e-4)
    assert len(whole[:, 0].unique()) == 2


def test_a_shard_that_fails_ends_the_others_and_the_next_task_runs() -> None:
    cut = Cut(shards=3)

    def fails(shard: Shard) -> Tensor:
        if shard.index == 1:
            raise FloatingPointError("not finite")
        return shard.gather(torch.tensor([shard.index]))

    for _ in range(2):
        with pytest.raises(FloatingPointError, match="not finite"):
            cut.each(fails)
        found = cut.each(lambda shard: shard.gather(torch.tensor([shard.index])).tolist())
        assert found == [[0, 1, 2]] * 3
    assert current_shard().count == 1


def test_what_a_shard_draws_by_itself_does_not_depend_on_the_others() -> None:
    """Such as dropout: each has a seed of its own, and goes on where it stopped at an exchange."""

    def draw(shard: Shard) -> Tensor:
        before = torch.rand(2)
        shard.gather(before)
        return torch.cat([before, torch.rand(2)])[None]

    expected = [torch.rand(4, generator=torch.Generator().manual_seed(100 + index)) for index in range(3)]
    torch.testing.assert_close(by_shards(draw, 3), torch.stack(expected))


def test_shards_that_exchange_different_things_are_a_fault() -> None:
    cut = Cut(shards=2)
    with pytest.raises(RuntimeError, match="their tasks differ"):
        cut.each(lambda shard: shard.gather(torch.zeros(1)) if shard.index else torch.zeros(1))


@dataclass(frozen=True)
class Beside(World):
    """Two processes, of which the other one has the same numbers, but was perhaps asked to stop."""

    asked: bool = False

    def sum(self, own: Tensor, in_order: bool) -> Tensor:
        other = own[0].clone()
        other[-1] = float(self.asked)  # the flag comes last
        return own[0] + other


@pytest.mark.parametrize(("own", "other"), [(False, False), (True, False), (False, True), (True, True)])
def test_a_process_stops_where_any_was_asked_to_and_only_after_all_know(own: bool, other: bool) -> None:
    reduction = Reduction(Cut(Beside(size=2, asked=other)), lambda: own)
    assert not reduction.stops_at(1), "the other one does not know yet"
    weight = nn.Parameter(torch.tensor([1.0]))
    losses = reduction.mean([weight], [Losses(3.0 * weight.sum())])
    assert weight.grad == 3.0 and losses.total == 3.0
    assert reduction.stops_at(1) == (own or other)
    assert Reduction(Cut(), lambda: own).stops_at(1) == own  # alone it asks nobody


def test_a_checksum_sees_one_bit_and_one_exchange() -> None:
    weights = [torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4], dtype=torch.int64)]
    others = [
        [torch.tensor([1.0, 2.0, 3.0000002]), weights[1]],
        [torch.tensor([2.0, 1.0, 3.0]), weights[1]],
        [weights[0], torch.tensor([5], dtype=torch.int64)],
    ]
    assert len({checksum(weights), *(checksum(other) for other in others)}) == 4
    assert checksum(weights) == checksum([weights[0].clone(), weights[1]])


@pytest.mark.parametrize("kind", [torch.uint8, torch.bfloat16, torch.int16, torch.float32, torch.int64, torch.float64])
def test_a_checksum_sees_every_bit_of_every_place(kind: torch.dtype) -> None:
    values = torch.arange(4).to(kind)
    for bit in range(8 * values.numel() * values.element_size()):
        other = values.clone()
        other.view(torch.uint8)[bit // 8] ^= 1 << bit % 8
        assert checksum([other]) != checksum([values]), bit
    assert checksum([values.view(2, 2).T]) == checksum([values[[0, 2, 1, 3]].view(2, 2)]), "not how it lies in memory"


def test_a_checksum_tells_which_tensor_holds_what_and_is_exchanged_as_an_integer() -> None:
    one, two, none, many = (torch.tensor([number]) for number in (1, 2, 0, 31))
    for ours, theirs in (([one, two], [two, one]), ([two, none], [none, one]), ([one, none], [none, many])):
        assert checksum(ours) != checksum(theirs)
    large = [torch.full((4,), 1e30) for _ in range(40)]
    assert 0 <= checksum(large) < 2**63
    first = torch.zeros(70_000, dtype=torch.uint8)
    last = first.clone()
    first[0] = last[65_520] = 1
    assert checksum([first]) != checksum([last])
