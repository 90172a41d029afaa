"""The lower bound: its value and gradient against sums over all codes, its estimators, and whole runs with it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Independent, kl_divergence

import semivae
from semivae.errors import RecipeError
from semivae.game.conditionals import NetworkConditional, Prior
from semivae.game.game import Game
from semivae.game.graphs import Factor, PlayerName, StreamGraph
from semivae.game.ladder import LadderConditional
from semivae.game.lower_bound import (
    Bounds,
    Estimator,
    LowerBound,
    differentiable_draw,
    divergence,
    entropy,
    leave_one_out_bound,
    log_prob_of,
    lower_bound,
    straight_through_bits,
    straight_through_classes,
)
from semivae.game.plan import derive_plan
from semivae.game.players import Player
from semivae.game.schedules import Weight
from semivae.nets import Mlp
from semivae.nets.layers import without_head
from semivae.recipe import change_recipe, read_recipe
from semivae.recipe.schema import Recipe
from semivae.runs.folder import read_metrics
from semivae.variables import Sample, Variable
from tests.game_steps import PAIR, STILL, batches, make_game, play, teacher

X = Variable("x", "bernoulli", (1, 2, 2))
Z0, Z1 = Variable("z0", "bernoulli", (2,)), Variable("z1", "bernoulli", (2,))
Y = Variable("y", "categorical", (), classes=3)
IMAGE = torch.tensor([[[[1.0, 0.0], [1.0, 1.0]]]])


def net(size: int, output: tuple[int, ...], image: tuple[int, ...] | None = None) -> Mlp:
    return Mlp(image, size, output, hidden=(6,), activation="tanh")


class Fair(torch.nn.Module):
    """Logits of two fair coins, whatever is given."""

    def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        given = vectors if images is None else images
        assert given is not None
        return torch.zeros(len(given), 2)


def two_levels(order: str) -> tuple[Player, Player]:
    torch.manual_seed(1)
    decoder = Player(
        [Prior(Z0), NetworkConditional(Z1, (Z0,), net(2, (2,))), NetworkConditional(X, (Z1,), net(2, (1, 2, 2)))]
    )
    if order == "reverse":
        encoder = Player(
            [NetworkConditional(Z1, (X,), net(0, (2,), (1, 2, 2))), NetworkConditional(Z0, (Z1,), net(2, (2,)))]
        )
        return decoder, encoder
    network, size = without_head(net(0, (1,), (1, 2, 2)))
    levels = [
        LadderConditional(Z0, (X,), X, network, net(size, (2,))),
        LadderConditional(Z1, (X, Z0), X, network, net(size, (2,))),
    ]
    for level in levels:
        level.connect(decoder[level.target.name])
        level.differentiate_prior = True
    return decoder, Player(levels)


def enumerated_bound(decoder: Player, encoder: Player, image: Tensor) -> Tensor:
    """E_q[log p(x, z) - log q(z | x)] for one image, summed over all 16 codes; differentiable."""
    codes = torch.tensor(list(itertools.product((0.0, 1.0), repeat=4)))
    sample: Sample = {"x": image.expand(16, 1, 2, 2), "z0": codes[:, :2], "z1": codes[:, 2:]}
    log_p = torch.stack(list(decoder.log_prob(sample, ["z0", "z1", "x"]).values())).sum(0)
    log_q = torch.stack(list(encoder.log_prob(sample, ["z0", "z1"]).values())).sum(0)
    return (log_q.exp() * (log_p - log_q)).sum()


def gradient(value: Tensor, *players: Player) -> Tensor:
    """All parameters' gradients as one vector."""
    parameters = [parameter for player in players for parameter in player.parameters()]
    gradients = torch.autograd.grad(value, parameters, allow_unused=True)
    return torch.cat(
        [
            torch.zeros(parameter.numel()) if found is None else found.flatten()
            for parameter, found in zip(parameters, gradients, strict=True)
        ]
    )


@pytest.mark.parametrize("order", ["ladder", "reverse"])
def test_the_bounds_value_is_the_enumerated_one(order: str) -> None:
    decoder, encoder = two_levels(order)
    exact = enumerated_bound(decoder, encoder, IMAGE).item()
    torch.manual_seed(0)
    with torch.no_grad():
        bound, terms = lower_bound(decoder, encoder, {"x": IMAGE.expand(20000, 1, 2, 2)})
        _, raw = leave_one_out_bound(decoder, encoder, {"x": IMAGE.expand(10000, 1, 2, 2)})
    assert set(terms) == {("encoder", "z0"), ("encoder", "z1"), ("decoder", "x")} | (
        {("decoder", "z1")} if order == "reverse" else set()
    )
    for values in (bound, torch.stack(list(raw.values())).sum(0)):
        # six standard errors: wrong once in 5e8
        assert abs(values.mean().item() - exact) < 6 * values.std().item() / len(values) ** 0.5


@pytest.mark.parametrize("order", ["ladder", "reverse"])
def test_leave_one_out_is_unbiased(order: str) -> None:
    """Its mean gradient over 60 batches against the sum over all codes, for every parameter of both players."""
    decoder, encoder = two_levels(order)
    exact = gradient(enumerated_bound(decoder, encoder, IMAGE), decoder, encoder)
    torch.manual_seed(0)
    batch = {"x": IMAGE.expand(1000, 1, 2, 2)}
    found = torch.stack(
        [gradient(2 * leave_one_out_bound(decoder, encoder, batch)[0].mean(), decoder, encoder) for _ in range(60)]
    )
    found = found / 2
    error = found.std(0) / 60**0.5
    # Student's t with 59 degrees of freedom: 6.5 or more once in 5e7, about a hundred parameters
    assert ((found.mean(0) - exact).abs() <= 6.5 * error + 1e-6).all()


@pytest.mark.parametrize("order", ["ladder", "reverse"])
def test_leave_one_out_takes_off_what_all_draws_share(order: str) -> None:
    """An observed label that no draw depends on adds a constant to the bound, and nothing to the encoder's gradient."""
    decoder, encoder = two_levels(order)
    labelled = Player([Prior(Y, torch.tensor([3.0, 0.0, -3.0])), *(decoder[name] for name in decoder.names)])
    gradients = []
    for player, more in ((decoder, {}), (labelled, {"y": torch.full((50,), 2)})):
        torch.manual_seed(0)
        surrogate, terms = leave_one_out_bound(player, encoder, {"x": IMAGE.expand(50, 1, 2, 2), **more})
        gradients.append(gradient(surrogate.mean(), encoder))
        assert (("decoder", "y") in terms) == bool(more)
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)
    assert gradients[0].abs().max() > 1e-3


def test_a_factor_whose_parents_nobody_draws_is_no_term_of_the_bound() -> None:
    decoder, encoder = two_levels("ladder")
    top = Player([encoder["z0"]])
    given: Sample = {"x": IMAGE.expand(3, 1, 2, 2)}
    for bound, expected in (
        (lower_bound, {("encoder", "z0")}),
        (leave_one_out_bound, {("encoder", "z0"), ("decoder", "z0")}),
    ):
        _, terms = bound(decoder, top, given)
        assert set(terms) == expected, "p(x | z1) needs z1"
    bound_of_nothing, terms = lower_bound(decoder, Player([]), given)
    assert bound_of_nothing.tolist() == [0.0, 0.0, 0.0] and not terms


@pytest.mark.parametrize("order", ["ladder", "reverse"])
def test_straight_through_points_uphill(order: str) -> None:
    """Biased where the decoder is curved, but close: the cosine to the exact gradient."""
    decoder, encoder = two_levels(order)
    value = enumerated_bound(decoder, encoder, IMAGE)
    exact = gradient(value, decoder, encoder)
    torch.manual_seed(0)
    bound, _ = lower_bound(decoder, encoder, {"x": IMAGE.expand(40000, 1, 2, 2)})
    found = gradient(bound.mean(), decoder, encoder)
    assert torch.cosine_similarity(found, exact, dim=0).item() > 0.85


def test_straight_through_is_unbiased_where_the_decoder_is_quadratic() -> None:
    """A linear Gaussian decoder's log-probability is quadratic in the bits; the whole bound, against all four codes."""
    torch.manual_seed(2)
    real = Variable("x", "gaussian", (3,))
    head = Mlp(None, 2, (6,), hidden=())
    with torch.no_grad():
        head.head.weight[3:] = 0.0  # of the scale, which would bend the log-probability
    decoder = Player([Prior(Z0), NetworkConditional(real, (Z0,), head)])
    encoder = Player([NetworkConditional(Z0, (real,), net(3, (2,)))])
    value = torch.tensor([[0.5, -1.0, 2.0]])
    codes = torch.tensor(list(itertools.product((0.0, 1.0), repeat=2)))
    sample: Sample = {"x": value.expand(4, 3), "z0": codes}
    log_p = torch.stack(list(decoder.log_prob(sample, ["z0", "x"]).values())).sum(0)
    log_q = encoder.log_prob(sample, ["z0"])["z0"]
    exact = gradient((log_q.exp() * (log_p - log_q)).sum(), encoder)
    batch = {"x": value.expand(1000, 3)}
    found = torch.stack([gradient(lower_bound(decoder, encoder, batch)[0].mean(), encoder) for _ in range(60)])
    error = found.std(0) / 60**0.5
    # Student's t with 59 degrees of freedom: 6.5 or more once in 5e7
    assert ((found.mean(0) - exact).abs() <= 6.5 * error + 1e-6).all()


def test_straight_through_is_exact_for_quadratic_functions() -> None:
    torch.manual_seed(0)
    matrix, slope = torch.randn(3, 3, dtype=torch.float64), torch.randn(3, dtype=torch.float64)

    def quadratic(z: Tensor) -> Tensor:
        return ((z @ matrix) * z).sum(-1) + z @ slope

    logits = torch.randn(3, dtype=torch.float64, requires_grad=True)
    bits = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3)), dtype=torch.float64)
    chance = Independent(Bernoulli(logits=logits), 1).log_prob(bits).exp()
    exact = torch.autograd.grad((chance * quadratic(bits)).sum(), logits, retain_graph=True)[0]
    relaxed = straight_through_bits(logits.expand(8, 3), bits)
    torch.testing.assert_close(relaxed.detach(), bits)
    found = torch.autograd.grad((chance.detach() * quadratic(relaxed)).sum(), logits)[0]
    torch.testing.assert_close(found, exact)
    # one class out of three
    normalised = logits.log_softmax(0)
    exact = torch.autograd.grad((normalised.exp() * quadratic(torch.eye(3, dtype=torch.float64))).sum(), logits)[0]
    relaxed = straight_through_classes(logits.log_softmax(0).expand(3, 3), torch.arange(3))
    chance = logits.detach().softmax(0)
    found = torch.autograd.grad((chance * quadratic(relaxed)).sum(), logits)[0]
    torch.testing.assert_close(found, exact)


def test_a_map_of_one_hot_places_is_scored_as_its_classes() -> None:
    maps = Independent(Categorical(logits=torch.randn(2, 4, 5, 3)), 2)
    classes = torch.randint(3, (2, 4, 5))
    one_hot = torch.nn.functional.one_hot(classes, 3).float()
    torch.testing.assert_close(log_prob_of(maps, one_hot), maps.log_prob(classes))


def test_each_draw_is_compared_with_the_mean_of_all_others() -> None:
    """Where q is a fair coin, the score of all draws is one number, and the differences of a sample sum to zero."""
    decoder, _ = two_levels("reverse")
    encoder = Player([NetworkConditional(Z1, (X,), Fair()), NetworkConditional(Z0, (Z1,), Fair())])
    torch.manual_seed(0)
    observed = {"what no player knows": torch.zeros(5), "x": IMAGE.expand(5, 1, 2, 2)}
    surrogate, terms = leave_one_out_bound(decoder, encoder, observed, draws=3)
    log_p = torch.stack([term for (player, _), term in terms.items() if player == "decoder"]).sum(dim=0)
    torch.testing.assert_close(surrogate.view(5, 3).sum(dim=1), log_p.view(5, 3).sum(dim=1))
    assert log_p.view(5, 3).std(dim=1).max() > 0.01, "their bounds differ"


def test_a_class_is_drawn_with_its_gradient_through_a_network() -> None:
    torch.manual_seed(0)
    decoder = Player([Prior(Y), NetworkConditional(X, (Y,), net(3, (1, 2, 2)))])
    encoder = Player([NetworkConditional(Y, (X,), net(0, (3,), (1, 2, 2)))])
    batch = {"x": IMAGE.expand(20000, 1, 2, 2)}
    bound, terms = lower_bound(decoder, encoder, batch)
    codes: Sample = {"x": IMAGE.expand(3, 1, 2, 2), "y": torch.arange(3)}
    log_p = torch.stack(list(decoder.log_prob(codes, ["y", "x"]).values())).sum(0)
    log_q = encoder.log_prob(codes, ["y"])["y"]
    exact = (log_q.exp() * (log_p - log_q)).sum()
    assert set(terms) == {("encoder", "y"), ("decoder", "x")}
    assert abs(bound.mean().item() - exact.item()) < 6 * bound.std().item() / 20000**0.5
    found = gradient(bound.mean(), encoder)
    assert torch.cosine_similarity(found, gradient(exact, encoder), dim=0).item() > 0.9
    labelled, known = lower_bound(decoder, encoder, {**batch, "y": torch.zeros(20000, dtype=torch.int64)})
    assert set(known) == {("decoder", "y"), ("decoder", "x")} and labelled.shape == (20000,)


def test_divergences_and_entropies_from_logits() -> None:
    q, p = torch.randn(5, 4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    bits = [Independent(Bernoulli(logits=logits), 1) for logits in (q, p.expand(5, 4))]
    classes = [Categorical(logits=logits) for logits in (q, p.expand(5, 4))]
    for posterior, prior in (bits, classes):
        torch.testing.assert_close(divergence(posterior, prior), kl_divergence(posterior, prior))
        torch.testing.assert_close(entropy(posterior), posterior.entropy())
    torch.testing.assert_close(divergence(bits[0], Independent(Bernoulli(logits=p), 1)), kl_divergence(*bits))
    for sides in (2, 3):  # sums over the whole event, and over nothing of the batch
        maps = [Independent(Categorical(logits=torch.randn(5, *range(1, sides + 1), 4).double()), sides) for _ in "qp"]
        torch.testing.assert_close(divergence(*maps), kl_divergence(*maps))
        torch.testing.assert_close(entropy(maps[0]), maps[0].entropy())
    sure = Independent(Bernoulli(logits=torch.full((1, 2), 60.0)), 1)
    unsure = Independent(Bernoulli(logits=torch.full((1, 2), -60.0)), 1)
    assert divergence(sure, unsure).item() == pytest.approx(120.0), "saturated bits stay finite"
    classes_drawn = torch.tensor([0, 1, 2, 3, 0])
    one_hot = torch.nn.functional.one_hot(classes_drawn, 4).double()
    torch.testing.assert_close(log_prob_of(classes[0], one_hot), classes[0].log_prob(classes_drawn))


def test_families_without_differentiable_draws_are_named() -> None:
    from semivae.game.distributions import DiscretizedLogistic

    with pytest.raises(ValueError, match="a DiscretizedLogistic has no differentiable draws"):
        differentiable_draw(DiscretizedLogistic(torch.zeros(1), torch.ones(1)))


# Steps ---------------------------------------------------------------------------------------------------------------


def test_both_players_move_together_up_the_bound_of_what_is_observed() -> None:
    """The decoder's images teach nobody: neither the stream of labels alone nor its lessons cost anything."""
    played = play(make_game(kind=LowerBound))
    assert played.turns == [("decoder", "encoder")]
    assert set(played.losses) == {
        "decoder.labelled.x", "decoder.labelled.y", "encoder.labelled.h", "encoder.labelled.y",
        "decoder.unlabelled.x", "encoder.unlabelled.y", "encoder.unlabelled.h",
    }  # fmt: skip
    assert played.gradient("decoder").abs().max() > 0 and played.gradient("encoder").abs().max() > 0


def test_a_step_up_the_bound_descends_its_terms_beside_the_loss_of_pairs_and_views() -> None:
    """Gradients of both players, against the bounds of both streams and the encoder's other lessons, one by one."""
    half = Weight(0.5)
    game = make_game(kind=LowerBound, views=PAIR, weights={("encoder", "labelled", "y"): half})
    played = play(game, rates=STILL, seed=3)
    given = batches()
    torch.manual_seed(3)  # streams come in the order of the plan
    labelled, pairs_terms = lower_bound(game.decoder, game.encoder, given["labelled"])
    supervised = game.encoder.log_prob(given["labelled"], ["y"])["y"]
    unlabelled, image_terms = lower_bound(game.decoder, game.encoder, given["unlabelled"])
    taught, _ = teacher(game).loss(game.encoder, given["unlabelled"]["x"], torch.Generator(), 0.0)
    total = -labelled.mean() - 0.5 * supervised.mean() - unlabelled.mean() + taught
    for player in (game.decoder, game.encoder):
        name: PlayerName = "decoder" if player is game.decoder else "encoder"
        expected = torch.autograd.grad(total, list(player.parameters()), retain_graph=True, allow_unused=True)
        found = played.gradients[name].values()
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, torch.zeros_like(one) if other is None else other)
    for stream, terms in (("labelled", pairs_terms), ("unlabelled", image_terms)):
        for (by, factor), term in terms.items():
            torch.testing.assert_close(played.losses[f"{by}.{stream}.{factor}"], -term.mean().detach())
    torch.testing.assert_close(played.losses["encoder.labelled.y"], -supervised.mean().detach())


def test_the_bound_that_is_climbed_has_the_estimator_asked_for() -> None:
    decoder, encoder = two_levels("reverse")
    plan = derive_plan(
        [Factor("z0", learnable=False), Factor("z1", ("z0",)), Factor("x", ("z1",))],
        [Factor("z1", ("x",)), Factor("z0", ("z1",))],
        [StreamGraph("images", ("x",)), StreamGraph("prior", ())],
    )
    given: dict[str, Sample] = {"images": {"x": IMAGE.expand(5, 1, 2, 2)}, "prior": {}}
    bounds: dict[Estimator, Callable[[Player, Player, Sample], tuple[Tensor, Bounds]]] = {
        "zgr": lower_bound,
        "leave_one_out": leave_one_out_bound,
    }
    for estimator, bound in bounds.items():
        game = LowerBound(decoder, encoder, plan, estimator=estimator)
        torch.manual_seed(0)
        step = game.begin(given, {"images": 5, "prior": 5}, 0.0, torch.Generator())
        losses = game.loss(("decoder", "encoder"), step)
        torch.manual_seed(0)
        surrogate, terms = bound(decoder, encoder, given["images"])
        torch.testing.assert_close(losses.total, -surrogate.mean())
        named = losses.by_name()
        assert set(named) == {f"{player}.images.{factor}" for player, factor in terms}
        for (player, factor), term in terms.items():
            torch.testing.assert_close(named[f"{player}.images.{factor}"], -term.mean().detach())
    assert LowerBound(decoder, encoder, plan).estimator == "zgr"


def test_a_ladder_passes_gradients_to_the_decoder_in_the_bound_alone() -> None:
    kinds: list[tuple[type[Game], bool]] = [(LowerBound, True), (Game, False)]
    for kind, passes in kinds:
        decoder, encoder = two_levels("ladder")
        for level in encoder.levels.values():
            level.differentiate_prior = False
        plan = derive_plan(
            [Factor("z0", learnable=False), Factor("z1", ("z0",)), Factor("x", ("z1",))],
            [Factor("z0", ("x",)), Factor("z1", ("x", "z0"))],
            [StreamGraph("images", ("x",)), StreamGraph("prior", ())],
        )
        game = kind(decoder, encoder, plan)
        assert {level.differentiate_prior for level in game.encoder.levels.values()} == {passes}


# Whole runs ----------------------------------------------------------------------------------------------------------

DIGITS = """\
source: {name: digits}
split: {labelled: all, validation: 100}
variables:
  x: {family: bernoulli, shape: [1, 8, 8]}
  z0: {family: bernoulli, shape: [4]}
  z1: {family: bernoulli, shape: [8]}
decoder:
  z0: uniform
  z1: {given: [z0], net: {name: mlp, hidden: [16]}}
  x: {given: [z1], net: {name: mlp, hidden: [32]}}
bottom_up: {name: mlp, hidden: [32]}
encoder:
  z0: {given: [x], ladder: true, net: {name: mlp, hidden: []}}
  z1: {given: [x, z0], ladder: true, net: {name: mlp, hidden: []}}
streams:
  images: {observe: [x], batch: 64}
  prior: {observe: [], batch: 64}
training: {steps: 60, learning_rate: 1e-2, validate_every: 20, objective: elbo}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    path = tmp_path / "digits_elbo.yaml"
    path.write_text(DIGITS, encoding="utf-8")
    return read_recipe(path)


@pytest.mark.parametrize("estimator", ["zgr", "leave_one_out"])
def test_training_raises_the_bound(recipe: Recipe, tmp_path: Path, estimator: str) -> None:
    run = semivae.train(recipe, set={"training.estimator": estimator}, out=tmp_path / "run", device="cpu")
    rows = [row["losses"] for row in read_metrics(run.path)]
    assert set(rows[0]) >= {"decoder.images.x", "encoder.images.z0", "encoder.images.z1"}
    bounds = [-sum(value for name, value in row.items() if not name.startswith("share")) for row in rows]
    assert bounds[-1] > bounds[0] + 1.0
    assert run.sample(2)["x"].shape == (2, 1, 8, 8)


def test_a_resumed_climb_equals_an_uninterrupted_one(recipe: Recipe, tmp_path: Path) -> None:
    changes = {"training.steps": 4, "training.validate_every": 2, "training.checkpoint_every": 1}
    whole = semivae.train(recipe, set=changes, out=tmp_path / "whole", device="cpu")
    seen: list[int] = []

    def stop(progress: object) -> None:
        seen.append(1)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        semivae.train(recipe, set=changes, out=tmp_path / "run", device="cpu", progress=stop)
    resumed = semivae.train(recipe, set=changes, out=tmp_path / "run", device="cpu", resume=True)
    for player in ("decoder", "encoder"):
        one, other = getattr(resumed, player).state_dict(), getattr(whole, player).state_dict()
        assert all(torch.equal(one[name], other[name]) for name in other)


def test_labels_and_their_twin_train_with_the_bound(tmp_path: Path) -> None:
    changes = {"training.steps": 2, "training.validate_every": 1, "training.objective": "elbo"}
    run = semivae.train("digits_50labels", set=changes, out=tmp_path / "run", device="cpu")
    last = read_metrics(run.path)[1]["losses"]
    assert {"decoder.unlabelled.x", "encoder.unlabelled.y", "encoder.unlabelled.h", "encoder.labelled.y"} <= set(last)
    assert not any(".labels." in name for name in last), "what the decoder paints plays no part"
    assert run.at("twin").finished


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder.z0": "samples", "encoder.z0.ladder": False}, r"needs p\(z0\), but the decoder has no density of it"),
        (
            {
                "variables.z0.family": "discretized_logistic",
                "decoder.z0": "learned",
                "encoder.z0.ladder": False,
            },
            "training.estimator: zgr has no gradient for a discretized_logistic variable that is drawn, z0; use leave_",
        ),
        (
            {"training.objective": "symmetric", "training.estimator": "leave_one_out"},
            "training.estimator: the game needs no estimator",
        ),
    ],
)
def test_bounds_that_cannot_be_are_refused(recipe: Recipe, changes: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        change_recipe(recipe, changes)
