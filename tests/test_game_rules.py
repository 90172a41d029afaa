"""The rules that the method's figures hang on: the order of moves, who completes, the average, weights of lessons."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from semivae.game.average import MovingAverage
from semivae.game.distributions import categorical_of
from semivae.game.game import Game
from semivae.game.graphs import PlayerName
from semivae.game.players import Player
from semivae.game.schedules import Weight
from semivae.recipe.schema import TrainingSpec
from semivae.variables import Sample
from tests.game_steps import PAIR, STILL, batches, certain_players, make_game, play, players, same, state, teacher

Where = tuple[PlayerName, str, str]
LESSONS: list[Where] = [
    ("decoder", "labelled", "x"),
    ("decoder", "unlabelled", "x"),
    ("encoder", "labelled", "y"),
    ("encoder", "labels", "y"),
    ("encoder", "labels", "h"),
]
OFF = {where: Weight(0.0) for where in LESSONS}


def loss_of(player: Player, sample: Sample, name: str) -> Tensor:
    return -player.log_prob(sample, [name])[name].mean().detach()


# The order of moves, and who completes for whom --------------------------------------------------------------------


def test_the_encoder_learns_from_the_decoder_just_updated() -> None:
    game = make_game(certain_players())
    before, encoder = copy.deepcopy(game.decoder), copy.deepcopy(game.encoder)
    played = play(game, rates={"decoder": 1.0, "encoder": 1.0})
    assert played.turns == [("decoder",), ("encoder",)]
    labels = batches()["labels"]
    of_updated, of_former = (
        loss_of(encoder, {**labels, "x": decoder.complete(labels)["x"]}, "y") for decoder in (game.decoder, before)
    )
    assert (of_updated - of_former).abs() > 1e-3
    torch.testing.assert_close(played.losses["encoder.labels.y"], of_updated)


def test_the_decoder_learns_from_the_encoder_as_it_was_before_the_step() -> None:
    game = make_game(certain_players())
    decoder, average = copy.deepcopy(game.decoder), copy.deepcopy(game.ema_encoder)
    played = play(game, rates={"decoder": 1.0, "encoder": 5.0})
    images = batches()["unlabelled"]
    torch.testing.assert_close(played.losses["decoder.unlabelled.x"], loss_of(decoder, average.complete(images), "x"))


def says(player: Player, label: int) -> None:
    """Lets an encoder give all images one label."""
    with torch.no_grad():
        head = player["y"].net.head  # type: ignore[union-attr]
        head.weight.zero_()  # type: ignore[union-attr,operator]
        head.bias.copy_(torch.eye(3)[label] * 9.0)  # type: ignore[union-attr,operator]


def test_the_average_completes_for_the_decoder_not_the_encoder_that_moves() -> None:
    game = make_game(certain_players())
    says(game.encoder, 0)
    says(game.ema_encoder, 2)
    decoder = copy.deepcopy(game.decoder)
    losses = play(game, rates=STILL).losses
    images = batches()["unlabelled"]
    by_live, by_average = (loss_of(decoder, {**images, "y": torch.full((5,), label)}, "x") for label in (0, 2))
    assert (by_live - by_average).abs() > 1e-3
    torch.testing.assert_close(losses["decoder.unlabelled.x"], by_average)


def test_the_decoder_that_moves_completes_for_the_encoder() -> None:
    """The decoder has no average: what it paints is what it is now."""
    game = make_game(certain_players())
    with torch.no_grad():
        game.decoder["x"].net.head.bias.fill_(4.0)  # type: ignore[union-attr,operator]
    encoder, labels = copy.deepcopy(game.encoder), batches()["labels"]
    painted = game.decoder.complete(labels)
    assert painted["x"].min() > 0.9
    torch.testing.assert_close(play(game, rates=STILL).losses["encoder.labels.y"], loss_of(encoder, painted, "y"))


# The average ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decay", "second", "third"),
    [(0.999, 2 / 11, 3 / 12), (0.2, 2 / 11, 0.2), (0.1, 0.1, 0.1), (0.0, 0.0, 0.0)],
    ids=["warm-up", "warm-up ends", "short", "none"],
)
def test_the_average_after_three_updates(decay: float, second: float, third: float) -> None:
    """It takes over the first encoder; then its decay is (1 + n) / (10 + n) after n updates, at most its own."""
    game = make_game(ema_decay=decay)
    encoders = []
    for seed in range(3):
        play(game, rates={"encoder": 2.0}, seed=seed)
        encoders.append(state(game.encoder))
    average = state(game.ema_encoder)
    for name, value in average.items():
        one, two, three = (encoder[name] for encoder in encoders)
        expected = third * (second * one + (1 - second) * two) + (1 - third) * three
        torch.testing.assert_close(value, expected)
    assert same(average, encoders[-1]) == (decay == 0.0), "an average is no copy of the encoder"


def test_the_average_is_still_slow_after_many_updates() -> None:
    """After 1,000 updates the warm-up would allow 0.991: the decay of 0.9 holds, and 0.999 does not yet."""
    for decay, kept in ((0.9, 0.9), (0.999, 1001 / 1010)):
        game = make_game(ema_decay=decay)
        game.encoder_average.n_averaged.fill_(1000)
        before = state(game.ema_encoder)
        play(game, rates={"encoder": 2.0})
        for name, value in state(game.ema_encoder).items():
            torch.testing.assert_close(value, kept * before[name] + (1 - kept) * game.encoder.state_dict()[name])


def test_weights_that_are_loaded_bring_their_count_of_updates() -> None:
    """The next update of a new game copies, also where another one had been played before it was loaded."""
    new = make_game(ema_decay=0.999).state_dict()
    new = {name: value.clone() for name, value in new.items()}
    game = make_game(ema_decay=0.999)
    for _ in range(3):
        game.update_average()
    game.load_state_dict(new)
    with torch.no_grad():
        for value in game.encoder.parameters():
            value.add_(1.0)
    game.update_average()
    assert all(
        torch.equal(own, value)
        for own, value in zip(game.ema_encoder.parameters(), game.encoder.parameters(), strict=True)
    )


def test_an_average_takes_statistics_and_keeps_what_is_shared() -> None:
    norm, layer = nn.BatchNorm1d(2), nn.Linear(2, 1)
    net = nn.Sequential(norm, layer)
    average = MovingAverage(net, 0.9)
    average.module.get_submodule("1").bias = layer.bias
    norm.get_buffer("running_mean").add_(1.0)
    with torch.no_grad():
        for value in net.parameters():
            value.add_(1.0)
    expected = {name: value.clone() for name, value in net.state_dict().items()}
    average.follow(net)
    assert all(torch.equal(value, expected[name]) for name, value in average.module.state_dict().items())
    assert average.module.get_parameter("1.bias") is layer.bias and int(average.n_averaged) == 1


def test_an_average_of_frozen_weights_alone_has_nothing_to_follow() -> None:
    frozen = nn.Linear(2, 1).requires_grad_(False)
    average = MovingAverage(frozen, 0.9)
    average.follow(frozen)
    assert average.module.get_parameter("weight") is frozen.weight and int(average.n_averaged) == 1


def test_an_average_has_the_statistics_themselves_of_layers_that_are_frozen_whole() -> None:
    whole, half = nn.BatchNorm1d(2).requires_grad_(False), nn.BatchNorm1d(2)
    half.bias.requires_grad_(False)
    average = MovingAverage(nn.Sequential(whole, half), 0.9).module
    assert average.get_buffer("0.running_mean") is whole.running_mean
    assert average.get_parameter("1.bias") is half.bias
    assert average.get_buffer("1.running_mean") is not half.running_mean


def test_the_average_moves_once_a_step_and_after_the_encoder() -> None:
    game = make_game()
    play(game)
    assert int(game.encoder_average.n_averaged) == 1
    assert same(state(game.ema_encoder), state(game.encoder))


@pytest.mark.parametrize("again", [False, True], ids=["train", "eval, then train"])
def test_the_average_teaches_without_dropout_although_the_encoder_has_it(again: bool) -> None:
    game = make_game(players(dropout=0.5, hidden=(64,)), PAIR)
    assert game.encoder.training and not game.ema_encoder.training
    if again:
        assert game.eval() is game
        assert [player.training for player in (game.decoder, game.encoder)] == [False, False]
    assert game.train() is game and game.encoder_average.train() is game.encoder_average
    assert [player.training for player in (game.decoder, game.encoder)] == [True, True]
    images, generator = batches()["unlabelled"]["x"], torch.Generator()

    def noisy(player: Player) -> bool:
        one, other = (player.log_prob({"x": images, "y": torch.zeros(5).long()}, ["y"])["y"] for _ in range(2))
        return not torch.equal(one, other)

    assert noisy(game.encoder) and not noisy(game.ema_encoder)
    one, other = (teacher(game).posterior(images, generator, 1.0).logits for _ in range(2))
    assert torch.equal(one, other)
    sure = categorical_of(copy.deepcopy(game.encoder).eval()["y"]({"x": images}))
    torch.testing.assert_close(one, sure.logits)


def test_the_average_has_the_decay_of_a_recipe_unless_it_says_otherwise() -> None:
    game = make_game()
    assert Game(game.decoder, game.encoder, game.plan).encoder_average.decay == TrainingSpec(steps=1).ema_decay == 0.999


# The weights of lessons ----------------------------------------------------------------------------------------------


def gradient(weights: dict[Where, Weight], player: PlayerName, progress: float = 0.0) -> Tensor:
    """The player's gradient where only these lessons teach."""
    return play(make_game(weights={**OFF, **weights}), rates=STILL, progress=progress).gradient(player)


@pytest.mark.parametrize(("learner", "stream", "factor"), LESSONS)
def test_a_lesson_counts_as_much_as_its_weight(learner: PlayerName, stream: str, factor: str) -> None:
    where = (learner, stream, factor)
    full = gradient({where: Weight(1.0)}, learner)
    assert full.abs().max() > 1e-3
    for weight in (0.25, 3.0):
        torch.testing.assert_close(gradient({where: Weight(weight)}, learner), weight * full)
    growing = Weight(0.5, start=0.2, full=0.6)
    for progress, share in ((0.1, 0.0), (0.3, 0.25), (0.4, 0.5), (0.6, 1.0), (0.9, 1.0)):
        torch.testing.assert_close(gradient({where: growing}, learner, progress), 0.5 * share * full)


def test_lessons_add_up_by_their_weights() -> None:
    """The gradient of all lessons of a player is the weighted sum of the gradients of each one."""
    factors: dict[Where, float] = {
        ("decoder", "labelled", "x"): 0.5,
        ("decoder", "unlabelled", "x"): 2.0,
        ("encoder", "labelled", "y"): 0.25,
        ("encoder", "labels", "y"): 3.0,
    }

    def found(weights: dict[Where, Weight]) -> dict[PlayerName, Tensor]:
        game = make_game(certain_players(), weights={**OFF, **weights})
        played = play(game, rates=STILL)
        return {player: played.gradient(player) for player in ("decoder", "encoder")}

    together = found({where: Weight(factor) for where, factor in factors.items()})
    both: tuple[PlayerName, ...] = ("decoder", "encoder")
    for player in both:
        alone = [factor * found({where: Weight(1.0)})[player] for where, factor in factors.items()]
        torch.testing.assert_close(together[player], torch.stack(alone).sum(0))


def test_what_a_lesson_is_reported_to_cost_does_not_hang_on_its_weight() -> None:
    heavy = make_game(certain_players(), weights={("encoder", "labels", "y"): Weight(5.0)})
    light = make_game(certain_players(), weights={("encoder", "labels", "y"): Weight(0.1)})
    reported = [play(game).losses["encoder.labels.y"] for game in (heavy, light)]
    assert torch.equal(*reported) and reported[0] > 0.1


def test_a_lesson_without_weight_is_neither_taught_nor_reported() -> None:
    game = make_game(weights={("encoder", "labels", "y"): Weight(1.0, start=0.5)})
    assert "encoder.labels.y" not in play(game, progress=0.4).losses
    assert "encoder.labels.y" in play(game, progress=0.5).losses


def of_views(progress: float, **views: object) -> Tensor:
    """The encoder's gradient where only the views of unlabelled images teach."""
    game = make_game(views=replace(PAIR, **views), weights=OFF)  # type: ignore[arg-type]
    return play(game, rates=STILL, progress=progress).gradient("encoder")


@pytest.mark.parametrize("lesson", ["weight", "mutual_information"])
def test_views_count_as_much_as_their_weight(lesson: str) -> None:
    alone = {"weight": Weight(0.0), "mutual_information": Weight(0.0)}
    full = of_views(0.0, **{**alone, lesson: Weight(1.0)})
    assert full.abs().max() > 1e-4
    torch.testing.assert_close(of_views(0.0, **{**alone, lesson: Weight(0.25)}), 0.25 * full)
    growing = Weight(0.5, start=0.2, full=0.6)
    for progress, share in ((0.1, 0.0), (0.3, 0.25), (0.6, 1.0)):
        torch.testing.assert_close(of_views(progress, **{**alone, lesson: growing}), 0.5 * share * full)


def test_views_and_information_add_up() -> None:
    views = of_views(0.0, weight=Weight(0.5), mutual_information=Weight(0.0))
    information = of_views(0.0, weight=Weight(0.0), mutual_information=Weight(2.0))
    torch.testing.assert_close(of_views(0.0, weight=Weight(0.5), mutual_information=Weight(2.0)), views + information)


def test_views_add_to_what_the_encoder_learns_otherwise() -> None:
    games: list[Game] = [
        make_game(certain_players(), views=PAIR),
        make_game(certain_players(), views=PAIR, weights=OFF),
        make_game(certain_players()),
    ]
    both, views, rest = (play(game, rates=STILL).gradient("encoder") for game in games)
    torch.testing.assert_close(both, views + rest)


def test_a_game_keeps_what_it_was_given_whatever_becomes_of_that() -> None:
    given: dict[Where, Weight] = {}
    views = {"unlabelled": PAIR}
    decoder, encoder = certain_players()
    game = Game(decoder, encoder, make_game(certain_players()).plan, given, views)
    given.update(OFF)
    views.clear()
    assert game.weights == {} and game.views == {"unlabelled": PAIR}
