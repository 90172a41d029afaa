"""The decoder's vote on a model small enough to sum over; the chain of a classifier with it is tested elsewhere."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from semivae.game.conditionals import NetworkConditional, Prior
from semivae.game.distributions import categorical_of
from semivae.game.players import Player
from semivae.game.teaching.class_teacher import ClassTeacher
from semivae.game.teaching.teacher import StreamViews, Vote
from semivae.game.teaching.vote import add_vote, decoder_vote, vote_on_likely
from semivae.nets import Conv, Mlp
from semivae.recipe import read_recipe
from semivae.scenario.build import build_game
from semivae.scenario.plan import plan_of
from semivae.variables import Variable
from tests.game_steps import players as game_players


def test_combination_adds_in_the_log_and_normalises() -> None:
    posterior = Categorical(probs=torch.tensor([[0.5, 0.3, 0.2]]))
    vote = torch.tensor([[-100.0, -98.0, -200.0]])
    expected = torch.tensor([[0.5, 0.3 * 2.718281828, 0.2 * 0.0]])
    mixed = add_vote(posterior, vote, 0.5).probs
    assert mixed[0, 1] / mixed[0, 0] == pytest.approx((expected[0, 1] / expected[0, 0]).item(), rel=1e-5)
    assert mixed.sum().item() == pytest.approx(1.0)


def test_no_strength_leaves_the_encoder_alone() -> None:
    posterior = Categorical(logits=torch.randn(4, 3))
    torch.testing.assert_close(add_vote(posterior, torch.randn(4, 3) * 1e3, 0.0).probs, posterior.probs)


BIT = Variable("h", "bernoulli", (1,))
PIXELS = Variable("x", "bernoulli", (1, 1, 2))
CLASS = Variable("y", "categorical", (), 2)
LIT = torch.tensor([[[0.9, 0.4], [0.2, 0.7]], [[0.3, 0.2], [0.6, 0.9]]])  # p(pixel = 1 | y, h), [y, h, pixel]
IMAGES = torch.tensor([[1.0, 0.0], [1.0, 1.0]]).view(2, 1, 1, 2)


class Paints(nn.Module):
    """Logits of the pixels, by class and bit."""

    def forward(self, images: Tensor | None, vectors: Tensor) -> Tensor:
        return LIT.logit()[vectors[:, :2].argmax(1), (vectors[:, 2] > 0).long()].view(-1, 1, 1, 2)


class Says(nn.Module):
    """The same parameters for all images."""

    def __init__(self, *parameters: float) -> None:
        super().__init__()
        self.parameters_of_all = torch.tensor(parameters)

    def forward(self, images: Tensor, vectors: Tensor | None) -> Tensor:
        return self.parameters_of_all.expand(len(images), -1)


def tiny_players(bit: float) -> tuple[Player, Player]:
    """A decoder of two pixels, and an encoder whose bit has this logit whatever it sees."""
    decoder = Player([Prior(CLASS), Prior(BIT), NetworkConditional(PIXELS, (CLASS, BIT), Paints())])
    encoder = Player(
        [NetworkConditional(CLASS, (PIXELS,), Says(1.0, 0.0)), NetworkConditional(BIT, (PIXELS, CLASS), Says(bit))]
    )
    return decoder, encoder


def likelihood(bit: int) -> Tensor:
    """log p(x | y, h = bit), [image, class]."""
    lit, x = LIT[:, bit], IMAGES.view(2, 1, 2)
    return (x * lit.log() + (1 - x) * (1 - lit).log()).sum(-1)


@pytest.mark.parametrize("draws", [1, 3])
def test_a_vote_weighs_a_draw_by_the_decoder_against_the_encoder(draws: int) -> None:
    """A bit that is nearly always 1: log p(x | y, 1) + log p(1) - log q(1), whatever the number of draws."""
    found = decoder_vote(*tiny_players(20.0), {"x": IMAGES}, "y", 2, draws)
    torch.testing.assert_close(found, likelihood(1) + math.log(0.5))


def test_more_draws_make_the_bound_tighter() -> None:
    """log p(x | y) lies above the mean vote of one draw, by a gap that 100 draws nearly close."""
    torch.manual_seed(0)
    exact = torch.stack([likelihood(0), likelihood(1)]).logsumexp(0) + math.log(0.5)
    images = IMAGES.repeat(400, 1, 1, 1)
    one, many = (decoder_vote(*tiny_players(1.0), {"x": images}, "y", 2, draws).view(400, 2, 2) for draws in (1, 100))
    assert (one.mean(0) < exact - 0.05).all() and (many.mean(0) - exact).abs().max() < 0.01
    assert (many.std(0) < one.std(0) / 5).all()


def test_a_vote_draws_codes_that_are_else_handed_over_as_their_mean() -> None:
    """A mean code has no probability of its own: its weight would be none."""
    decoder, encoder = tiny_players(0.0)
    drawn = decoder_vote(decoder, seeded(encoder), {"x": IMAGES}, "y", 2, 5)
    mean = Variable("h", "bernoulli", (1,), complete_with="mean")
    other = Player([encoder["y"], NetworkConditional(mean, (PIXELS, CLASS), Says(0.0))])
    assert other.complete({"x": IMAGES})["h"].tolist() == [[0.5], [0.5]]
    assert torch.equal(decoder_vote(decoder, seeded(other), {"x": IMAGES}, "y", 2, 5), drawn)


def seeded(player: Player) -> Player:
    torch.manual_seed(0)
    return player


def test_a_vote_is_of_one_draw_unless_asked_and_carries_no_gradient() -> None:
    decoder, encoder = game_players()
    observed = {"x": torch.rand(5, 1, 2, 2)}
    one = decoder_vote(decoder, seeded(encoder), observed, "y", 3)
    assert torch.equal(one, decoder_vote(decoder, seeded(encoder), observed, "y", 3, draws=1))
    assert one.shape == (5, 3) and not one.requires_grad


def test_a_combined_posterior_has_the_encoders_precision() -> None:
    mixed = add_vote(Categorical(logits=torch.zeros(1, 2)), torch.zeros(1, 2, dtype=torch.float64), 1.0)
    assert mixed.logits.dtype == torch.float32


def test_a_stream_votes_from_the_start_with_one_draw_unless_it_says_otherwise() -> None:
    assert Vote(2.0) == Vote(strength=2.0, draws=1, start=0.0)


def test_a_streams_vote_has_the_draws_and_the_strength_that_it_asks_for() -> None:
    decoder, encoder = tiny_players(1.0)
    plain = categorical_of(encoder["y"]({"x": IMAGES})).logits

    def teaches(draws: int, strength: float) -> Tensor:
        views = StreamViews("x", vote=Vote(strength, draws))
        torch.manual_seed(0)
        return ClassTeacher("y", views, decoder, encoder).posterior(IMAGES, torch.Generator(), 1.0).logits

    for draws in (1, 7):
        torch.manual_seed(0)
        votes = decoder_vote(decoder, encoder, {"x": IMAGES}, "y", 2, draws)
        for strength in (0.5, 2.0):
            torch.testing.assert_close(teaches(draws, strength), (plain + strength * votes).log_softmax(-1))
    assert not torch.equal(teaches(1, 1.0), teaches(7, 1.0))


def test_a_vote_on_likely_classes_leaves_the_others_with_the_lowest_of_them() -> None:
    decoder, encoder = game_players()
    images = torch.rand(6, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    posterior = Categorical(logits=torch.randn(6, 3, generator=torch.Generator().manual_seed(1)))
    bits = encoder["h"]
    assert isinstance(bits, NetworkConditional)
    head = bits.net.head
    assert isinstance(head, nn.Linear)
    head.bias.data.fill_(50.0)  # bits that are ones for sure, so that votes have no luck in them
    head.weight.data.zero_()
    all_votes = decoder_vote(decoder, encoder, {"x": images}, "y", 3)
    votes = vote_on_likely(decoder, encoder, {"x": images}, "y", posterior, 2)
    for row in range(6):
        order = posterior.logits[row].argsort(descending=True)
        torch.testing.assert_close(votes[row, order[:2]], all_votes[row, order[:2]])
        assert votes[row, order[2:]].tolist() == [all_votes[row, order[:2]].min().item()]
    assert torch.equal(vote_on_likely(decoder, encoder, {"x": images}, "y", posterior, 3), all_votes)


def test_the_vote_that_a_recipe_asks_for_reaches_its_stream() -> None:
    vote = "streams.unlabelled.vote={strength: 0.3, draws: 7, start: 0.25, classes: 9}"
    recipe = read_recipe("digits_50labels", [vote])
    game = build_game(recipe, plan_of(recipe), torch.device("cpu"))
    assert game.views["unlabelled"].vote == Vote(strength=0.3, draws=7, start=0.25, classes=9)


LOOSE = Variable("g", "bernoulli", (2,))


def test_a_code_that_nothing_observed_depends_on_is_not_drawn() -> None:
    """It integrates to 1, and a draw would only add noise: here q(g | x, y) is far from p(g)."""
    decoder, encoder = tiny_players(20.0)
    loose = NetworkConditional(LOOSE, (PIXELS, CLASS), Says(3.0, -1.0))
    wider_decoder = Player([decoder["y"], decoder["h"], Prior(LOOSE), decoder["x"]])
    wider_encoder = Player([encoder["y"], loose, encoder["h"]])
    found = decoder_vote(wider_decoder, wider_encoder, {"x": IMAGES}, "y", 2)
    torch.testing.assert_close(found, likelihood(1) + math.log(0.5))


def test_a_code_that_another_needs_is_drawn_and_weighed() -> None:
    """Nothing observed depends on g, but q(h | x, y, g) does: p(g) / q(g) then belongs to the weight."""
    decoder, encoder = tiny_players(20.0)
    needed = NetworkConditional(BIT, (PIXELS, CLASS, LOOSE), Says(20.0))
    sure = NetworkConditional(LOOSE, (PIXELS, CLASS), Says(30.0, 30.0))
    wider_decoder = Player([decoder["y"], decoder["h"], Prior(LOOSE), decoder["x"]])
    found = decoder_vote(wider_decoder, Player([encoder["y"], sure, needed]), {"x": IMAGES}, "y", 2)
    torch.testing.assert_close(found, likelihood(1) + 3 * math.log(0.5))


def test_a_code_that_the_encoder_reads_for_a_known_variable_only_is_not_drawn() -> None:
    """The encoder does not draw what is observed, so that g, which it would read for that, adds noise alone."""
    decoder, encoder = tiny_players(20.0)
    other = Variable("c", "categorical", (), 2)
    loose = NetworkConditional(LOOSE, (PIXELS, CLASS), Says(3.0, -1.0))
    reader = NetworkConditional(other, (PIXELS, LOOSE), Says(0.0, 0.0))
    wider_decoder = Player([decoder["y"], decoder["h"], Prior(LOOSE), Prior(other), decoder["x"]])
    wider_encoder = Player([encoder["y"], loose, reader, encoder["h"]])
    found = decoder_vote(wider_decoder, wider_encoder, {"x": IMAGES, "c": torch.tensor([0, 1])}, "y", 2)
    torch.testing.assert_close(found, likelihood(1) + 2 * math.log(0.5))


def test_without_codes_a_vote_is_the_likelihood_itself() -> None:
    """Whatever number of draws is asked for."""
    pixels = NetworkConditional(PIXELS, (CLASS,), Darker())
    encoder = Player([NetworkConditional(CLASS, (PIXELS,), Says(1.0, 0.0))])
    found = decoder_vote(Player([Prior(CLASS), pixels]), encoder, {"x": IMAGES}, "y", 2, draws=3)
    lit = torch.tensor([[0.9, 0.8], [0.3, 0.2]])  # [y, pixel]
    x = IMAGES.view(2, 1, 2)
    torch.testing.assert_close(found, (x * lit.log() + (1 - x) * (1 - lit).log()).sum(-1))


class Darker(nn.Module):
    """Logits of the pixels, by class alone."""

    def forward(self, images: Tensor | None, vectors: Tensor) -> Tensor:
        return torch.tensor([[0.9, 0.8], [0.3, 0.2]]).logit()[vectors.argmax(1)].view(-1, 1, 1, 2)


@pytest.mark.parametrize("draws", [1, 3])
def test_a_vote_reads_an_image_once_for_all_classes(draws: int) -> None:
    """And says what it says of a network that must be given the image with each of them."""
    torch.manual_seed(0)
    pixels = Variable("x", "bernoulli", (1, 6, 6))
    label, code = Variable("y", "categorical", (), 3), Variable("h", "bernoulli", (4,))
    decoder = Player([Prior(label), Prior(code), NetworkConditional(pixels, (label, code), Mlp(None, 7, (1, 6, 6)))])
    reader = Conv((1, 6, 6), 3, (4,), channels=(8,), hidden=16).eval()
    encoder = Player(
        [
            NetworkConditional(label, (pixels,), Mlp((1, 6, 6), 0, (3,))),
            NetworkConditional(code, (pixels, label), reader),
        ]
    )
    read: list[int] = []
    reader.stages.register_forward_hook(lambda module, given, found: read.append(len(found)))
    images = torch.rand(5, 1, 6, 6)
    votes = []
    for fewer in (True, False):
        reader.takes_fewer_images = fewer
        torch.manual_seed(1)
        votes.append(decoder_vote(decoder, encoder, {"x": images}, "y", 3, draws))
    torch.testing.assert_close(votes[0], votes[1])
    assert read == [5, 15 * draws]


class Sees(nn.Module):
    """A linear map of whatever is given."""

    def __init__(self, inputs: int, output: tuple[int, ...]) -> None:
        super().__init__()
        self.head = nn.Linear(inputs, math.prod(output))
        self.output = output

    def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        flat = torch.cat([given.flatten(1) for given in (images, vectors) if given is not None], dim=1)
        found: Tensor = self.head(flat)
        return found.view(-1, *self.output)


@pytest.mark.parametrize("own", [False, True], ids=["mlp", "own network"])
def test_a_vote_by_a_code_of_the_image_alone_draws_anew_for_every_class(own: bool) -> None:
    """With many draws it is the exact likelihood, which draws that all classes or copies share would not reach."""
    torch.manual_seed(0)
    decoder, encoder = tiny_players(1.0)
    net = Sees(2, (1,)) if own else Mlp((1, 1, 2), 0, (1,), (4,))
    alone = Player([encoder["y"], NetworkConditional(BIT, (PIXELS,), net)])
    exact = torch.stack([likelihood(0), likelihood(1)]).logsumexp(0) + math.log(0.5)
    torch.testing.assert_close(decoder_vote(decoder, alone, {"x": IMAGES}, "y", 2, 20_000), exact, atol=0.03, rtol=0)


@pytest.mark.parametrize("own", [False, True], ids=["mlp", "own network"])
def test_a_vote_reads_codes_and_rows_beside_an_image(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A code like an image joins the image by channel, and a row of numbers the vectors, for each class and draw."""
    torch.manual_seed(0)
    pixels, row = Variable("x", "bernoulli", (1, 4, 4)), Variable("t", "gaussian", (2,))
    label, code = Variable("y", "categorical", (), 3), Variable("h", "bernoulli", (4,))
    grid = Variable("z", "bernoulli", (2, 4, 4))
    decoder = Player([Prior(grid), Prior(code), NetworkConditional(pixels, (label, code, grid), Sees(39, (1, 4, 4)))])
    net = Sees(53, (4,)) if own else Mlp((3, 4, 4), 5, (4,), (8,))
    encoder = Player(
        [
            NetworkConditional(label, (pixels, row), Mlp((1, 4, 4), 2, (3,))),
            NetworkConditional(grid, (pixels, row, label), Mlp((1, 4, 4), 5, (2, 4, 4), (8,))),
            NetworkConditional(code, (pixels, row, label, grid), net),
        ]
    )
    observed = {"x": torch.rand(5, 1, 4, 4), "t": torch.randn(5, 2)}
    votes = decoder_vote(decoder, seeded(encoder), observed, "y", 3, 2)
    for conditional in (encoder["z"], encoder["h"]):
        assert isinstance(conditional, NetworkConditional)
        monkeypatch.setattr(conditional.net, "takes_fewer_images", False, raising=False)
    torch.testing.assert_close(votes, decoder_vote(decoder, seeded(encoder), observed, "y", 3, 2))
