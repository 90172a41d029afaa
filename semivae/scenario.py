"""A scenario: a recipe made real. From typed sections to variables, players, plan, streams and game."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from semivae.data.dataset import Dataset
from semivae.data.splits import Split
from semivae.data.streams import Stream, make_streams
from semivae.data.views import View
from semivae.errors import DataError, RecipeError
from semivae.game.conditionals import Conditional, NetworkConditional, Prior, is_image
from semivae.game.families import FAMILIES
from semivae.game.game import Game, StreamViews, Weight
from semivae.game.plan import Factor, Lesson, Plan, StreamGraph, derive_plan
from semivae.game.players import Player
from semivae.game.variables import Variable
from semivae.nets import NETS
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
        idle = [factor for factor in stream.teach if factor not in scored and _weight(stream.teach[factor]).weight]
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
    if isinstance(stream.views, schema.PairOfViews):
        if roles.label is None or recipe.encoder[roles.label].given != (roles.image,):
            raise RecipeError(
                f"streams.{name}.views: a pair of views teaches the encoder's label given {roles.image} alone, but "
                f"there is no such factor; let a stream observe a label beside {roles.image}, or use a single view"
            )
        prior = recipe.decoder.get(roles.label, "samples")
        if stream.views.align and (prior == "samples" or isinstance(prior, schema.ConditionalSpec)):
            raise RecipeError(
                f"streams.{name}.views.align: the decoder has no prior of {roles.label} to align to; make it uniform, "
                f"{{probabilities: [...]}}, or learned, and the stream of labels alone teaches it"
            )
        views_of = roles.label
    without = frozenset(factor for factor, weight in stream.teach.items() if not _weight(weight).weight)
    return StreamGraph(name, stream.observe, views_of, without)


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
        encoder = Player([_conditional("encoder", name, spec, variables) for name, spec in recipe.encoder.items()])
        factors = {name: spec for name, spec in recipe.decoder.items() if spec != "samples"}
        decoder = Player([_conditional("decoder", name, spec, variables) for name, spec in factors.items()])
    return decoder, encoder


def _conditional(
    player: Literal["decoder", "encoder"], name: str, spec: schema.Factor, variables: Mapping[str, Variable]
) -> Conditional:
    target = variables[name]
    if isinstance(spec, schema.ConditionalSpec):
        given = tuple(variables[parent] for parent in spec.given)
        inputs = [FAMILIES[parent.family].input_shape(parent) for parent in given]
        images = [shape for parent, shape in zip(given, inputs, strict=True) if is_image(parent)]
        vectors = sum(math.prod(shape) for parent, shape in zip(given, inputs, strict=True) if not is_image(parent))
        image_shape = (sum(shape[0] for shape in images), *images[0][1:]) if images else None
        options = spec.net.model_dump(exclude={"name"})
        try:
            net = NETS[spec.net.name](image_shape, vectors, FAMILIES[target.family].parameter_shape(target), **options)
        except ValueError as error:
            raise RecipeError(f"{player}.{name}.net: {error}") from None
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


def build_game(recipe: Recipe, plan: Plan, device: torch.device) -> Game:
    """The game of a resolved recipe."""
    decoder, encoder = build_players(recipe)
    image = roles_of(recipe).image
    weights = {
        (name, factor): _weight(weight)
        for name, stream in recipe.streams.items()
        for factor, weight in stream.teach.items()
    }
    views = {name: _views(recipe, stream, image) for name, stream in recipe.streams.items() if stream.views}
    return Game(decoder, encoder, plan, weights, views, recipe.training.average).to(device)


def _weight(spec: float | schema.Teach) -> Weight:
    return Weight(spec.weight, spec.start) if isinstance(spec, schema.Teach) else Weight(spec)


def _views(recipe: Recipe, stream: schema.StreamSpec, image: str) -> StreamViews:
    spec = stream.views
    if isinstance(spec, schema.PairOfViews):
        return StreamViews(
            image,
            weak=View(recipe.views[spec.weak]),
            strong=View(recipe.views[spec.strong]),
            threshold=spec.threshold,
            weight=Weight(spec.weight),
            align=spec.align,
        )
    assert spec is not None
    return StreamViews(image, view=View(recipe.views[spec]))


def build_scenario(
    recipe: Recipe, dataset: Dataset, split: Split, device: torch.device, data_root: Path | None = None
) -> Scenario:
    """Makes a recipe real: shapes from the data, plan from the graphs, players, streams.

    Raises:
        RecipeError, DataError: as `resolve`, `plan_of`, `build_players` and the streams say.
    """
    recipe = resolve(recipe, dataset)
    plan = plan_of(recipe)
    game = build_game(recipe, plan, device)
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
