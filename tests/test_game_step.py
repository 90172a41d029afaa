"""The step: who moves, who does not, on what; and views as teachers."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from semivae.game.conditionals import NetworkConditional, Prior
from semivae.game.families import categorical_of
from semivae.game.game import Game
from semivae.game.plan import Factor, PlayerName, StreamGraph, derive_plan
from semivae.game.players import Player
from semivae.game.schedules import Weight
from semivae.game.teaching.class_teacher import LabelTeacher
from semivae.game.teaching.teacher import StreamViews, Vote
from semivae.nets import Mlp
from semivae.variables import Sample, Variable
from tests.game_steps import take_step

X = Variable("x", "bernoulli", (1, 2, 2))
Y = Variable("y", "categorical", (), classes=3)
H = Variable("h", "bernoulli", (2,))
SIZES = {"labelled": 4, "unlabelled": 5, "labels": 6}


class Sgd:
    """The simplest optimiser; counts its calls."""

    def __init__(self, player: Player, rate: float = 0.1) -> None:
        self.parameters, self.rate, self.calls = list(player.parameters()), rate, 0

    def __call__(self, loss: Tensor) -> None:
        self.calls += 1
        if loss.requires_grad:
            gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
            with torch.no_grad():
                for parameter, gradient in zip(self.parameters, gradients, strict=True):
                    if gradient is not None:
                        parameter.sub_(self.rate * gradient)


class Seen:
    """A view by a function of the images, for labels without places."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return self.function(images)

    def joint(self, images: Tensor, maps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        raise AssertionError("no map here")


def players() -> tuple[Player, Player]:
    torch.manual_seed(0)
    decoder = Player([Prior(Y), Prior(H), NetworkConditional(X, (Y, H), Mlp(None, 5, (1, 2, 2), hidden=(8,)))])
    encoder = Player(
        [
            NetworkConditional(Y, (X,), Mlp((1, 2, 2), 0, (3,), hidden=(8,))),
            NetworkConditional(H, (X, Y), Mlp((1, 2, 2), 3, (2,), hidden=(8,))),
        ]
    )
    return decoder, encoder


def make_game(views: bool = False, align: bool = False, start: float = 0.0) -> Game:
    decoder, encoder = players()
    plan = derive_plan(
        [Factor("y", learnable=False), Factor("h", learnable=False), Factor("x", ("y", "h"))],
        [Factor("y", ("x",)), Factor("h", ("x", "y"))],
        [
            StreamGraph("labelled", ("x", "y")),
            StreamGraph("unlabelled", ("x",), views_of="y" if views else None),
            StreamGraph("labels", ("y",)),
        ],
    )
    weak, strong = Seen(lambda x: x), Seen(lambda x: 1.0 - x)
    weight = Weight(1.0, start)
    pair = StreamViews("x", weak=weak, strong=strong, threshold=0.0, align=align, weight=weight)
    return Game(decoder, encoder, plan, views={"unlabelled": pair} if views else None)


def batches() -> dict[str, Sample]:
    torch.manual_seed(1)
    images = torch.rand(9, 1, 2, 2)
    return {
        "labelled": {"x": images[:4], "y": torch.tensor([0, 1, 2, 0])},
        "unlabelled": {"x": images[4:]},
        "labels": {"y": torch.tensor([0, 1, 2, 0, 1, 2])},
    }


def play(game: Game, optimizers: dict[PlayerName, Sgd] | None = None) -> dict[str, Tensor]:
    chosen = optimizers or {"decoder": Sgd(game.decoder), "encoder": Sgd(game.encoder)}
    return take_step(game, batches(), SIZES, chosen, progress=1.0)


def teacher(game: Game) -> LabelTeacher:
    found = game.teachers["stream_unlabelled"]
    assert isinstance(found, LabelTeacher)
    return found


def state(player: Player) -> dict[str, Tensor]:
    return copy.deepcopy(player.state_dict())


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("mover", ["decoder", "encoder"])
def test_one_players_update_leaves_the_other_bit_identical(mover: PlayerName) -> None:
    game = make_game(views=True)
    rates = {"decoder": 0.0, "encoder": 0.0} | {mover: 0.1}
    before = {"decoder": state(game.decoder), "encoder": state(game.encoder)}
    play(game, {"decoder": Sgd(game.decoder, rates["decoder"]), "encoder": Sgd(game.encoder, rates["encoder"])})
    after = {"decoder": state(game.decoder), "encoder": state(game.encoder)}
    assert {name for name in after if not same(before[name], after[name])} == {mover}


def test_each_player_steps_once_and_every_lesson_is_reported() -> None:
    game = make_game(views=True)
    optimizers: dict[PlayerName, Sgd] = {"decoder": Sgd(game.decoder), "encoder": Sgd(game.encoder)}
    losses = play(game, optimizers)
    assert {name: optimizer.calls for name, optimizer in optimizers.items()} == {"decoder": 1, "encoder": 1}
    assert set(losses) == {
        "decoder.labelled.x", "decoder.unlabelled.x", "encoder.labelled.y", "encoder.labels.y", "encoder.labels.h",
        "views.unlabelled.y", "share.unlabelled",
    }  # fmt: skip
    assert all(torch.isfinite(value) and not value.requires_grad for value in losses.values())


def test_labels_of_the_labelled_stream_reach_the_decoder_as_they_are() -> None:
    """Known labels are never replaced by the encoder's guess, and unlabelled images never see a label."""
    game = make_game()
    seen: list[Sample] = []
    score = game.decoder.log_prob

    def spy(sample: Sample, targets: Iterable[str]) -> dict[str, Tensor]:
        seen.append(sample)
        return score(sample, targets)

    game.decoder.log_prob = spy  # type: ignore[method-assign]
    given = batches()
    play(game)
    assert torch.equal(seen[0]["y"], given["labelled"]["y"])
    assert set(given["unlabelled"]) == {"x"}
    assert {"x", "y", "h"} == set(seen[1])


def test_threshold_of_the_views_switches_uncertain_images_off() -> None:
    game = make_game(views=True)
    views = game.views["unlabelled"]
    teacher(game).views = StreamViews("x", weak=views.weak, strong=views.strong, threshold=1.0)
    losses = play(game)
    assert losses["share.unlabelled"].item() == 0.0
    assert losses["views.unlabelled.y"].item() == 0.0


def test_soft_labels_teach_the_whole_posterior_tempered() -> None:
    game = make_game(views=True)
    pair, images = game.views["unlabelled"], batches()["unlabelled"]["x"]
    logits = categorical_of(game.average["y"]({"x": images})).logits
    learnt = categorical_of(game.encoder["y"]({"x": 1.0 - images})).logits
    for temperature in (0.5, 1.0):
        teacher(game).views = replace(pair, temperature=temperature)
        loss, parts = teacher(game).loss(game.encoder, images, torch.Generator().manual_seed(0), 1.0)
        expected = -((logits / temperature).softmax(-1) * learnt).sum(-1).mean()
        torch.testing.assert_close(loss, expected)
        assert parts["share"].item() == 1.0
    hard, _ = LabelTeacher("y", pair, game.decoder, game.average).loss(
        game.encoder, images, torch.Generator().manual_seed(0), 1.0
    )
    teacher(game).views = replace(pair, temperature=1e-3)
    cold, _ = teacher(game).loss(game.encoder, images, torch.Generator().manual_seed(0), 1.0)
    torch.testing.assert_close(cold, hard)


def test_information_joins_the_views_and_says_so() -> None:
    game = make_game(views=True)
    pair = game.views["unlabelled"]
    teacher(game).views = StreamViews("x", weak=pair.weak, strong=pair.strong, information=Weight(1.0, start=0.5))
    step: dict[PlayerName, Sgd] = {"decoder": Sgd(game.decoder), "encoder": Sgd(game.encoder)}
    assert "information.unlabelled.y" not in take_step(game, batches(), SIZES, step, progress=0.4)
    losses = take_step(game, batches(), SIZES, step, progress=0.5)
    assert 0.0 <= losses["information.unlabelled.y"].item() <= math.log(3)


class PaintsClassTwoBlack(nn.Module):
    """Logits of the pixels: black for class 2, white for the others, whatever the bits."""

    def forward(self, images: Tensor | None, vectors: Tensor) -> Tensor:
        logits = 5.0 - 10.0 * (vectors[:, 2] > 0).float()
        return logits.view(-1, 1, 1, 1).expand(-1, 1, 2, 2)


@pytest.mark.parametrize("pair", [True, False], ids=["with a pair of views", "alone"])
def test_vote_joins_the_teacher_from_its_start(pair: bool) -> None:
    encoder = players()[1]
    decoder = Player([Prior(Y), Prior(H), NetworkConditional(X, (Y, H), PaintsClassTwoBlack())])
    with torch.no_grad():  # the encoder says 0 whatever it sees
        encoder["y"].net.head.bias.copy_(torch.tensor([9.0, 0.0, 0.0]))  # type: ignore[union-attr,operator]
    view = Seen(lambda x: x) if pair else None
    views = StreamViews("x", weak=view, strong=view, vote=Vote(strength=2.0, start=0.5))
    voter, black, generator = LabelTeacher("y", views, decoder, encoder), torch.zeros(5, 1, 2, 2), torch.Generator()
    labels = [voter.posterior(black, generator, share).logits.argmax(dim=1).tolist() for share in (0.4, 0.5)]
    assert labels == [[0] * 5, [2] * 5]


def test_shared_parameters_are_refused() -> None:
    decoder, encoder = players()
    shared = Player([decoder["x"], encoder["y"]])
    with pytest.raises(ValueError, match="share parameters"):
        Game(decoder, shared, make_game().plan)


def test_average_follows_the_encoder() -> None:
    game = make_game()
    start = state(game.encoder)
    for _ in range(30):
        play(game)
    now, average = state(game.encoder), state(game.average)
    for name, value in average.items():
        low, high = torch.minimum(start[name], now[name]), torch.maximum(start[name], now[name])
        assert ((value >= low - 0.2) & (value <= high + 0.2)).all()
        assert not torch.equal(value, start[name])


def test_average_teaches_without_dropout() -> None:
    game = make_game()
    assert game.train().encoder.training and not game.average.training


def test_completion_keeps_what_is_known_and_skips_what_it_cannot_draw() -> None:
    decoder, encoder = players()
    labels = torch.tensor([2, 1])
    completed = encoder.complete({"x": torch.rand(2, 1, 2, 2), "y": labels})
    assert completed["y"] is labels and completed["h"].shape == (2, 2)
    assert set(encoder.complete({"h": torch.zeros(3, 2)})) == {"h"}
    assert decoder.complete({}, 7)["x"].shape == (7, 1, 2, 2)


def test_a_prior_is_drawn_from_whatever_completes() -> None:
    label = Variable("y", "categorical", (), 3, complete_with="mode")
    drawn = Player([Prior(label)]).complete({}, 300)["y"]
    assert drawn.bincount(minlength=3).min() > 0  # 300 fair draws miss a class once in 10^52


def test_completion_may_be_asked_to_draw() -> None:
    code, label = Variable("h", "bernoulli", (1,)), Variable("y", "categorical", (), 2, complete_with="mode")
    player = Player([NetworkConditional(label, (code,), Mlp(None, 1, (2,)))])
    torch.nn.init.zeros_(list(player.parameters())[-1])
    given = {"h": torch.zeros(300, 1)}
    assert len(player.complete(given)["y"].unique()) == 1
    assert len(player.complete(given, sampled=True)["y"].unique()) == 2


def test_a_pair_of_views_teaches_from_its_start_on() -> None:
    for share, taught in ((0.2, False), (0.3, True)):
        game = make_game(views=True, start=0.3)
        optimizers: dict[PlayerName, Sgd] = {"decoder": Sgd(game.decoder), "encoder": Sgd(game.encoder)}
        losses = take_step(game, batches(), SIZES, optimizers, progress=share)
        assert ("views.unlabelled.y" in losses) == taught


def test_alignment_state_is_part_of_the_game() -> None:
    game = make_game(views=True, align=True)
    play(game)
    assert {"teachers.stream_unlabelled.shares", "teachers.stream_unlabelled.offsets"} <= set(game.state_dict())
    assert teacher(game).get_buffer("offsets").abs().max() > 0.0


def test_a_weight_grows_evenly_from_its_start_to_its_full() -> None:
    at_once, growing = Weight(2.0, 0.3), Weight(2.0, start=0.25, full=0.75)
    assert [at_once.at(share) for share in (0.0, 0.2999, 0.3, 1.0)] == [0.0, 0.0, 2.0, 2.0]
    assert [growing.at(share) for share in (0.0, 0.25, 0.5, 0.625, 0.75, 1.0)] == [0.0, 0.0, 1.0, 1.5, 2.0, 2.0]
    assert Weight(2.0, start=0.5, full=0.5).at(0.5) == 2.0  # a step, and no division by zero


def test_what_a_lesson_teaches_grows_with_its_weight() -> None:
    """The gradient of the views' lesson half way up is half of that at its full weight: nothing else has changed."""

    def gradient(share: float) -> Tensor:
        game = make_game(views=True)
        teacher(game).views = replace(teacher(game).views, weight=Weight(1.0, start=0.2, full=0.6))
        loss, _ = teacher(game).loss(
            game.encoder, batches()["unlabelled"]["x"], torch.Generator().manual_seed(0), share
        )
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(game.encoder["y"].parameters()))])

    full = gradient(0.6)
    assert full.abs().max() > 0
    torch.testing.assert_close(gradient(0.4), full / 2)
