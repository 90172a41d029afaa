"""Players and their conditionals: what they draw, what they hand a network, and that distributions are float32."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from semivae.game.conditionals import NetworkConditional, Prior
from semivae.game.finite import finite
from semivae.game.ladder import LadderConditional
from semivae.game.network_inputs import network_inputs
from semivae.game.players import Player
from semivae.nets import Mlp
from semivae.nets.layers import without_head
from semivae.variables import VOID, Variable
from tests.game_steps import players

IMAGE, PICTURE = Variable("x", "bernoulli", (1, 2, 2)), Variable("w", "gaussian", (3, 2, 2))
MAP, CODE = Variable("s", "categorical", (2, 2), 3), Variable("h", "bernoulli", (2,))
ROW, CLASS = Variable("r", "gaussian", (3,)), Variable("y", "categorical", (), 3)


class Fixed(nn.Module):
    """The same parameters for all, whatever is given; they can be learnt."""

    def __init__(self, *parameters: float) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.tensor(parameters))

    def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        given = images if images is not None else vectors
        assert given is not None
        return self.values.expand(len(given), -1)


# Players -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["type", "train", "values", "keys", "forward"])
def test_a_variable_may_be_called_what_modules_call_their_own(name: str) -> None:
    player = Player([Prior(Variable(name, "bernoulli", (2,)))])
    assert name in player and "h" not in player
    assert player.complete({}, 5)[name].shape == (5, 2)
    assert isinstance(player[name], Prior)


def test_what_is_drawn_beside_known_values_has_their_batch() -> None:
    decoder, _ = players()
    completed = decoder.complete({"y": torch.tensor([2, 0, 1])})
    assert completed["h"].shape == (3, 2) and completed["x"].shape == (3, 1, 2, 2)


def test_variables_may_be_scored_from_an_iterator() -> None:
    _, encoder = players()
    sample = {"x": torch.rand(4, 1, 2, 2), "y": torch.tensor([0, 1, 2, 0]), "h": torch.ones(4, 2)}
    found = encoder.log_prob(sample, iter(["y", "h"]))
    assert {name: value.shape for name, value in found.items()} == {"y": (4,), "h": (4,)}


def test_only_a_ladder_has_levels() -> None:
    network, size = without_head(Mlp((1, 2, 2), 0, (1,), hidden=(4,)))
    level = LadderConditional(CODE, (IMAGE,), IMAGE, network, Mlp(None, size, (2,), hidden=()))
    encoder = Player([level, NetworkConditional(CLASS, (IMAGE,), Mlp((1, 2, 2), 0, (3,)))])
    assert encoder.levels == {"h": level} and encoder.names == ("h", "y")


# Draws ---------------------------------------------------------------------------------------------------------------


def drawn(variable: Variable, *parameters: float, sampled: bool = False) -> Tensor:
    torch.manual_seed(0)
    conditional = NetworkConditional(variable, (ROW,), Fixed(*parameters))
    return conditional.draw({"r": torch.zeros(1000, 3)}, 7, sampled)


def test_a_code_is_drawn_or_handed_over_as_its_mean() -> None:
    """A bit of probability 3/4; the mean of 1,000 draws is off by 0.07 once in 10^6."""
    bit, mean = (Variable("h", "bernoulli", (1,), complete_with=how) for how in ("sample", "mean"))
    draws = drawn(bit, math.log(3))
    assert draws.shape == (1000, 1) and set(draws.unique().tolist()) == {0, 1}
    assert draws.mean().item() == pytest.approx(0.75, abs=0.07)
    torch.testing.assert_close(drawn(mean, math.log(3)), torch.full((1000, 1), 0.75))
    assert torch.equal(drawn(mean, math.log(3), sampled=True), draws)


def test_a_class_is_drawn_or_handed_over_as_its_mode() -> None:
    drawn_class, mode = (Variable("y", "categorical", (), 3, how) for how in ("sample", "mode"))
    assert len(drawn(drawn_class, 0.0, 0.1, 0.0).unique()) == 3
    assert (drawn(mode, 0.0, 0.1, 0.0) == 1).all()


def test_priors_are_drawn_from_even_where_the_mean_is_asked_for() -> None:
    prior = Prior(Variable("h", "bernoulli", (2,), complete_with="mean"))
    assert set(prior.draw({}, 50).unique().tolist()) == {0.0, 1.0}


def test_unknown_bits_stay_unknown_where_a_parent_is_not_shown() -> None:
    """A parent that was drawn without the known bits does not go with them."""
    player = Player([Prior(CLASS), NetworkConditional(CODE, (CLASS,), Fixed(0.0, 0.0))])
    shown = {"h": torch.tensor([[1.0, VOID]]).repeat(5, 1)}
    for found in (player.fill(shown), player.complete(shown)):
        assert torch.equal(found["h"], shown["h"])
    assert (player.fill(shown | {"y": torch.zeros(5).long()})["h"] != VOID).all()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_not_drawn_from(value: float) -> None:
    conditional = NetworkConditional(CODE, (CLASS, ROW), Fixed(0.0, value))
    with pytest.raises(FloatingPointError, match="the network of h given y, r returns values that are not finite"):
        conditional.draw({"y": torch.zeros(1).long(), "r": torch.zeros(1, 3)}, 1)


def test_large_numbers_are_drawn_from_although_their_sum_overflows() -> None:
    large = torch.full((2, 2), 3e38)
    assert torch.equal(finite(large, "a network"), large)
    with pytest.raises(FloatingPointError, match="a network returns values that are not finite"):
        finite(torch.tensor([3e38, 3e38, -math.inf]), "a network")


# Priors and networks -------------------------------------------------------------------------------------------------


def test_a_prior_is_learnt_only_if_asked() -> None:
    fixed, learnt = Prior(CLASS), Prior(CLASS, learnable=True)
    assert not fixed.learnable and learnt.learnable and NetworkConditional.learnable
    assert not list(fixed.parameters()) and [each.shape for each in learnt.parameters()] == [(3,)]
    assert set(fixed.state_dict()) == set(learnt.state_dict()) == {"natural"}
    torch.testing.assert_close(fixed({}).log_prob(torch.tensor(2)), torch.tensor(1 / 3).log())
    given = Prior(CLASS, torch.tensor([0.2, 0.3, 0.5]).log())
    torch.testing.assert_close(given({}).log_prob(torch.tensor(2)), torch.tensor(0.5).log())


def test_networks_run_in_bfloat16_and_distributions_in_float32() -> None:
    conditional = NetworkConditional(CODE, (ROW,), Mlp(None, 3, (2,), hidden=(4,)))
    with torch.autocast("cpu", torch.bfloat16):
        sample = {"r": torch.randn(5, 3)}
        assert conditional.parameters_of(sample).dtype == torch.bfloat16
        assert conditional(sample).base_dist.logits.dtype == torch.float32
        assert conditional.draw(sample, 5).dtype == torch.float32
        assert conditional.features(sample).dtype == torch.float32


def test_features_are_what_the_last_layer_reads() -> None:
    conditional = NetworkConditional(CODE, (ROW,), Mlp(None, 3, (2,), hidden=(4,)))
    assert isinstance(conditional.net, Mlp)
    sample = {"r": torch.randn(5, 3)}
    features = conditional.features(sample)
    assert features.shape == (5, 4)
    torch.testing.assert_close(conditional.net.head(features), conditional.parameters_of(sample))


def test_a_levels_features_are_what_its_head_reads() -> None:
    network, size = without_head(Mlp((1, 2, 2), 0, (1,), hidden=(4,)))
    head = Mlp(None, size, (2,), hidden=(6,))
    level = LadderConditional(CODE, (IMAGE,), IMAGE, network, head)
    level.connect(Prior(CODE, torch.tensor([1.0, -1.0])))
    sample = {"x": torch.rand(5, 1, 2, 2)}
    assert level.features(sample).shape == (5, 6)
    torch.testing.assert_close(
        head.head(level.features(sample)) + torch.tensor([1.0, -1.0]), level.parameters_of(sample)
    )
    with torch.autocast("cpu", torch.bfloat16):
        assert level.features(sample).dtype == torch.float32


def test_a_network_reads_images_by_channel_and_all_else_in_a_row() -> None:
    sample = {
        "x": torch.tensor([[[[0.0, 1.0], [0.5, 1.0]]]]),
        "w": torch.arange(12.0).view(1, 3, 2, 2),
        "s": torch.tensor([[[0, 1], [2, VOID]]]),
        "h": torch.tensor([[1.0, 0.0]]),
        "y": torch.tensor([2]),
        "r": torch.tensor([[0.1, 0.2, 0.3]]),
    }
    images, vectors = network_inputs((CODE, IMAGE, CLASS, MAP, ROW, PICTURE), sample)
    assert images is not None and vectors is not None
    root = math.sqrt(3)
    torch.testing.assert_close(images[:, 0], torch.tensor([[[-1.0, 1.0], [0.0, 1.0]]]))
    torch.testing.assert_close(images[0, 1:4, 0, 1], torch.tensor([0.0, root, 0.0]))
    assert images[0, 1:4, 1, 1].tolist() == [0, 0, 0] and torch.equal(images[:, 4:], sample["w"])
    torch.testing.assert_close(vectors, torch.tensor([[1.0, -1.0, 0.0, 0.0, root, 0.1, 0.2, 0.3]]))
    table = Variable("t", "gaussian", (2, 2))
    rows = network_inputs((table, CODE), {**sample, "t": torch.arange(4.0).view(1, 2, 2)})[1]
    assert rows is not None and rows.tolist() == [[0, 1, 2, 3, 1, -1]]
    assert network_inputs((CODE,), sample)[0] is None and network_inputs((IMAGE,), sample)[1] is None


def test_images_and_maps_are_what_networks_read_as_images() -> None:
    assert [each.is_image for each in (IMAGE, PICTURE, MAP, CODE, ROW, CLASS)] == [True] * 3 + [False] * 3


def test_a_standalone_copy_goes_its_own_way() -> None:
    conditional = NetworkConditional(CODE, (ROW,), Mlp(None, 3, (2,), hidden=(4,)))
    copy, sample = conditional.standalone(), {"r": torch.randn(5, 3)}
    before = conditional.parameters_of(sample)
    assert torch.equal(copy.parameters_of(sample), before)
    with torch.no_grad():
        for parameter in conditional.parameters():
            parameter.add_(1.0)
    assert torch.equal(copy.parameters_of(sample), before)
