"""A tiny game to play by hand. Only this file knows how a game takes a step, and how an optimiser is called."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from semivae.game.conditionals import NetworkConditional, Prior
from semivae.game.game import Game
from semivae.game.graphs import Factor, PlayerName, StreamGraph
from semivae.game.plan import derive_plan
from semivae.game.players import Player
from semivae.game.schedules import Weight
from semivae.game.teaching.class_teacher import ClassTeacher
from semivae.game.teaching.labelled_loss import LabelledLoss
from semivae.game.teaching.teacher import StreamViews
from semivae.nets import Mlp
from semivae.recipe.schema import TrainingSpec
from semivae.training.optimizer import PlayerOptimizer
from semivae.variables import Sample, Variable

X = Variable("x", "bernoulli", (1, 2, 2))
Y = Variable("y", "categorical", (), classes=3)
H = Variable("h", "bernoulli", (2,))
SIZES = {"labelled": 4, "unlabelled": 5, "labels": 6}
STREAMS = (StreamGraph("labelled", ("x", "y")), StreamGraph("unlabelled", ("x",)), StreamGraph("labels", ("y",)))

MEAN_X = Variable("x", "bernoulli", (1, 2, 2), complete_with="mean")
MODE_Y = Variable("y", "categorical", (), classes=3, complete_with="mode")


class Seen:
    """A view by a function of the images, for labels without places."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return self.function(images)

    def turned(self, images: Tensor, generator: torch.Generator, angles: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise AssertionError("no angle here")

    def joint(self, images: Tensor, maps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        raise AssertionError("no map here")


PAIR = StreamViews("x", weak=Seen(lambda x: x), strong=Seen(lambda x: 1.0 - x), threshold=0.0)


def players(dropout: float = 0.0, hidden: Sequence[int] = (8,)) -> tuple[Player, Player]:
    """A decoder of y, h and x, and an encoder of y and h."""
    torch.manual_seed(0)
    decoder = Player([Prior(Y), Prior(H), NetworkConditional(X, (Y, H), Mlp(None, 5, (1, 2, 2), hidden))])
    encoder = Player(
        [
            NetworkConditional(Y, (X,), Mlp((1, 2, 2), 0, (3,), hidden, dropout)),
            NetworkConditional(H, (X, Y), Mlp((1, 2, 2), 3, (2,), hidden, dropout)),
        ]
    )
    return decoder, encoder


def certain_players(prior: Tensor | None = None) -> tuple[Player, Player]:
    """A decoder of y and x, and an encoder of y, that complete with what is most likely: nothing is drawn."""
    torch.manual_seed(0)
    decoder = Player([Prior(MODE_Y, prior), NetworkConditional(MEAN_X, (MODE_Y,), Mlp(None, 3, (1, 2, 2), (8,)))])
    encoder = Player([NetworkConditional(MODE_Y, (MEAN_X,), Mlp((1, 2, 2), 0, (3,), (8,)))])
    return decoder, encoder


def make_game(
    both: tuple[Player, Player] | None = None,
    views: StreamViews | None = None,
    weights: Mapping[tuple[PlayerName, str, str], Weight] | None = None,
    ema_decay: float = 0.999,
    frequencies: Tensor | None = None,
    mixup: float | None = None,
    kind: type[Game] = Game,
) -> Game:
    """The game of a decoder and an encoder on pairs, images and labels.

    Args:
        both: decoder and encoder; by default `players()`.
        views: of the stream `unlabelled`; a pair of views, or a vote, teaches y.
        weights: as `Game` has them.
        ema_decay: decay of the encoder's exponential moving average.
        frequencies: class frequencies of the pairs, to which q(y | x) is adjusted.
        mixup: alpha of the mixtures of pairs.
        kind: the game, or the lower bound.
    """
    decoder, encoder = both or players()
    teaches = views is not None and (views.weak is not None or views.vote is not None)
    streams = [STREAMS[0], StreamGraph("unlabelled", ("x",), pseudo_label="y" if teaches else None), STREAMS[2]]
    plan = derive_plan(
        [Factor(name, tuple(given.name for given in decoder[name].given), name == "x") for name in decoder.names],
        [Factor(name, tuple(given.name for given in encoder[name].given)) for name in encoder.names],
        streams,
    )
    if views is not None and views.teacher is None:
        views = replace(views, teacher=ClassTeacher)
    pairs = None if frequencies is None and mixup is None else LabelledLoss("y", frequencies, mixup)
    return kind(
        decoder,
        encoder,
        plan,
        weights,
        {"unlabelled": views} if views else None,
        ema_decay,
        {("labelled", "y"): pairs} if pairs else None,
    )


def batches() -> dict[str, Sample]:
    torch.manual_seed(1)
    images = torch.rand(9, 1, 2, 2)
    return {
        "labelled": {"x": images[:4], "y": torch.tensor([0, 1, 2, 0])},
        "unlabelled": {"x": images[4:]},
        "labels": {"y": torch.tensor([0, 1, 2, 0, 1, 2])},
    }


@dataclass
class Played:
    """What one step did.

    Args:
        losses: in nats per sample, by "player.stream.factor"; mask rates by "share.stream".
        gradients: by player and name of the parameter, as they were when the player moved; 0 where nothing taught it.
        turns: who moved together, in order.
    """

    losses: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[PlayerName, dict[str, Tensor]] = field(default_factory=dict)
    turns: list[tuple[PlayerName, ...]] = field(default_factory=list)

    def gradient(self, player: PlayerName) -> Tensor:
        """All of a player's gradient, [numbers]."""
        return torch.cat([gradient.flatten() for gradient in self.gradients[player].values()])


def play(
    game: Game,
    given: Mapping[str, Sample] | None = None,
    rates: Mapping[PlayerName, float] | None = None,
    progress: float = 0.0,
    seed: int = 1,
) -> Played:
    """Takes one step of plain gradient descent.

    Args:
        game: whose players move.
        given: a batch per stream; by default `batches()`.
        rates: learning rates; 0.1 for both where absent.
        progress: the share of the training that is done.
        seed: of all draws.
    """
    given, played = given or batches(), Played()

    def descend(learners: Sequence[PlayerName], loss: Tensor) -> None:
        played.turns.append(tuple(learners))
        named = {(player, name): value for player in learners for name, value in game.player(player).named_parameters()}
        gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True) if loss.requires_grad else ()
        found = dict(zip(named, gradients, strict=True)) if gradients else dict.fromkeys(named)
        with torch.no_grad():
            for (player, name), parameter in named.items():
                gradient = found[player, name]
                gradient = torch.zeros_like(parameter) if gradient is None else gradient
                played.gradients.setdefault(player, {})[name] = gradient
                parameter.sub_((rates or {}).get(player, 0.1) * gradient)

    torch.manual_seed(seed)
    played.losses = play_with(descend, game, given, SIZES, torch.Generator().manual_seed(0), progress)
    return played


def play_with(
    descend: Callable[[Sequence[PlayerName], Tensor], None],
    game: Game,
    given: Mapping[str, Sample],
    sizes: Mapping[str, int],
    generator: torch.Generator,
    progress: float,
) -> dict[str, Tensor]:
    """Takes one step in which `descend` moves the learners of each turn down their loss; returns the losses by name."""
    step = game.begin(given, sizes, progress, generator)
    found: dict[str, Tensor] = {}
    for learners in game.turns:
        losses = game.loss(learners, step)
        descend(learners, losses.total)
        found |= losses.by_name()
    game.update_average()
    return found


STILL: dict[PlayerName, float] = {"decoder": 0.0, "encoder": 0.0}
"""Rates of a step in which nobody moves, to look at its gradients."""


def teacher(game: Game) -> ClassTeacher:
    """Who teaches y on the stream `unlabelled`."""
    found = game.teachers["stream_unlabelled"]
    assert isinstance(found, ClassTeacher)
    return found


def state(module: nn.Module) -> dict[str, Tensor]:
    """A copy of all that a module holds."""
    return copy.deepcopy(module.state_dict())


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def optimised(
    weights: Sequence[Tensor], gradients: Sequence[Sequence[Tensor]], player: PlayerName = "encoder", **training: Any
) -> list[Tensor]:
    """The weights after the steps 0, 1, ... of a player's optimiser with these gradients.

    Args:
        weights: where it starts.
        gradients: for every step, one for each of the weights.
        player: whose optimiser it is.
        training: entries of the recipe's section; by default 100 steps, a constant rate of 0.1, and AdamW.
    """
    defaults = {"steps": 100, "learning_rate": 0.1, "schedule": "constant", "optimizer": "adamw"}
    parameters = [nn.Parameter(weight.clone()) for weight in weights]
    optimizer = PlayerOptimizer(parameters, TrainingSpec.model_validate(defaults | training), player)
    for step, of_step in enumerate(gradients):
        optimizer.zero_grad()
        losses = [(parameter * gradient).sum() for parameter, gradient in zip(parameters, of_step, strict=True)]
        torch.stack(losses).sum().backward()
        assert optimizer.clip_gradient().isfinite(), "all is finite here"
        optimizer.update(step)
    return [parameter.detach() for parameter in parameters]


def rate_at(step: int, training: Mapping[str, Any], player: PlayerName = "encoder") -> float:
    """The learning rate of a step under a recipe's section `training`."""
    spec = TrainingSpec.model_validate(training)
    return PlayerOptimizer([nn.Parameter(torch.zeros(1))], spec, player).rate_at(step)
