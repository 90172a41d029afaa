"""Ladders: what a level adds to what, whose parameters move, and that the exact posterior of a hierarchy is one."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import semivae
from semivae.api import Run
from semivae.errors import RecipeError
from semivae.game.conditionals import Conditional, NetworkConditional, Prior
from semivae.game.game import Game
from semivae.game.graphs import Factor, StreamGraph
from semivae.game.ladder import LadderConditional, with_shared_features
from semivae.game.lower_bound import leave_one_out_bound
from semivae.game.plan import Plan, derive_plan
from semivae.game.players import Player
from semivae.game.teaching.vote import decoder_vote, draw_and_score
from semivae.generative.likelihood import weights
from semivae.nets import Conv, Mlp
from semivae.nets.layers import without_head
from semivae.recipe import change_recipe, read_recipe
from semivae.recipe.schema import Recipe
from semivae.runs.folder import read_metrics
from semivae.variables import Sample, Variable, repeated

DIGITS_LADDER = """\
source: {name: digits}
split: {labelled: 50, validation: 100}
variables:
  x: {family: bernoulli, shape: [1, 8, 8]}
  y: {family: categorical, classes: 10}
  z0: {family: bernoulli, shape: [6]}
  z1: {family: bernoulli, shape: [12]}
decoder:
  y: uniform
  z0: uniform
  z1: {given: [y, z0], net: {name: mlp, hidden: [32], activation: tanh, skip: true}}
  x: {given: [z1], net: {name: mlp, hidden: [32]}}
bottom_up: {name: conv, channels: [8], hidden: 32}
encoder:
  y: {given: [x], ladder: true, net: {name: mlp, hidden: [16]}}
  z0: {given: [x], ladder: true, net: {name: mlp, hidden: []}}
  z1: {given: [x, y, z0], ladder: true, net: {name: mlp, hidden: []}}
streams:
  labelled: {observe: [x, y], batch: 16}
  unlabelled: {observe: [x], batch: 16}
  labels: {observe: [y], batch: 16}
training: {steps: 4, validate_every: 2}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = tmp_path_factory.mktemp("recipes") / "digits_ladder.yaml"
    path.write_text(DIGITS_LADDER, encoding="utf-8")
    return read_recipe(path)


@pytest.fixture(scope="module")
def run(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "ladder"
    return semivae.train(recipe, set={"training.twin": True}, out=out, device="cpu")


X = Variable("x", "bernoulli", (1, 4, 4))
Z0, Z1 = Variable("z0", "bernoulli", (3,)), Variable("z1", "bernoulli", (5,))


def ladder_players() -> tuple[Player, Player]:
    torch.manual_seed(0)
    network, size = without_head(Conv((1, 4, 4), 0, (1,), channels=(4,), hidden=7))
    encoder = Player(
        [
            LadderConditional(Z0, (X,), X, network, Mlp(None, size, (3,), hidden=())),
            LadderConditional(Z1, (X, Z0), X, network, Mlp(None, size, (5,), hidden=(6,))),
        ]
    )
    decoder = Player(
        [
            Prior(Z0, learnable=True),
            NetworkConditional(Z1, (Z0,), Mlp(None, 3, (5,), hidden=(6,))),
            NetworkConditional(X, (Z1,), Mlp(None, 5, (1, 4, 4), hidden=(6,))),
        ]
    )
    for name, level in encoder.levels.items():
        level.connect(decoder[name])
    return decoder, encoder


def two_level_plan(encoder: list[Factor]) -> Plan:
    decoder = [Factor("z0", learnable=False), Factor("z1", ("z0",)), Factor("x", ("z1",))]
    return derive_plan(decoder, encoder, [StreamGraph("images", ("x",)), StreamGraph("prior", ())])


LADDER_ORDER = [Factor("z0", ("x",)), Factor("z1", ("x", "z0"))]
REVERSE_ORDER = [Factor("z1", ("x",)), Factor("z0", ("z1",))]


def some_sample(decoder: Player, batch: int = 6) -> Sample:
    with torch.no_grad():
        return decoder.complete({}, batch)


def rows_read(network: nn.Module) -> list[int]:
    """Returns the list that every reading of a network's first layer adds its number of rows to."""
    read: list[int] = []
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear))
    first.register_forward_hook(lambda module, given, found: read.append(len(found)))
    return read


@pytest.mark.parametrize("draws", [1, 3])
def test_a_vote_reads_an_image_once_for_all_classes(run: Run, draws: int) -> None:
    encoder, images = copy.deepcopy(run.encoder), torch.rand(5, 1, 8, 8)
    read = rows_read(next(iter(encoder.levels.values())).bottom_up)
    rows = {"y": torch.arange(3).repeat(5 * draws), "x": repeated(images, 15 * draws)}
    found = []
    for fewer in ({"x": images}, rows):
        torch.manual_seed(1)
        with torch.no_grad():
            found.append(draw_and_score(encoder, rows, ["z0", "z1"], fewer))
    torch.testing.assert_close(*(sample for sample, _ in found))
    torch.testing.assert_close(*(scores for _, scores in found))
    assert read == [5, 15 * draws] and set(found[0][1]) == {"z0", "z1"}
    decoder_vote(run.decoder, encoder, {"x": images}, "y", 3, draws)
    assert read[2:] == [5]


def test_a_bound_of_many_draws_reads_an_image_once(run: Run) -> None:
    run = Run.load(run.path, device="cpu")  # one of its own, since the network keeps the hook
    read = rows_read(next(iter(run.encoder.levels.values())).bottom_up)
    images = torch.rand(5, 1, 8, 8)
    torch.manual_seed(1)
    with torch.no_grad():
        found, _, rates = weights(run, images, 4)
        assert read == [5]
        torch.manual_seed(1)
        sample = run.encoder.complete({"x": images.repeat_interleave(4, dim=0)}, sampled=True)
        names = ["y", "z0", "z1"]
        log_q, log_p = run.encoder.log_prob(sample, names), run.decoder.log_prob(sample, ["x", *names])
    for name in names:
        torch.testing.assert_close(rates[name].float(), log_q[name] - log_p[name], rtol=1e-4, atol=1e-4)
    expected = torch.stack([*log_p.values(), *(-value for value in log_q.values())]).sum(dim=0)
    torch.testing.assert_close(found.float(), expected.view(5, 4), rtol=1e-5, atol=1e-3)


def test_the_leave_one_out_bound_reads_an_image_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, encoder = ladder_players()
    read = rows_read(encoder.levels["z0"].bottom_up)
    gradients, path = [], "semivae.game.lower_bound.with_shared_features"
    for each_draw in (False, True):
        torch.manual_seed(1)
        if each_draw:
            monkeypatch.setattr(path, lambda levels, sample, _: with_shared_features(levels, sample))
        surrogate, _ = leave_one_out_bound(decoder, encoder, {"x": torch.rand(5, 1, 4, 4)}, 2)
        gradients.append(torch.autograd.grad(surrogate.mean(), list(encoder.parameters())))
    assert read == [5, 10]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_a_level_adds_its_own_natural_parameters_to_the_decoders() -> None:
    decoder, encoder = ladder_players()
    with torch.no_grad():
        next(decoder["z0"].parameters()).copy_(torch.tensor([1.0, -2.0, 0.5]))
    sample = some_sample(decoder)
    for name in ("z0", "z1"):
        level = encoder.levels[name]
        assert isinstance(level.bottom_up, Conv)
        added = level.net(None, level.bottom_up.features(2 * sample["x"] - 1, None))
        expected = decoder[name].parameters_of(sample) + added
        torch.testing.assert_close(level.parameters_of(sample), expected)


def test_players_stay_disjoint_and_the_encoders_loss_reaches_the_encoder_alone() -> None:
    decoder, encoder = ladder_players()
    game = Game(decoder, encoder, two_level_plan(LADDER_ORDER))  # it refuses shared parameters
    assert not any("prior" in name or "above" in name for name in encoder.state_dict())
    torch.stack(list(game.encoder.log_prob(some_sample(decoder), ["z0", "z1"]).values())).sum().backward()
    assert all(parameter.grad is None for parameter in decoder.parameters())
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_the_average_leans_on_the_living_decoder() -> None:
    decoder, encoder = ladder_players()
    game = Game(decoder, encoder, two_level_plan(LADDER_ORDER))
    sample = some_sample(decoder)
    before = game.ema_encoder["z0"].parameters_of(sample).clone()
    with torch.no_grad():
        next(decoder["z0"].parameters()).add_(1.0)
    torch.testing.assert_close(game.ema_encoder["z0"].parameters_of(sample), before + 1.0)


def test_the_bottom_up_network_runs_once_for_all_levels() -> None:
    decoder, encoder = ladder_players()
    calls: list[int] = []
    network = encoder.levels["z0"].bottom_up
    assert isinstance(network, Conv)
    network.stages.register_forward_hook(lambda *_: calls.append(1))
    sample = some_sample(decoder)
    encoder.log_prob(sample, ["z0", "z1"])
    completed = encoder.complete({"x": sample["x"]})
    assert len(calls) == 2
    assert set(completed) == {"x", "z0", "z1"}, "what levels share does not stay in the sample"
    shared = encoder.log_prob(sample, ["z0", "z1"])
    for name in ("z0", "z1"):  # each alone gives the same
        torch.testing.assert_close(shared[name], encoder[name](sample).log_prob(sample[name]))


@pytest.mark.parametrize(
    ("order", "draws", "scores"),
    [(LADDER_ORDER, ("z0", "z1"), ("z0", "z1")), (REVERSE_ORDER, ("z1", "z0"), ("z1", "z0"))],
)
def test_plan_of_both_orders(order: list[Factor], draws: tuple[str, ...], scores: tuple[str, ...]) -> None:
    rows = {(lesson.stream, lesson.learner): lesson for lesson in two_level_plan(order).lessons}
    assert set(rows) == {("images", "decoder"), ("prior", "encoder")}
    assert rows["images", "decoder"].draws == draws
    assert rows["images", "decoder"].scores == ("z1", "x")
    assert rows["prior", "encoder"].draws == ("z0", "z1", "x")
    assert rows["prior", "encoder"].scores == scores


# The exact posterior of a hierarchy ----------------------------------------------------------------------------------

A, B, C = (Variable(name, "categorical", (), classes) for name, classes in (("z0", 2), ("z1", 3), ("x", 4)))
DOUBLE = torch.float64


def table(*shape: int) -> Tensor:
    values = torch.rand(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=DOUBLE).add(0.2)
    return values / values.sum(-1, keepdim=True)


P_B, P_C = table(2, 3), table(3, 4)
JOINT = 0.5 * P_B[:, :, None] * P_C[None]  # [z0, z1, x]


class Table(Conditional):
    """A full table of logits, one row for every combination of the given values."""

    learnable = True

    def __init__(self, target: Variable, given: tuple[Variable, ...], probabilities: Tensor) -> None:
        super().__init__(target, given)
        self.logits = nn.Parameter(probabilities.log())

    def parameters_of(self, sample: Sample) -> Tensor:
        return self.logits[tuple(sample[variable.name] for variable in self.given)]

    def forward(self, sample: Sample) -> torch.distributions.Distribution:
        return self.family.distribution(self.target, self.parameters_of(sample))


class OneHot(nn.Module):
    """The simplest bottom-up network: which value x has."""

    def features(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        assert vectors is not None
        return (vectors > 0).to(DOUBLE)


class Rows(nn.Module):
    """A head that gives every value of x a row of its own."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows = nn.Parameter(rows.clone())

    def forward(self, images: Tensor | None, vectors: Tensor) -> Tensor:
        return vectors @ self.rows


class TableLadder(LadderConditional):
    def forward(self, sample: Sample) -> torch.distributions.Distribution:
        return self.family.distribution(self.target, self.parameters_of(sample))  # in double precision


def tables() -> Player:
    return Player([Prior(A, torch.zeros(2, dtype=DOUBLE)), Table(B, (A,), P_B), Table(C, (B,), P_C)])


def ladder_posterior(decoder: Player) -> Player:
    """p(z1 | z0, x) is proportional to p(z1 | z0) p(x | z1): the decoder's logits plus log p(x | z1), a ladder."""
    network = OneHot()
    top = TableLadder(A, (C,), C, network, Rows(JOINT.sum(1).T.log()))
    below = TableLadder(B, (C, A), C, network, Rows(P_C.T.log()))
    encoder = Player([top, below])
    for name, level in encoder.levels.items():
        level.connect(decoder[name])
    return encoder


def reverse_posterior(_: Player) -> Player:
    joint = JOINT.sum(0)  # [z1, x]
    return Player([Table(B, (C,), (joint / joint.sum(0)).T), Table(A, (B,), (JOINT.sum(2) / JOINT.sum((0, 2))).T)])


def expected_gradients(decoder: Player, encoder: Player) -> dict[str, float]:
    """Largest gradient of each player's expected score under the other's exact completion of the two streams."""
    cells = torch.tensor(list(itertools.product(range(2), range(3), range(4))))
    sample = {"z0": cells[:, 0], "z1": cells[:, 1], "x": cells[:, 2]}
    with torch.no_grad():
        from_encoder = JOINT.sum((0, 1))[sample["x"]]
        for log_prob in encoder.log_prob(sample, ["z0", "z1"]).values():
            from_encoder = from_encoder * log_prob.exp()
        from_decoder = torch.stack(list(decoder.log_prob(sample, ["z1", "x"]).values())).sum(0).exp() / 2
    largest = {}
    for name, player, chance, scored in (
        ("decoder", decoder, from_encoder, ["z1", "x"]),
        ("encoder", encoder, from_decoder, ["z0", "z1"]),
    ):
        decoder.zero_grad()
        encoder.zero_grad()
        score = torch.stack(list(player.log_prob(sample, scored).values())).sum(0)
        (chance * score).sum().backward()
        largest[name] = max(float(p.grad.abs().max()) for p in player.parameters() if p.grad is not None)
    return largest


@pytest.mark.parametrize("posterior", [ladder_posterior, reverse_posterior])
def test_the_exact_posterior_is_an_equilibrium_in_both_orders(posterior: Callable[[Player], Player]) -> None:
    decoder = tables()
    encoder = posterior(decoder)
    assert max(expected_gradients(decoder, encoder).values()) < 1e-12
    with torch.no_grad():
        next(encoder["z1"].parameters())[0, 0] += 0.3
    moved = expected_gradients(decoder, encoder)
    assert min(moved.values()) > 1e-3


# Whole runs ----------------------------------------------------------------------------------------------------------


def test_a_run_with_a_ladder_trains_loads_and_predicts(run: Run) -> None:
    assert run.finished
    assert set(run.encoder.levels) == {"y", "z0", "z1"}
    level = run.encoder.levels["z1"]
    assert level.prior is run.decoder["z1"], "a loaded ladder uses the loaded decoder"
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8)
    assert run.predict(images).shape == (5,)
    assert run.posterior("z1", x=images, y=3).sample().shape == (5, 12)
    assert run.sample(4, y=3)["z1"].shape == (4, 12)
    assert 0.0 <= run.evaluate()["twin"]["error"] <= 1.0


def test_the_levels_share_one_network_after_loading(run: Run) -> None:
    networks = {id(level.bottom_up) for level in run.encoder.levels.values()}
    assert len(networks) == 1


@pytest.mark.parametrize("name", ["classifier.pt2", "classifier.onnx"])
def test_the_label_on_top_of_a_ladder_exports(run: Run, tmp_path: Path, name: str) -> None:
    assert run.export(tmp_path / name)["largest_difference"] < 1e-4


def test_a_resumed_ladder_equals_an_uninterrupted_one(recipe: Recipe, run: Run, tmp_path: Path) -> None:
    stopped = 0

    def stop(progress: object) -> None:
        nonlocal stopped
        stopped += 1
        if stopped == 2:  # the start is reported first, then step 2
            raise KeyboardInterrupt

    out = tmp_path / "run"
    changes = {"training.twin": True, "training.checkpoint_every": 1}
    with pytest.raises(KeyboardInterrupt):
        semivae.train(recipe, set=changes, out=out, device="cpu", progress=stop)
    resumed = semivae.train(recipe, set=changes, out=out, device="cpu", resume=True)
    for player in ("decoder", "encoder"):
        one, other = getattr(resumed, player).state_dict(), getattr(run, player).state_dict()
        assert all(torch.equal(one[name], other[name]) for name in other)


def test_bits_of_every_level_are_reported(run: Run) -> None:
    bits = [row["bits"] for row in read_metrics(run.path) if row["phase"] == "model" and row["bits"]]
    assert bits and all(set(row) == {"z0", "z1"} and all(map(math.isfinite, row.values())) for row in bits)


def test_a_copy_for_export_needs_nothing_outside_itself() -> None:
    decoder, encoder = ladder_players()
    sample = some_sample(decoder)
    own = encoder.levels["z1"].standalone()
    before = own.parameters_of(sample).clone()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(1.0)
    assert torch.equal(own.parameters_of(sample), before)
    assert not torch.allclose(encoder["z1"].parameters_of(sample), before)
    assert copy.deepcopy(own).prior is not own.prior


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bottom_up": None}, "share a network of the data; add it as bottom_up"),
        ({"encoder.z1.given": ["x", "z0"]}, "encoder.z1.given: the decoder's z1 is given y, z0; a level of the ladder"),
        ({"encoder.z0.given": ["y"]}, "encoder.z0.given: the decoder's z0 is given nothing; a level"),
        ({"decoder.z0": "samples"}, "encoder.z0.ladder: the decoder has no factor of z0 to start from"),
        ({"decoder.x.ladder": True}, "decoder.x.ladder: only the encoder's factors can be levels"),
        ({"variables.z0.family": "gaussian", "decoder.z0": "standard"}, "z0 is gaussian; remove ladder"),
        (
            {"encoder.y.ladder": False, "encoder.z0.ladder": False, "encoder.z1.ladder": False},
            "bottom_up: no factor of the encoder says ladder: true",
        ),
    ],
)
def test_ladders_that_cannot_be_are_refused(recipe: Recipe, changes: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        change_recipe(recipe, changes)


def test_a_network_without_a_feature_vector_cannot_be_shared(recipe: Recipe) -> None:
    from semivae.scenario.build import build_players

    for name, message in (("deconv", "bottom_up: net deconv reads vectors"), ("unet", "bottom_up: ")):
        changed = change_recipe(recipe, {"bottom_up": {"name": name}})
        with pytest.raises(RecipeError, match=message):
            build_players(changed)
