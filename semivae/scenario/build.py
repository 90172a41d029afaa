"""A scenario: a recipe made real. From typed sections to variables, players, plan, streams and game."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from semivae.data.dataset import Dataset
from semivae.data.splits import Split
from semivae.data.streams import AttributeStream, Stream
from semivae.devices import memory_of
from semivae.errors import RecipeError
from semivae.extending import GAMES, build_network
from semivae.game.conditionals import Conditional, NetworkConditional, Prior
from semivae.game.correlated import CorrelatedConditional
from semivae.game.families import FAMILIES
from semivae.game.flow import FlowConditional, Sampling
from semivae.game.game import Game
from semivae.game.graphs import OTHER_PLAYER
from semivae.game.ladder import LadderConditional
from semivae.game.lower_bound import LowerBound
from semivae.game.painter import Painter
from semivae.game.plan import Plan
from semivae.game.players import Player
from semivae.game.teaching.alignment import RAREST
from semivae.nets import NETS
from semivae.nets.layers import SharedScale, WithoutInitialisation, without_head
from semivae.recipe import schema
from semivae.recipe.bodies import BodyNetSection
from semivae.recipe.networks import BodySpec, Net, OwnSpec, RunSpec
from semivae.recipe.schema import Recipe
from semivae.scenario.memory import refuse_large_networks, refuse_large_training, refusing_overflow
from semivae.scenario.plan import Roles, plan_of, roles_of, weight_of
from semivae.scenario.resolving import resolve as resolve
from semivae.scenario.shapes import FEATURE_VECTOR, build_variables, factor_net, net_shapes, painter_net
from semivae.scenario.streams import make_streams
from semivae.scenario.tables import table_conditional
from semivae.scenario.teaching import class_frequencies, labelled_losses, stream_views
from semivae.seeds import seed_for
from semivae.variables import Variable, flow_inputs

Beginning = Callable[[Recipe, Player, Player], None]
"""What is done to the decoder and the encoder of a recipe before they train."""


@dataclass(frozen=True)
class Scenario:
    """Everything that training needs, on one device."""

    recipe: Recipe
    roles: Roles
    plan: Plan
    game: Game
    streams: Mapping[str, Stream]


def build_players(recipe: Recipe, roles: Roles | None = None) -> tuple[Player, Player]:
    """Decoder and encoder of a resolved recipe, initialised from `training.seed`.

    Args:
        recipe: the recipe.
        roles: of its variables, where they are known already.

    Raises:
        RecipeError: a network does not fit its variables or the machine's memory, or a prior its family.
    """
    refuse_large_networks(parameter_counts(recipe, roles, "all"), memory_of(torch.device("cpu")))
    return _players(recipe, roles or roles_of(recipe))


def blank_players(recipe: Recipe, roles: Roles | None = None) -> tuple[Player, Player]:
    """The same players without memory for their numbers, which have shapes alone.

    Raises:
        RecipeError: as `build_players`, but for memory.
    """
    with torch.device("meta"), WithoutInitialisation():
        return _players(recipe, roles or roles_of(recipe))


Counted = Literal["learnt", "frozen", "all"]
"""Which numbers are counted: those that learn, those of networks that do not learn (again), or all, fixed ones too."""


def parameter_counts(
    recipe: Recipe, roles: Roles | None = None, counted: Counted = "learnt"
) -> dict[str, dict[str, int]]:
    """By player and factor, how many numbers a resolved recipe's networks hold; allocates no memory for them.

    What the levels of a ladder share has a row of its own, `bottom_up`.

    Raises:
        RecipeError: as `build_players`, but for memory.
    """
    return all_parameter_counts(recipe, roles)[counted]


def all_parameter_counts(recipe: Recipe, roles: Roles | None = None) -> dict[Counted, dict[str, dict[str, int]]]:
    """Returns `parameter_counts` for everything that can be counted.

    Raises:
        RecipeError: as `build_players`, but for memory.
    """
    decoder, encoder = blank_players(recipe, roles)
    with torch.device("meta"), WithoutInitialisation():
        painter = build_painter(recipe, decoder)

    def counts(counted: Counted) -> dict[str, dict[str, int]]:
        found = {
            name: {factor: _count(player[factor], counted) for factor in player.names}
            for name, player in (("decoder", decoder), ("encoder", encoder))
        }
        for name, level in encoder.levels.items():
            shared = _count(level.bottom_up, counted)
            found["encoder"][name] -= shared
            found["encoder"]["bottom_up"] = shared
        if painter is not None:
            found["painter"] = {painter.flow.target.name: _count(painter.flow, counted)}
        return found

    kinds: tuple[Counted, ...] = get_args(Counted)
    return {counted: counts(counted) for counted in kinds}


def _count(module: nn.Module, counted: Counted) -> int:
    if counted == "all":
        return sum(tensor.numel() for tensor in chain(module.parameters(), module.buffers()))
    learns = counted == "learnt"
    return sum(tensor.numel() for tensor in module.parameters() if tensor.requires_grad == learns)


def _players(recipe: Recipe, roles: Roles) -> tuple[Player, Player]:
    variables = build_variables(recipe)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.training.seed)
        # the encoder first: its weights then do not depend on the decoder, so the supervised twin starts equal
        encoder = _encoder(recipe, variables, variables[roles.image])
        factors = {name: spec for name, spec in recipe.decoder.items() if spec != "samples"}
        decoder = Player([_conditional("decoder", name, spec, variables) for name, spec in factors.items()])
    for name, level in encoder.levels.items():
        level.connect(decoder[name])
    return decoder, encoder


def build_painter(recipe: Recipe, decoder: Player) -> Painter | None:
    """The painter of a resolved recipe, initialised from `training.seed`; None where it has none."""
    if recipe.painter is None:
        return None
    target, given = painter_net(recipe, build_variables(recipe))
    spec = recipe.painter.flow
    guides = (*spec.guides, given[-1].name) if spec.guides else ()
    with torch.random.fork_rng():
        torch.manual_seed(seed_for(recipe.training.seed, "painter"))
        net = _net("painter.net", recipe.painter.net, [*flow_inputs(target), *given], 0, target.input_shape)
    sampling = Sampling(**{**spec.model_dump(), "guides": guides})
    return Painter(FlowConditional(target, given, net, sampling), decoder[target.name])


def _encoder(recipe: Recipe, variables: Mapping[str, Variable], image: Variable) -> Player:
    conditionals: list[Conditional] = []
    bottom_up = None
    if recipe.bottom_up is not None:
        with _at("bottom_up"):
            bottom_up = without_head(_net("bottom_up", recipe.bottom_up, (image,), 0, FEATURE_VECTOR))
    for name, spec in recipe.encoder.items():
        if spec.ladder and bottom_up is not None:
            network, features = bottom_up
            target, given = variables[name], tuple(variables[parent] for parent in spec.given)
            head = _net(f"encoder.{name}.net", spec.net, (), features, target.parameter_shape)
            conditionals.append(LadderConditional(target, given, image, network, head))
        else:
            conditionals.append(_conditional("encoder", name, spec, variables))
    return Player(conditionals)


def _net(where: str, spec: Net, given: Sequence[Variable], features: int, output_shape: tuple[int, ...]) -> nn.Module:
    """The network of some given variables, and of so many features beside them."""
    shapes = net_shapes(where, spec, given, output_shape)
    sizes = (shapes.image, shapes.vectors + features, shapes.output)
    with refusing_overflow(where), _at(where):
        if isinstance(spec, OwnSpec):
            return build_network(spec.network, *sizes, spec.options)
        return NETS[spec.name](*sizes, **_options(where, spec, given, shapes.image))


def _options(where: str, spec: Net, given: Sequence[Variable], image: tuple[int, ...] | None) -> dict[str, Any]:
    """The options of a network."""
    if not isinstance(spec, BodySpec):
        return spec.model_dump(exclude={"name"})
    levels = FAMILIES[next(variable.family for variable in given if variable.is_image)].levels
    if not isinstance(spec, RunSpec):
        return spec.model_dump(exclude={"name"}) | {"levels": levels}
    if spec.network is None or spec.family is None:
        raise RecipeError(f"{where}: the network of {spec.path} is not known yet; training reads it from that run")
    earlier = Variable("x", spec.family, image or ())
    return spec.model_dump(include=set(BodyNetSection.model_fields)) | {
        "levels": levels,
        "network": _net(where, spec.network, (earlier,), 0, FEATURE_VECTOR),
        "network_levels": FAMILIES[spec.family].levels,
    }


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Inside, what a network's options refuse is a RecipeError at `where`."""
    try:
        yield
    except ValueError as error:
        raise RecipeError(f"{where}: {error}") from error


def _conditional(
    player: Literal["decoder", "encoder"], name: str, spec: schema.Factor, variables: Mapping[str, Variable]
) -> Conditional:
    target = variables[name]
    if isinstance(spec, schema.ConditionalSpec):
        given = tuple(variables[parent] for parent in spec.given)
        inputs, output = factor_net(spec, target, variables)
        net = _net(f"{player}.{name}.net", spec.net, inputs, 0, output)
        if spec.flow is not None:
            return FlowConditional(target, given, net, Sampling(**spec.flow.model_dump()))
        if spec.scale == "covariance":
            with refusing_overflow(f"{player}.{name}.scale"):
                return CorrelatedConditional(target, given, net)
        if spec.scale == "shared":
            net = SharedScale(net, output)
        return NetworkConditional(target, given, FAMILIES[target.family].linked(target, net))
    if isinstance(spec, schema.TableSpec):
        return table_conditional(name, spec, target, variables[spec.given[0]])
    return _prior(name, spec, target)


def _prior(name: str, spec: schema.Factor, target: Variable) -> Prior:
    if isinstance(spec, schema.ProbabilitiesSpec):
        if len(spec.probabilities) != target.classes or not sum(spec.probabilities):
            raise RecipeError(
                f"decoder.{name}.probabilities: {len(spec.probabilities)} values for "
                f"{target.classes or 'no'} classes; give one for each, not all of them 0"
            )
        return Prior(target, torch.tensor(spec.probabilities).log().clamp_min(-1e4).log_softmax(0))
    with refusing_overflow(f"variables.{name}"):
        return Prior(target, learnable=spec == "learned")


def build_game(
    recipe: Recipe,
    plan: Plan,
    device: torch.device,
    frequencies: torch.Tensor | None = None,
    roles: Roles | None = None,
    begin: Beginning | None = None,
) -> Game:
    """The game of a resolved recipe.

    Args:
        recipe: the recipe.
        plan: its lessons, or the twin's.
        device: where the players go.
        frequencies: of the classes, [classes], among the labelled pairs, where streams adjust them.
        roles: of the variables, where they are known already.
        begin: gives bodies the weights that they start with (`semivae.scenario.pretrained`); None where a checkpoint
            will be loaded.
    """
    roles = roles or roles_of(recipe)
    decoder, encoder = build_players(recipe, roles)
    if begin is not None:
        begin(recipe, decoder, encoder)
    weights = {
        (player, name, factor): weight_of(weight, player)
        for name, stream in recipe.streams.items()
        for factor, weight in stream.loss_weights.items()
        for player in OTHER_PLAYER
    }
    views = {
        name: stream_views(recipe, roles, stream)
        for name, stream in recipe.streams.items()
        if stream.views or stream.vote
    }
    spec, pairs = recipe.training, labelled_losses(recipe, roles, frequencies)
    if spec.objective == "elbo":
        bound = LowerBound(decoder, encoder, plan, weights, views, spec.ema_decay, pairs, spec.estimator)
        return bound.to(device)
    made = GAMES.get(spec.objective, Game)
    return made(decoder, encoder, plan, weights, views, spec.ema_decay, pairs).to(device)


def build_scenario(
    recipe: Recipe,
    dataset: Dataset,
    split: Split,
    device: torch.device,
    data_root: Path | None = None,
    begin: Beginning | None = None,
) -> Scenario:
    """Makes a recipe real: shapes from the data, plan from the graphs, players, streams.

    Args:
        recipe: the recipe.
        dataset: its data.
        split: their split.
        device: where players and batches go.
        data_root: where relative paths of `values` files start; None is the usual data root.
        begin: as for `build_game`.

    Raises:
        RecipeError, DataError: as `resolve`, `plan_of`, `refuse_large_training`, `build_players` and the streams say.
    """
    recipe = resolve(recipe, dataset, split, data_root)
    roles = roles_of(recipe)
    plan = plan_of(recipe, roles)
    counts = all_parameter_counts(recipe, roles)
    refuse_large_training(recipe, plan, counts["learnt"], memory_of(device), counts["frozen"])
    game = build_game(recipe, plan, device, class_frequencies(recipe, roles, dataset, split), roles, begin)
    streams = make_streams(recipe, dataset, split, device, recipe.training.seed, data_root)
    _start_priors(game.decoder, streams)
    return Scenario(recipe, roles, plan, game, streams)


def _start_priors(decoder: Player, streams: Mapping[str, Stream]) -> None:
    """Lets the learned prior of attributes start at the frequencies that a stream of them alone knows.

    From one half, a rare attribute's logit would be on its way for a thousand steps, and alignment would follow it.
    """
    for stream in streams.values():
        if not isinstance(stream, AttributeStream) or stream.observes[0] not in decoder:
            continue
        prior = decoder[stream.observes[0]]
        if isinstance(prior, Prior) and prior.learnable:
            with torch.no_grad():
                prior.natural.copy_(stream.frequencies.clamp(RAREST, 1.0 - RAREST).logit())
