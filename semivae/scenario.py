"""A scenario: a recipe made real. From typed sections to variables, players, plan, streams and game."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from semivae.data.dataset import Dataset
from semivae.data.splits import Split
from semivae.data.streams import Stream, make_streams
from semivae.data.views import View
from semivae.errors import DataError, RecipeError
from semivae.game.conditionals import Conditional, NetworkConditional, Prior, is_image
from semivae.game.elbo import ElboGame
from semivae.game.families import FAMILIES
from semivae.game.game import Game
from semivae.game.label_teacher import StreamViews, Vote, Weight
from semivae.game.ladder import LadderConditional
from semivae.game.plan import RIVAL, Factor, Lesson, Plan, PlayerName, StreamGraph, derive_plan
from semivae.game.players import Player
from semivae.game.variables import Variable
from semivae.nets import NETS
from semivae.nets.layers import without_head
from semivae.recipe import schema
from semivae.recipe.schema import Recipe


@dataclass(frozen=True)
class Roles:
    """Which variables of a recipe play which part.

    Args:
        image: the observed data that the encoder starts from (an image, or a table row).
        label: the class variable that streams observe beside it, or None in an unsupervised scenario.
        codes: all other variables, which no data set knows.
    """

    image: str
    label: str | None
    codes: tuple[str, ...]


@dataclass(frozen=True)
class Scenario:
    """Everything that training needs, on one device."""

    recipe: Recipe
    plan: Plan
    game: Game
    streams: Mapping[str, Stream]

    @property
    def decoder(self) -> Player:
        return self.game.decoder

    @property
    def encoder(self) -> Player:
        return self.game.encoder


def roles_of(recipe: Recipe) -> Roles:
    """Reads the roles off the graphs: the encoder starts from the image; the label is a class seen beside it.

    Raises:
        RecipeError: the encoder starts from nothing, or from several variables.
    """
    roots = {name for factor in recipe.encoder.values() for name in factor.given} - set(recipe.encoder)
    if len(roots) != 1:
        found = ", ".join(sorted(roots)) or "none"
        raise RecipeError(
            f"encoder: it must start from exactly one observed variable, found {found}; every other variable that is "
            f"given must have its own entry in the encoder, before it is used"
        )
    image = roots.pop()
    seen = {name for stream in recipe.streams.values() if image in stream.observe for name in stream.observe}
    labels = [name for name in recipe.encoder if name in seen and recipe.variables[name].family == "categorical"]
    label = labels[0] if labels else None
    return Roles(image, label, tuple(name for name in recipe.variables if name not in (image, label)))


def map_of(recipe: Recipe) -> str | None:
    """Name of the label of a resolved recipe where it is a map, a class at every place of the image; else None."""
    label = roles_of(recipe).label
    return label if label is not None and len(recipe.variables[label].shape or ()) == 2 else None


def resolve(recipe: Recipe, dataset: Dataset) -> Recipe:
    """The recipe with every shape and number of classes filled in from the data.

    Raises:
        RecipeError: a variable without a shape that the data do not know.
        DataError: the recipe's shape or classes differ from the data's.
    """
    variables = {name: _resolved(name, spec, dataset) for name, spec in recipe.variables.items()}
    return recipe.model_copy(update={"variables": variables})


def _resolved(name: str, spec: schema.VariableSpec, dataset: Dataset) -> schema.VariableSpec:
    if name not in dataset.train:
        if spec.family == "categorical" and spec.classes is None:
            raise RecipeError(f"variables.{name}: source {dataset.name} does not know it; say its classes")
        if spec.family != "categorical" and spec.shape is None:
            raise RecipeError(f"variables.{name}: source {dataset.name} does not know it; say its shape")
        return spec.model_copy(update={"shape": spec.shape or ()})
    shape = tuple(dataset.train[name].shape[1:])
    if spec.shape is not None and tuple(spec.shape) != shape:
        raise DataError(
            f"variables.{name}.shape is {list(spec.shape)}, but {dataset.name} has {list(shape)}; change the shape, or "
            f"leave it out to take the data's"
        )
    if spec.family != "categorical":
        return spec.model_copy(update={"shape": shape})
    if spec.classes is not None and spec.classes != len(dataset.classes):
        raise DataError(
            f"variables.{name}.classes is {spec.classes}, but {dataset.name} has {len(dataset.classes)} classes "
            f"({', '.join(dataset.classes[:12])}); change it, or leave it out to take the data's"
        )
    return spec.model_copy(update={"shape": shape, "classes": len(dataset.classes)})


def plan_of(recipe: Recipe) -> Plan:
    """Derives the plan from the recipe's graphs; needs no data.

    Raises:
        RecipeError: the scenario cannot teach, or a stream's views or weights name what is not there.
    """
    roles = roles_of(recipe)
    decoder = [_factor(name, spec) for name, spec in recipe.decoder.items() if spec != "samples"]
    encoder = [_factor(name, spec) for name, spec in recipe.encoder.items()]
    graphs = [_stream_graph(recipe, roles, name) for name in recipe.streams]
    plan = derive_plan(decoder, encoder, graphs)
    for name, stream in recipe.streams.items():
        scored = {target for lesson in plan.lessons if lesson.stream == name for target in lesson.scores}
        idle = [factor for factor in stream.teach if factor not in scored and _asks_to_teach(stream.teach[factor])]
        if idle:
            taught = ", ".join(sorted(scored)) or "nothing"
            raise RecipeError(f"streams.{name}.teach.{idle[0]}: this stream does not teach {idle[0]}, only {taught}")
    return plan


def _factor(name: str, spec: schema.Factor) -> Factor:
    if isinstance(spec, schema.ConditionalSpec):
        return Factor(name, spec.given)
    return Factor(name, learnable=spec == "learned")


def _stream_graph(recipe: Recipe, roles: Roles, name: str) -> StreamGraph:
    stream = recipe.streams[name]
    if stream.views is not None and roles.image not in stream.observe:
        raise RecipeError(f"streams.{name}.views: views transform {roles.image}, but the stream does not observe it")
    views_of = None
    if stream.vote is not None:
        _refuse_vote(recipe, roles, name)
        views_of = roles.label
    if isinstance(stream.views, schema.PairOfViews):
        if roles.label is None or recipe.encoder[roles.label].given != (roles.image,):
            raise RecipeError(
                f"streams.{name}.views: a pair of views teaches the encoder's label given {roles.image} alone, but "
                f"there is no such factor; let a stream observe a label beside {roles.image}, or use a single view"
            )
        for key in ("cutmix", "temperature"):
            if getattr(stream.views, key) and not recipe.variables[roles.label].shape:
                where = f"streams.{name}.views.{key}"
                raise RecipeError(f"{where}: only maps are taught place by place, {roles.label} is none; remove it")
        if stream.views.align and recipe.variables[roles.label].shape:
            where = f"streams.{name}.views.align"
            raise RecipeError(f"{where}: only single classes are aligned, {roles.label} is a map of them; remove it")
        prior = recipe.decoder.get(roles.label, "samples")
        if stream.views.align and (prior == "samples" or isinstance(prior, schema.ConditionalSpec)):
            raise RecipeError(
                f"streams.{name}.views.align: the decoder has no prior of {roles.label} to align to; make it uniform, "
                f"{{probabilities: [...]}}, or learned, and the stream of labels alone teaches it"
            )
        views_of = roles.label
    if stream.adjust:
        _refuse_adjust(recipe, roles, name)
    without = frozenset(
        (player, factor) for factor in stream.teach for player in RIVAL if player not in _players_taught(stream, factor)
    )
    return StreamGraph(name, stream.observe, views_of, stream.vote is not None, without)


def _refuse_adjust(recipe: Recipe, roles: Roles, name: str) -> None:
    """Raises RecipeError where a stream shows no pairs, or there is no p(y) to adjust them to."""
    label, where = roles.label, f"streams.{name}.adjust"
    if label is None or not {label, roles.image} <= set(recipe.streams[name].observe):
        raise RecipeError(f"{where}: only pairs of {roles.image} and a label can be adjusted; remove adjust")
    if recipe.variables[label].shape:
        raise RecipeError(f"{where}: only single classes can be adjusted, {label} is a map of them; remove adjust")
    prior = recipe.decoder.get(label, "samples")
    if prior == "samples" or isinstance(prior, schema.ConditionalSpec):
        raise RecipeError(
            f"{where}: the decoder has no prior of {label} to adjust to; make it uniform, {{probabilities: [...]}}, or "
            f"learned"
        )


def _refuse_vote(recipe: Recipe, roles: Roles, name: str) -> None:
    """Raises RecipeError where the decoder cannot weigh an image's classes as `semivae.game.vote` does."""
    stream, where = recipe.streams[name], f"streams.{name}.vote"
    if roles.image not in stream.observe or (roles.label is not None and roles.label in stream.observe):
        raise RecipeError(f"{where}: the decoder votes on images without a label, not on this stream's; remove vote")
    if roles.label is None or recipe.encoder[roles.label].given != (roles.image,):
        raise RecipeError(
            f"{where}: the vote teaches the encoder's label given {roles.image} alone, but there is no such factor; "
            f"let a stream observe a label beside {roles.image}, or remove vote"
        )
    if recipe.variables[roles.label].shape:
        raise RecipeError(f"{where}: the decoder votes on single classes, {roles.label} is a map of them; remove vote")
    if not isinstance(recipe.decoder.get(roles.image), schema.ConditionalSpec):
        raise RecipeError(f"{where}: the decoder does not paint {roles.image}, so it cannot vote; remove vote")
    fixed = [code for code in roles.codes if recipe.variables[code].complete_with != "sample"]
    if fixed:
        raise RecipeError(
            f"{where}: the vote weighs codes drawn from the encoder, but {fixed[0]} completes with its "
            f"{recipe.variables[fixed[0]].complete_with}; say complete_with: sample, or remove vote"
        )
    unknown = [code for code in roles.codes if recipe.decoder.get(code, "samples") == "samples"]
    if unknown:
        raise RecipeError(
            f"{where}: the vote needs p({unknown[0]}), but the decoder's prior of it is known by samples only; "
            f"remove vote"
        )


def build_variables(recipe: Recipe) -> dict[str, Variable]:
    """The variables of a resolved recipe."""
    return {
        name: Variable(name, spec.family, spec.shape or (), spec.classes, spec.complete_with)
        for name, spec in recipe.variables.items()
    }


def build_players(recipe: Recipe) -> tuple[Player, Player]:
    """Decoder and encoder of a resolved recipe, initialised from `training.seed`.

    Raises:
        RecipeError: a network does not fit its variables, or a prior its family.
    """
    variables = build_variables(recipe)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.training.seed)
        # the encoder first: its weights then do not depend on the decoder, so the supervised twin starts equal
        encoder = _encoder(recipe, variables)
        factors = {name: spec for name, spec in recipe.decoder.items() if spec != "samples"}
        decoder = Player([_conditional("decoder", name, spec, variables) for name, spec in factors.items()])
    for name, level in encoder.levels.items():
        level.lean_on(decoder[name])
    return decoder, encoder


def _encoder(recipe: Recipe, variables: Mapping[str, Variable]) -> Player:
    conditionals: list[Conditional] = []
    bottom_up, image = None, variables[roles_of(recipe).image]
    if recipe.bottom_up is not None:
        try:
            bottom_up = without_head(_net("bottom_up", recipe.bottom_up, (image,), 0, (1,)), recipe.bottom_up.name)
        except ValueError as error:
            raise RecipeError(f"bottom_up: {error}") from None
    for name, spec in recipe.encoder.items():
        if spec.ladder and bottom_up is not None:
            network, features = bottom_up
            target, given = variables[name], tuple(variables[parent] for parent in spec.given)
            head = _net(f"encoder.{name}.net", spec.net, (), features, FAMILIES[target.family].parameter_shape(target))
            conditionals.append(LadderConditional(target, given, image, network, head))
        else:
            conditionals.append(_conditional("encoder", name, spec, variables))
    return Player(conditionals)


def _net(
    where: str, spec: schema.Net, given: tuple[Variable, ...], features: int, output_shape: tuple[int, ...]
) -> nn.Module:
    """The network of some given variables, and of so many features beside them."""
    inputs = [FAMILIES[parent.family].input_shape(parent) for parent in given]
    images = [shape for parent, shape in zip(given, inputs, strict=True) if is_image(parent)]
    vectors = sum(math.prod(shape) for parent, shape in zip(given, inputs, strict=True) if not is_image(parent))
    image_shape = (sum(shape[0] for shape in images), *images[0][1:]) if images else None
    options = spec.model_dump(exclude={"name"})
    try:
        return NETS[spec.name](image_shape, vectors + features, output_shape, **options)
    except ValueError as error:
        raise RecipeError(f"{where}: {error}") from None


def _conditional(
    player: Literal["decoder", "encoder"], name: str, spec: schema.Factor, variables: Mapping[str, Variable]
) -> Conditional:
    target = variables[name]
    if isinstance(spec, schema.ConditionalSpec):
        given = tuple(variables[parent] for parent in spec.given)
        net = _net(f"{player}.{name}.net", spec.net, given, 0, FAMILIES[target.family].parameter_shape(target))
        return NetworkConditional(target, given, net)
    return _prior(name, spec, target)


def _prior(name: str, spec: schema.Factor, target: Variable) -> Prior:
    if isinstance(spec, schema.ProbabilitiesSpec):
        if len(spec.probabilities) != target.classes or not sum(spec.probabilities):
            raise RecipeError(
                f"decoder.{name}.probabilities: {len(spec.probabilities)} values for "
                f"{target.classes or 'no'} classes; give one for each, not all of them 0"
            )
        return Prior(target, torch.tensor(spec.probabilities).log().clamp_min(-1e4).log_softmax(0))
    return Prior(target, learnable=spec == "learned")


def build_game(
    recipe: Recipe, plan: Plan, device: torch.device, shares: Mapping[tuple[str, str], torch.Tensor] | None = None
) -> Game:
    """The game of a resolved recipe; `shares` are the class shares of pairs that are adjusted, by (stream, label)."""
    decoder, encoder = build_players(recipe)
    image = roles_of(recipe).image
    weights = {
        (player, name, factor): _weight(weight, player)
        for name, stream in recipe.streams.items()
        for factor, weight in stream.teach.items()
        for player in RIVAL
    }
    views = {
        name: replace(_views(recipe, stream, image), maps=map_of(recipe))
        for name, stream in recipe.streams.items()
        if stream.views or stream.vote
    }
    spec = recipe.training
    if spec.objective == "elbo":
        game = ElboGame(decoder, encoder, plan, weights, views, spec.average, shares)
        return game.climb(spec.estimator).to(device)
    return Game(decoder, encoder, plan, weights, views, spec.average, shares).to(device)


def _shares_of_pairs(recipe: Recipe, dataset: Dataset, split: Split) -> dict[tuple[str, str], torch.Tensor]:
    """Class shares of the labelled examples, for the streams that adjust them."""
    label = roles_of(recipe).label
    adjusting = [name for name, stream in recipe.streams.items() if stream.adjust]
    if label is None or not adjusting:
        return {}
    counts = torch.bincount(dataset.train[label][split.labelled], minlength=len(dataset.classes))
    return {(name, label): counts / counts.sum() for name in adjusting}


def _players_taught(stream: schema.StreamSpec, factor: str) -> list[PlayerName]:
    return [player for player in RIVAL if _weight(stream.teach[factor], player).weight]


def _asks_to_teach(spec: float | schema.Teach | schema.TeachPlayers) -> bool:
    """Whether a weight needs a factor that is taught; where the players differ, 1 may just be the default."""
    if isinstance(spec, schema.TeachPlayers):
        return any(_weight(spec, player).weight and _weight(spec, player) != Weight() for player in RIVAL)
    return bool(_weight(spec).weight)


def _weight(spec: float | schema.Teach | schema.TeachPlayers, player: PlayerName = "encoder") -> Weight:
    if isinstance(spec, schema.TeachPlayers):
        spec = spec.encoder if player == "encoder" else spec.decoder
    return Weight(spec.weight, spec.start) if isinstance(spec, schema.Teach) else Weight(spec)


def _views(recipe: Recipe, stream: schema.StreamSpec, image: str) -> StreamViews:
    spec = stream.views
    if isinstance(spec, schema.PairOfViews):
        return StreamViews(
            image,
            weak=View(recipe.views[spec.weak]),
            strong=View(recipe.views[spec.strong]),
            threshold=spec.threshold,
            weight=_weight(spec.weight),
            align=spec.align,
            vote=_vote(stream.vote),
            information=_weight(spec.information),
            ramp=spec.ramp,
            cutmix=spec.cutmix,
            temperature=spec.temperature,
        )
    view = View(recipe.views[spec]) if spec is not None else None
    if stream.vote is None:
        return StreamViews(image, view=view)
    return StreamViews(
        image, view, threshold=stream.vote.threshold, weight=Weight(stream.vote.weight), vote=_vote(stream.vote)
    )


def _vote(spec: schema.VoteSpec | None) -> Vote | None:
    return Vote(spec.strength, spec.draws, spec.start) if spec is not None else None


def build_scenario(
    recipe: Recipe, dataset: Dataset, split: Split, device: torch.device, data_root: Path | None = None
) -> Scenario:
    """Makes a recipe real: shapes from the data, plan from the graphs, players, streams.

    Raises:
        RecipeError, DataError: as `resolve`, `plan_of`, `build_players` and the streams say.
    """
    recipe = resolve(recipe, dataset)
    plan = plan_of(recipe)
    game = build_game(recipe, plan, device, _shares_of_pairs(recipe, dataset, split))
    streams = make_streams(recipe, dataset, split, device, recipe.training.seed, data_root)
    return Scenario(recipe, plan, game, streams)


def twin_plan(recipe: Recipe) -> Plan:
    """The supervised twin's plan: the encoder's label from labelled pairs, and nothing else.

    Raises:
        RecipeError: the scenario has no labels, so it has no twin.
    """
    label, plan = roles_of(recipe).label, plan_of(recipe)
    lessons = tuple(
        Lesson(lesson.stream, "encoder", (), (label,))
        for lesson in plan.of("encoder")
        if label is not None and label in lesson.scores and not lesson.draws and not lesson.views
    )
    if not lessons:
        raise RecipeError("this scenario has no supervised twin: no stream shows the encoder labelled pairs")
    return Plan(lessons, plan.graphs)
