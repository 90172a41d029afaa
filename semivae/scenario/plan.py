"""What a recipe's graphs say: which variable plays which part, and who learns what from which stream."""

from __future__ import annotations

from dataclasses import dataclass

from semivae.errors import RecipeError
from semivae.game.plan import RIVAL, Factor, Lesson, Plan, PlayerName, StreamGraph, derive_plan
from semivae.game.schedules import Weight
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
        idle = [
            factor
            for factor in stream.loss_weights
            if factor not in scored and _asks_to_teach(stream.loss_weights[factor])
        ]
        if idle:
            taught = ", ".join(sorted(scored)) or "nothing"
            raise RecipeError(
                f"streams.{name}.loss_weights.{idle[0]}: this stream does not teach {idle[0]}, only {taught}"
            )
    return plan


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
        _refuse_pair_of_views(recipe, roles.label, name, stream.views)
        prior = recipe.decoder.get(roles.label, "samples")
        if stream.views.align and (prior == "samples" or isinstance(prior, schema.ConditionalSpec)):
            raise RecipeError(
                f"streams.{name}.views.align: the decoder has no prior of {roles.label} to align to; make it uniform, "
                f"{{probabilities: [...]}}, or learned, and the stream of labels alone teaches it"
            )
        views_of = roles.label
    if stream.adjust:
        _refuse_adjust(recipe, roles, name)
    if stream.mixup is not None:
        _refuse_mixup(recipe, roles, name)
    without = frozenset(
        (player, factor)
        for factor in stream.loss_weights
        for player in RIVAL
        if player not in _players_taught(stream, factor)
    )
    return StreamGraph(name, stream.observe, views_of, stream.vote is not None, without)


def _refuse_pair_of_views(recipe: Recipe, label: str, name: str, views: schema.PairOfViews) -> None:
    """Raises RecipeError where views exclude each other, or ask of maps what only single classes allow."""
    if views.cutmix and weight_of(views.information) != Weight(0.0):
        raise RecipeError(
            f"streams.{name}.views.cutmix: information compares two views of one image, and with cutmix a view shows "
            f"two; remove one of them"
        )
    if recipe.variables[label].shape:
        where, map_ = f"streams.{name}.views", f"{label} is a map of them; remove it"
        if views.align:
            raise RecipeError(f"{where}.align: only single classes are aligned, {map_}")
        if weight_of(views.information) != Weight(0.0):
            raise RecipeError(f"{where}.information: only of single classes views share information, {map_}")


def _label_of_pairs(recipe: Recipe, roles: Roles, name: str, key: str, done: str) -> str:
    """The label that a stream shows beside the image; RecipeError where it shows none, or a map of classes."""
    label, where = roles.label, f"streams.{name}.{key}"
    if label is None or not {label, roles.image} <= set(recipe.streams[name].observe):
        raise RecipeError(f"{where}: only pairs of {roles.image} and a label can be {done}; remove {key}")
    if recipe.variables[label].shape:
        raise RecipeError(f"{where}: only single classes can be {done}, {label} is a map of them; remove {key}")
    return label


def _refuse_adjust(recipe: Recipe, roles: Roles, name: str) -> None:
    """Raises RecipeError where a stream shows no pairs, or there is no p(y) to adjust them to."""
    label, where = _label_of_pairs(recipe, roles, name, "adjust", "adjusted"), f"streams.{name}.adjust"
    prior = recipe.decoder.get(label, "samples")
    if prior == "samples" or isinstance(prior, schema.ConditionalSpec):
        raise RecipeError(
            f"{where}: the decoder has no prior of {label} to adjust to; make it uniform, {{probabilities: [...]}}, or "
            f"learned"
        )


def _refuse_mixup(recipe: Recipe, roles: Roles, name: str) -> None:
    """Raises RecipeError where a stream shows no pairs of an image and a single class that the encoder reads off it."""
    label, where = _label_of_pairs(recipe, roles, name, "mixup", "mixed"), f"streams.{name}.mixup"
    if recipe.encoder[label].given != (roles.image,):
        raise RecipeError(
            f"{where}: mixtures teach the encoder's label given {roles.image} alone, but it is given "
            f"{', '.join(recipe.encoder[label].given)}; remove mixup"
        )


def _refuse_vote(recipe: Recipe, roles: Roles, name: str) -> None:
    """Raises RecipeError where the decoder cannot weigh an image's classes as `semivae.game.teaching.vote` does."""
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
    unknown = [code for code in roles.codes if recipe.decoder.get(code, "samples") == "samples"]
    if unknown:
        raise RecipeError(
            f"{where}: the vote needs p({unknown[0]}), but the decoder's prior of it is known by samples only; "
            f"remove vote"
        )


def _players_taught(stream: schema.StreamSpec, factor: str) -> list[PlayerName]:
    return [player for player in RIVAL if weight_of(stream.loss_weights[factor], player).weight]


def _asks_to_teach(spec: float | schema.LossWeight | schema.PlayerLossWeights) -> bool:
    """Whether a weight needs a factor that is taught; where the players differ, 1 may just be the default."""
    if isinstance(spec, schema.PlayerLossWeights):
        return any(weight_of(spec, player).weight and weight_of(spec, player) != Weight() for player in RIVAL)
    return bool(weight_of(spec).weight)


def weight_of(spec: float | schema.LossWeight | schema.PlayerLossWeights, player: PlayerName = "encoder") -> Weight:
    """The weight that a recipe gives a lesson, for one of the players where they differ."""
    if isinstance(spec, schema.PlayerLossWeights):
        spec = spec.encoder if player == "encoder" else spec.decoder
    return Weight(spec.weight, spec.start, spec.full or 0.0) if isinstance(spec, schema.LossWeight) else Weight(spec)
