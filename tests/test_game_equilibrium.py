"""A tabular model small enough to sum over: at the exact equilibrium every player's expected gradient is zero.

x has three values, y two classes, h one bit. Encoder and decoder are full tables. If p(y) p(h) p(x | y, h) has exactly
the marginal pi(x) of the data, and q is its posterior, neither player gains by moving; a step away, somebody does.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from semivae.game.conditionals import Conditional, Prior
from semivae.game.distributions import with_evidence
from semivae.game.evidence import log_likelihoods, marginal_log_prob
from semivae.game.graphs import Factor, StreamGraph
from semivae.game.plan import Plan, derive_plan
from semivae.game.players import Player
from semivae.variables import VOID, Sample, Variable

X = Variable("x", "categorical", (), classes=3)
Y = Variable("y", "categorical", (), classes=2)
H = Variable("h", "categorical", (), classes=2)
VARIABLES = {"x": X, "y": Y, "h": H}


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


def random_table(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(shape[0]), dtype=torch.float64).add(0.2)


def normalised(table: Tensor) -> Tensor:
    return table / table.sum(-1, keepdim=True)


P_X_GIVEN_YH = normalised(random_table(2, 2, 3))
JOINT = (0.25 * P_X_GIVEN_YH).permute(2, 0, 1)  # [x, y, h], under fair y and h
PI_X = JOINT.sum((1, 2))
PI_XY = JOINT.sum(2)
Q_Y_GIVEN_X = normalised(PI_XY)
Q_H_GIVEN_XY = normalised(JOINT)


def equilibrium() -> tuple[Player, Player]:
    fair = torch.zeros(2, dtype=torch.float64)
    decoder = Player([Prior(Y, fair), Prior(H, fair.clone()), Table(X, (Y, H), P_X_GIVEN_YH)])
    encoder = Player([Table(Y, (X,), Q_Y_GIVEN_X), Table(H, (X, Y), Q_H_GIVEN_XY)])
    return decoder, encoder


def plan() -> Plan:
    return derive_plan(
        [Factor("y", learnable=False), Factor("h", learnable=False), Factor("x", ("y", "h"))],
        [Factor("y", ("x",)), Factor("h", ("x", "y"))],
        [StreamGraph("labelled", ("x", "y")), StreamGraph("unlabelled", ("x",)), StreamGraph("labels", ("y",))],
    )


OBSERVED = {"labelled": PI_XY, "unlabelled": PI_X, "labels": torch.full((2,), 0.5, dtype=torch.float64)}


def expected_gradients(decoder: Player, encoder: Player) -> dict[str, Tensor]:
    """Gradients of every lesson's expected score, the expectation summed over all values of all variables."""
    players: Mapping[str, Player] = {"decoder": decoder, "encoder": encoder}
    cells = torch.tensor(list(itertools.product(range(3), range(2), range(2))))
    sample = {"x": cells[:, 0], "y": cells[:, 1], "h": cells[:, 2]}
    gradients: dict[str, Tensor] = {}
    for lesson in plan().lessons:
        learner = players[lesson.learner]
        rival = players["encoder" if lesson.learner == "decoder" else "decoder"]
        observed = {"labelled": ("x", "y"), "unlabelled": ("x",), "labels": ("y",)}[lesson.stream]
        with torch.no_grad():
            chance = OBSERVED[lesson.stream][tuple(sample[name] for name in observed)]
            for log_prob in rival.log_prob(sample, lesson.draws).values():
                chance = chance * log_prob.exp()
            if not lesson.draws:  # unobserved variables play no part: share them out evenly
                chance = chance / 2
        learner.zero_grad()
        score = torch.stack(list(learner.log_prob(sample, lesson.scores).values())).sum(0)
        (chance * score).sum().backward()
        for name, parameter in learner.named_parameters():
            if parameter.grad is not None:
                key = f"{lesson.learner}.{name}"
                gradients[key] = gradients.get(key, torch.zeros_like(parameter)) + parameter.grad
    return gradients


def test_no_expected_gradient_at_the_equilibrium() -> None:
    gradients = expected_gradients(*equilibrium())
    assert set(gradients) == {
        "decoder.conditionals.x.logits", "encoder.conditionals.y.logits", "encoder.conditionals.h.logits",
    }  # fmt: skip
    for name, gradient in gradients.items():
        assert gradient.abs().max().item() < 1e-12, name


@pytest.mark.parametrize(
    ("player", "factor", "who_moves"),
    [
        # a decoder that is off teaches itself from the true codes, and the encoder its own posterior
        (
            "decoder",
            "x",
            {"decoder.conditionals.x.logits", "encoder.conditionals.y.logits", "encoder.conditionals.h.logits"},
        ),
        # an encoder's label that is off is pulled back by pairs, and misleads the decoder on unlabelled data
        ("encoder", "y", {"decoder.conditionals.x.logits", "encoder.conditionals.y.logits"}),
        ("encoder", "h", {"decoder.conditionals.x.logits", "encoder.conditionals.h.logits"}),
    ],
)
def test_gradients_off_the_equilibrium(player: str, factor: str, who_moves: set[str]) -> None:
    decoder, encoder = equilibrium()
    table = {"decoder": decoder, "encoder": encoder}[player][factor]
    with torch.no_grad():
        next(table.parameters())[0, ..., 0] += 0.3
    moving = {name for name, gradient in expected_gradients(decoder, encoder).items() if gradient.abs().max() > 1e-3}
    assert moving == who_moves


def test_a_player_gains_nothing_from_its_own_draws() -> None:
    """Scoring what one drew oneself has zero expected gradient: why the plan never does it. Exact, not sampled."""
    _, encoder = equilibrium()
    cells = torch.tensor(list(itertools.product(range(3), range(2))))
    sample = {"x": cells[:, 0], "y": cells[:, 1]}
    score = encoder.log_prob(sample, ["y"])["y"]
    (random_table(3)[sample["x"]] * score.detach().exp() * score).sum().backward()
    gradient = next(encoder["y"].parameters()).grad
    assert gradient is not None and gradient.abs().max().item() < 1e-12


# Evidence ------------------------------------------------------------------------------------------------------------
#
# Two variables tell of y alone: c, which every example of its stream shows, and a, which an example shows with
# probability 0.6 whatever it is. Their factors are learnt.

C = Variable("c", "categorical", (), classes=3)
A = Variable("a", "categorical", (), classes=2)
P_C_GIVEN_Y = normalised(random_table(2, 3))
P_A_GIVEN_Y = torch.tensor([[0.7, 0.3], [0.1, 0.9]], dtype=torch.float64)
SHOWN = 0.6
WITH_VOID = torch.cat([SHOWN * P_A_GIVEN_Y, torch.full((2, 1), 1 - SHOWN, dtype=torch.float64)], dim=1)  # [y, a]
PI_XYC = PI_XY[:, :, None] * P_C_GIVEN_Y
PI_XCA = torch.einsum("xy,yc,ya->xca", PI_XY, P_C_GIVEN_Y, WITH_VOID)
SEEN = {
    "pairs": (("x", "y", "c"), PI_XYC),
    "evidence": (("x", "c", "a"), PI_XCA),
    "unlabelled": (("x",), PI_X),
    "labels": (("y",), torch.full((2,), 0.5, dtype=torch.float64)),
}
GRADIENTS = {f"decoder.conditionals.{name}.logits" for name in ("c", "a", "x")}
GRADIENTS |= {f"encoder.conditionals.{name}.logits" for name in ("y", "h")}


def equilibrium_with_evidence() -> tuple[Player, Player]:
    decoder, encoder = equilibrium()
    tables = [Table(C, (Y,), P_C_GIVEN_Y), Table(A, (Y,), P_A_GIVEN_Y)]
    return Player([decoder["y"], *tables, decoder["h"], decoder["x"]]), encoder


def plan_with_evidence() -> Plan:
    decoder = [Factor("y", learnable=False), Factor("c", ("y",)), Factor("a", ("y",)), Factor("h", learnable=False)]
    return derive_plan(
        [*decoder, Factor("x", ("y", "h"))],
        [Factor("y", ("x",)), Factor("h", ("x", "y"))],
        [StreamGraph(name, observed) for name, (observed, _) in SEEN.items()],
    )


def expected_gradients_with_evidence(decoder: Player, encoder: Player) -> dict[str, Tensor]:
    """As `expected_gradients`, summed over all values of x, y, h, c and a, where a may not be seen."""
    players: Mapping[str, Player] = {"decoder": decoder, "encoder": encoder}
    values = {"x": range(3), "y": range(2), "h": range(2), "c": range(3), "a": (0, 1, VOID)}
    cells = torch.tensor(list(itertools.product(*values.values())))
    sample = {name: cells[:, column] for column, name in enumerate(values)}
    gradients: dict[str, Tensor] = {}
    for lesson in plan_with_evidence().lessons:
        learner, rival = players[lesson.learner], players["encoder" if lesson.learner == "decoder" else "decoder"]
        observed, law = SEEN[lesson.stream]
        evidence = log_likelihoods(decoder, sample, lesson.evidence)
        with torch.no_grad():
            chance = law[tuple(sample[name] for name in observed)]
            for name in lesson.draws:
                drawn = rival[name](sample)
                drawn = with_evidence(drawn, evidence[name]) if name in evidence else drawn
                chance = chance * drawn.log_prob(sample[name]).exp()
            for name in set(values) - {*observed, *lesson.draws}:  # plays no part: shared out evenly
                chance = chance / len(values[name])
        learner.zero_grad()
        if evidence and not lesson.draws:
            score = torch.stack([marginal_log_prob(encoder[name](sample), evidence[name]) for name in lesson.scores])
        else:
            score = torch.stack(list(learner.log_prob(sample, lesson.scores).values()))
        (chance * score.sum(0)).sum().backward()
        for name, parameter in learner.named_parameters():
            if parameter.grad is not None:
                key = f"{lesson.learner}.{name}"
                gradients[key] = gradients.get(key, torch.zeros_like(parameter)) + parameter.grad
    return gradients


def test_no_expected_gradient_at_the_equilibrium_with_evidence() -> None:
    gradients = expected_gradients_with_evidence(*equilibrium_with_evidence())
    assert set(gradients) == GRADIENTS
    for name, gradient in gradients.items():
        assert gradient.abs().max().item() < 1e-12, name


@pytest.mark.parametrize(
    ("player", "factor", "still"),
    [
        # a wrong confusion is pulled back by what is drawn given all evidence, and misleads both players; the codes,
        # which the encoder learns from labels alone, stay
        ("decoder", "a", {"encoder.conditionals.h.logits"}),
        ("decoder", "c", {"encoder.conditionals.h.logits"}),
        ("encoder", "y", {"encoder.conditionals.h.logits"}),
        ("decoder", "x", {"decoder.conditionals.c.logits", "decoder.conditionals.a.logits"}),
        ("encoder", "h", {f"decoder.conditionals.{name}.logits" for name in "ca"} | {"encoder.conditionals.y.logits"}),
    ],
)
def test_gradients_off_the_equilibrium_with_evidence(player: str, factor: str, still: set[str]) -> None:
    decoder, encoder = equilibrium_with_evidence()
    table = {"decoder": decoder, "encoder": encoder}[player][factor]
    with torch.no_grad():
        next(table.parameters())[0, ..., 0] += 0.3
    found = expected_gradients_with_evidence(decoder, encoder)
    assert {name for name, gradient in found.items() if gradient.abs().max() > 1e-4} == GRADIENTS - still
