"""The step: who moves, who does not, on what; and views as teachers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from semivae.game.conditionals import Conditional, NetworkConditional, Prior
from semivae.game.distributions import categorical_of
from semivae.game.game import Game
from semivae.game.graphs import PlayerName
from semivae.game.players import Player
from semivae.game.readings import distributions_of
from semivae.game.schedules import Weight
from semivae.game.teaching.class_teacher import ClassTeacher
from semivae.game.teaching.teacher import StreamViews, Vote
from semivae.nets import Mlp
from semivae.variables import Sample, Variable
from tests.game_steps import PAIR, STILL, H, Seen, X, Y, batches, make_game, play, players, same, state, teacher


@pytest.mark.parametrize("mover", ["decoder", "encoder"])
def test_one_players_update_leaves_the_other_bit_identical(mover: PlayerName) -> None:
    game = make_game(views=PAIR)
    before = {"decoder": state(game.decoder), "encoder": state(game.encoder)}
    play(game, rates=STILL | {mover: 0.1})
    after = {"decoder": state(game.decoder), "encoder": state(game.encoder)}
    assert {name for name in after if not same(before[name], after[name])} == {mover}


def test_each_player_steps_once_and_every_lesson_is_reported() -> None:
    played = play(make_game(views=PAIR))
    assert played.turns == [("decoder",), ("encoder",)]
    assert set(played.losses) == {
        "decoder.labelled.x", "decoder.unlabelled.x", "encoder.labelled.y", "encoder.labels.y", "encoder.labels.h",
        "views.unlabelled.y", "share.unlabelled",
    }  # fmt: skip
    assert all(torch.isfinite(value) and not value.requires_grad for value in played.losses.values())


def test_labels_of_the_labelled_stream_reach_the_decoder_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known labels are never replaced by the encoder's guess, and unlabelled images never see a label."""
    game = make_game()
    seen: list[tuple[Sample, ...]] = []

    def spy(conditional: Conditional, samples: Sequence[Sample]) -> list[Distribution]:
        if conditional is game.decoder["x"]:
            seen.append(tuple(samples))
        return distributions_of(conditional, samples)

    monkeypatch.setattr("semivae.game.readings.distributions_of", spy)
    given = batches()
    play(game)
    ((labelled, unlabelled),) = seen
    assert torch.equal(labelled["y"], given["labelled"]["y"])
    assert set(given["unlabelled"]) == {"x"}
    assert {"x", "y", "h"} == set(unlabelled)


def test_threshold_of_the_views_switches_uncertain_images_off() -> None:
    game = make_game(views=PAIR)
    views = game.views["unlabelled"]
    teacher(game).views = StreamViews("x", weak=views.weak, strong=views.strong, threshold=1.0)
    losses = play(game).losses
    assert losses["share.unlabelled"].item() == 0.0
    assert losses["views.unlabelled.y"].item() == 0.0


def test_soft_labels_teach_the_whole_posterior_tempered() -> None:
    game = make_game(views=PAIR)
    pair, images = game.views["unlabelled"], batches()["unlabelled"]["x"]
    logits = categorical_of(game.ema_encoder["y"]({"x": images})).logits
    learnt = categorical_of(game.encoder["y"]({"x": 1.0 - images})).logits
    for temperature in (0.5, 1.0):
        teacher(game).views = replace(pair, temperature=temperature)
        loss, parts = teacher(game).loss(game.encoder, images, torch.Generator().manual_seed(0), 1.0)
        expected = -((logits / temperature).softmax(-1) * learnt).sum(-1).mean()
        torch.testing.assert_close(loss, expected)
        assert parts["mask_rate"].item() == 1.0
    hard, _ = ClassTeacher("y", pair, game.decoder, game.ema_encoder).loss(
        game.encoder, images, torch.Generator().manual_seed(0), 1.0
    )
    teacher(game).views = replace(pair, temperature=1e-3)
    cold, _ = teacher(game).loss(game.encoder, images, torch.Generator().manual_seed(0), 1.0)
    torch.testing.assert_close(cold, hard)


def test_information_joins_the_views_and_says_so() -> None:
    game = make_game(views=PAIR)
    pair = game.views["unlabelled"]
    teacher(game).views = StreamViews(
        "x", weak=pair.weak, strong=pair.strong, mutual_information=Weight(1.0, start=0.5)
    )
    assert "information.unlabelled.y" not in play(game, progress=0.4).losses
    losses = play(game, progress=0.5).losses
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
    voter, black, generator = ClassTeacher("y", views, decoder, encoder), torch.zeros(5, 1, 2, 2), torch.Generator()
    labels = [voter.posterior(black, generator, share).logits.argmax(dim=1).tolist() for share in (0.4, 0.5)]
    assert labels == [[0] * 5, [2] * 5]


def test_shared_parameters_are_refused() -> None:
    decoder, encoder = players()
    shared = Player([decoder["x"], encoder["y"]])
    with pytest.raises(ValueError, match="share parameters"):
        Game(decoder, shared, make_game().plan)


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
        game = make_game(views=replace(PAIR, weight=Weight(1.0, start=0.3)))
        assert ("views.unlabelled.y" in play(game, progress=share).losses) == taught


def test_alignment_state_is_part_of_the_game() -> None:
    game = make_game(views=replace(PAIR, distribution_alignment=True))
    play(game)
    assert {"teachers.stream_unlabelled.shares", "teachers.stream_unlabelled.offsets"} <= set(game.state_dict())
    assert teacher(game).get_buffer("offsets").abs().max() > 0.0


def test_a_weight_grows_evenly_from_its_start_to_its_full() -> None:
    at_once, growing = Weight(2.0, 0.3), Weight(2.0, start=0.25, full=0.75)
    assert [at_once.at(share) for share in (0.0, 0.2999, 0.3, 1.0)] == [0.0, 0.0, 2.0, 2.0]
    assert [growing.at(share) for share in (0.0, 0.25, 0.5, 0.625, 0.75, 1.0)] == [0.0, 0.0, 1.0, 1.5, 2.0, 2.0]
    assert Weight(2.0, start=0.5, full=0.5).at(0.5) == 2.0  # a step, and no division by zero
