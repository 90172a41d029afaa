"""The roles of a recipe's variables, and the plan of its losses, both derived from its graphs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from semivae.errors import RecipeError
from semivae.game.graphs import OTHER_PLAYER, Factor, PlayerName, StreamGraph, evidence_in
from semivae.game.plan import Lesson, Plan, derive_plan
from semivae.game.schedules import Weight
from semivae.recipe import schema
from semivae.recipe.schema import Recipe
from semivae.scenario.nouns import nouns_of
from semivae.scenario.stranger_checks import refuse_unfound_strangers
from semivae.scenario.turning import refuse_turns
from semivae.tasks.kinds import NOTHING, task_of
from semivae.tasks.task import Task, reason
from semivae.text import IMAGES, Nouns

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Roles:
    """The roles of a recipe's variables, fixed by the resolved recipe (`Scenario.roles`, `Run.roles`).

    Args:
        image: the primary input of the encoder (an image, or a table row), which views augment and the decoder may
            generate.
        labels: the labels that streams observe beside it, in the encoder's order, each with its kind; empty in an
            unsupervised scenario.
        codes: all other variables, which no data set contains.
        image_label: the primary label if the encoder infers it from the image alone, otherwise None.
        further: the other inputs of the encoder, in the recipe's order.
        predicted_label: the primary label if the encoder infers it from its inputs alone, otherwise None.
        pictures: the pictures that the data hold beside the features that the encoder starts from, where the decoder
            generates them; otherwise None.
        nouns: what messages call one of the user's examples, and several (`semivae.scenario.nouns`).
        evidence: what streams show beside the image of a label, such as a coarse class, and the encoder does not infer.
    """

    image: str
    labels: Mapping[str, Task]
    codes: tuple[str, ...]
    image_label: str | None = None
    further: tuple[str, ...] = ()
    predicted_label: str | None = None
    pictures: str | None = None
    evidence: tuple[str, ...] = ()
    nouns: Nouns = IMAGES

    @property
    def inputs(self) -> tuple[str, ...]:
        """Returns all inputs of the encoder, the primary one first."""
        return (self.image, *self.further)

    @property
    def shown(self) -> str:
        """Returns what people look at and a painter paints: the pictures beside features, or the primary input."""
        return self.pictures or self.image

    @property
    def label(self) -> str | None:
        """Returns the primary label, which views and votes teach and reports are about; None if there is none."""
        return next(iter(self.labels), None)

    @property
    def task(self) -> Task:
        """Returns the kind of the primary label; NOTHING if there is none."""
        return next(iter(self.labels.values()), NOTHING)

    def label_in(self, sample: Mapping[str, Tensor]) -> Tensor | None:
        """Returns the primary label's values in a sample; None if it has none."""
        return None if self.label is None else sample.get(self.label)


def roles_of(recipe: Recipe) -> Roles:
    """Derives the roles from the graphs: the encoder starts from the inputs, and streams show labels beside them.

    Of several inputs, the primary one is the one called x, or else the first in the recipe.

    Raises:
        RecipeError: the encoder has no input, or one that no stream shows.
    """
    roots = {name for factor in recipe.encoder.values() for name in factor.given} - set(recipe.encoder)
    observed = {name for stream in recipe.streams.values() for name in stream.observe}
    if not roots or (len(roots) > 1 and roots - observed):
        found = ", ".join(sorted(roots - observed)) or "none"
        raise RecipeError(
            f"encoder: it must start from observed variables, found {found}; every other variable that is given must "
            f"have its own entry in the encoder, before it is used"
        )
    ordered = [name for name in recipe.variables if name in roots]
    image = "x" if "x" in roots else ordered[0]
    further = tuple(name for name in ordered if name != image)
    seen = {name for stream in recipe.streams.values() if image in stream.observe for name in stream.observe}
    evidence = tuple(name for name in recipe.decoder if name in seen and _evidence_of(recipe, name))
    known = seen | {_evidence_of(recipe, name) for name in evidence}  # a label that only evidence tells is one, too
    kinds = {name: task_of(name, recipe.variables[name]) for name in recipe.encoder if name in known}
    labels = {name: task for name, task in kinds.items() if task is not NOTHING}
    of = [spec.of for name, spec in recipe.features.items() if name in roots and spec.of in recipe.variables]
    pictures = of[0] if of and of[0] not in recipe.encoder and of[0] in recipe.decoder else None
    codes = tuple(name for name in recipe.variables if name not in {*roots, *labels, *evidence, pictures})
    image_label = next((name for name in list(labels)[:1] if recipe.encoder[name].given == (image,)), None)
    predicted_label = next((name for name in list(labels)[:1] if roots.issuperset(recipe.encoder[name].given)), None)
    called = nouns_of(recipe, ordered)
    return Roles(image, labels, codes, image_label, further, predicted_label, pictures, evidence, called)


def _evidence_of(recipe: Recipe, name: str) -> str | None:
    """The label that a variable says something of: its only parent in the decoder, where the encoder infers no more."""
    graphs: dict[PlayerName, tuple[Factor, ...]]
    graphs = {"decoder": decoder_graph(recipe), "encoder": encoder_graph(recipe)}
    return next((factor.given[0] for factor in evidence_in(graphs, [name])), None)


def decoder_graph(recipe: Recipe) -> tuple[Factor, ...]:
    """The decoder's factors, without those that are known by samples only."""
    pictures = {spec.of for spec in recipe.features.values()}
    return tuple(
        replace(_factor(name, spec), input=name in pictures)
        for name, spec in recipe.decoder.items()
        if spec != "samples"
    )


def encoder_graph(recipe: Recipe) -> tuple[Factor, ...]:
    """The encoder's factors."""
    return tuple(_factor(name, spec) for name, spec in recipe.encoder.items())


def plan_of(recipe: Recipe, roles: Roles | None = None) -> Plan:
    """Derives the plan from the recipe's graphs; needs no data.

    Args:
        recipe: the recipe.
        roles: of its variables, where they are known already.

    Raises:
        RecipeError: the scenario cannot teach, or a stream's views or weights name what is not there.
    """
    roles = roles or roles_of(recipe)
    refuse_turns(recipe, roles.image)
    graphs = [_stream_graph(recipe, roles, name) for name in recipe.streams]
    plan = derive_plan(decoder_graph(recipe), encoder_graph(recipe), graphs)
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
    if recipe.painter is not None:
        _refuse_painter(recipe, roles)
    refuse_unfound_strangers(recipe, roles.label, plan)
    return plan


def painter_plan(recipe: Recipe, roles: Roles | None = None) -> Plan:
    """The painter's plan: it learns the image wherever the decoder does, from the same completed examples.

    Args:
        recipe: the recipe, with a painter.
        roles: of its variables, where they are known already.
    """
    roles = roles or roles_of(recipe)
    plan = plan_of(recipe, roles)
    lessons = [lesson for lesson in plan.of("decoder") if roles.shown in lesson.scores]
    return Plan(tuple(replace(lesson, scores=(roles.shown,)) for lesson in lessons), plan.graphs)


def _refuse_painter(recipe: Recipe, roles: Roles) -> None:
    """Raises RecipeError where a painter has no decoder that drafts, or guides that it is not given."""
    assert recipe.painter is not None
    factor = recipe.decoder.get(roles.shown)
    if not isinstance(factor, schema.ConditionalSpec):
        raise RecipeError(f"painter: the decoder has no network of {roles.shown} to paint over; remove painter")
    if factor.flow is not None:
        raise RecipeError(
            f"painter: the decoder's {roles.shown} is a flow already; remove flow there, so that a cheap decoder "
            f"drafts, or remove painter"
        )
    for guide in recipe.painter.flow.guides:
        if guide not in factor.given:
            raise RecipeError(
                f"painter.flow.guides: {guide} cannot lead the painter, since the decoder's {roles.shown} is not given "
                f"it, only {', '.join(factor.given)}"
            )


def twin_plan(recipe: Recipe, roles: Roles | None = None) -> Plan:
    """The supervised twin's plan: the encoder learns its labels from labelled pairs, and nothing else.

    Where streams show evidence of a label, the twin learns from it as well, and what is learnt of p(evidence | label):
    it is then the forward correction of noisy labels, or Raykar's model of annotators.

    Args:
        recipe: the recipe.
        roles: of its variables, where they are known already.

    Raises:
        RecipeError: the scenario has no labels, so it has no twin.
    """
    roles = roles or roles_of(recipe)
    plan = plan_of(recipe, roles)
    pairs = [lesson for lesson in plan.of("encoder") if not lesson.draws and not lesson.self_training]
    lessons = [part for lesson in pairs if (part := _part(lesson, roles.labels)) is not None]
    if not lessons:
        raise RecipeError("this scenario has no supervised twin: no stream shows the encoder labelled pairs")
    tables = [
        part for lesson in plan.of("decoder") if (part := _part(lesson, roles.evidence, roles.labels)) is not None
    ]
    return Plan((*tables, *lessons), plan.graphs)


def _part(lesson: Lesson, scores: Iterable[str], draws: Iterable[str] = ()) -> Lesson | None:
    """A lesson on some of its factors; None where it scores none of them."""
    kept = tuple(name for name in scores if name in lesson.scores)
    return replace(lesson, scores=kept, draws=tuple(name for name in draws if name in lesson.draws)) if kept else None


def _factor(name: str, spec: schema.Factor) -> Factor:
    if isinstance(spec, schema.ConditionalSpec):
        return Factor(name, spec.given)
    if isinstance(spec, schema.TableSpec):
        return Factor(name, spec.given, spec.learnable)
    return Factor(name, learnable=spec == "learned")


def _stream_graph(recipe: Recipe, roles: Roles, name: str) -> StreamGraph:
    stream = recipe.streams[name]
    _refuse_strangers(recipe, roles, name)
    if stream.views is not None and roles.image not in stream.observe:
        raise RecipeError(f"streams.{name}.views: views transform {roles.image}, but the stream does not observe it")
    pseudo_label = None
    if stream.vote is not None:
        _refuse_vote(recipe, roles, name)
        pseudo_label = roles.label
    if isinstance(stream.views, schema.PairOfViews):
        _refuse_pair_of_views(recipe, roles, name, stream.views)
        pseudo_label = roles.label
    if stream.adjust:
        _refuse_adjust(recipe, roles, name)
    if stream.mixup is not None:
        _refuse_mixup(recipe, roles, name)
    without = frozenset(
        (player, factor)
        for factor in stream.loss_weights
        for player in OTHER_PLAYER
        if player not in _players_taught(stream, factor)
    )
    through = frozenset(spec.of for variable, spec in recipe.features.items() if variable in stream.observe)
    return StreamGraph(name, stream.observe, pseudo_label, stream.vote is not None, without, through)


def _refuse_strangers(recipe: Recipe, roles: Roles, name: str) -> None:
    """Raises RecipeError where a stream shows beside the image what is of no kind of label."""
    observed = recipe.streams[name].observe
    for shown in observed if roles.image in observed else ():
        variable = recipe.variables[shown]
        if shown in roles.evidence:
            continue
        if shown not in (*roles.inputs, roles.pictures, *roles.labels, *recipe.encoder):
            raise RecipeError(
                f"streams.{name}.observe: the encoder does not infer {shown}, and in the decoder it does not depend on "
                f"one label alone, so that it could be evidence of it; add {shown} to the encoder, or give it "
                f"{{given: [{roles.label or 'y'}]}} and no children in the decoder"
            )
        if shown not in (*roles.inputs, roles.pictures) and task_of(shown, variable) is NOTHING:
            raise RecipeError(
                f"streams.{name}.observe: beside {roles.image} data hold labels, and {shown}, a {variable.family} "
                f"variable, can be none; leave it out, or make it categorical, a bernoulli vector, or a gaussian number"
            )


def _refuse_unread(roles: Roles, where: str, teaches: str, instead: str) -> None:
    """Raises RecipeError if the encoder infers no label from the image alone."""
    if roles.image_label is None:
        raise RecipeError(
            f"{where}: {teaches} the encoder's label given {roles.image} alone, but there is no such factor; let a "
            f"stream observe a label beside {roles.image}, or {instead}"
        )


def _refuse_by_kind(roles: Roles, where: str, option: str) -> None:
    """Raises RecipeError where the kind of the primary label refuses an option."""
    if why := reason(roles.task, option, roles.label):
        raise RecipeError(f"{where}: {why}; remove {option}")


def _refuse_pair_of_views(recipe: Recipe, roles: Roles, name: str, views: schema.PairOfViews) -> None:
    """Raises RecipeError where a pair of views has no label to teach, or asks of it what cannot be had."""
    where = f"streams.{name}.views"
    _refuse_unread(roles, where, "a pair of views teaches", "use a single view")
    informs = weight_of(views.information) != Weight(0.0)
    if views.cutmix and informs:
        raise RecipeError(
            f"{where}.cutmix: information compares two views of one image, and with cutmix a view shows two; remove "
            f"one of them"
        )
    if informs:
        _refuse_by_kind(roles, f"{where}.information", "information")
    if views.cutmix:
        _refuse_by_kind(roles, f"{where}.cutmix", "cutmix")
    if views.align:
        _refuse_by_kind(roles, f"{where}.align", "align")
        if _has_no_prior(recipe, roles):
            raise RecipeError(
                f"{where}.align: the decoder has no prior of {roles.label} to align to; make it uniform, "
                f"{{probabilities: [...]}}, or learned, and the stream of labels alone teaches it"
            )


def _has_no_prior(recipe: Recipe, roles: Roles) -> bool:
    """Whether the decoder's p(label) is known by samples only, or depends on other variables."""
    prior = recipe.decoder.get(roles.label or "", "samples")
    return prior == "samples" or isinstance(prior, schema.ConditionalSpec | schema.TableSpec)


def _label_of_pairs(recipe: Recipe, roles: Roles, name: str, option: str, done: str) -> str:
    """The label that a stream shows beside the image; RecipeError where it shows none, or one that refuses this."""
    label, where, observed = roles.label, f"streams.{name}.{option}", recipe.streams[name].observe
    if label not in observed or roles.image not in observed:
        raise RecipeError(f"{where}: only pairs of {roles.image} and a label can be {done}; remove {option}")
    _refuse_by_kind(roles, where, option)
    return label


def _refuse_adjust(recipe: Recipe, roles: Roles, name: str) -> None:
    """Raises RecipeError where a stream shows no pairs, or there is no p(y) to adjust them to."""
    label = _label_of_pairs(recipe, roles, name, "adjust", "adjusted")
    if _has_no_prior(recipe, roles):
        raise RecipeError(
            f"streams.{name}.adjust: the decoder has no prior of {label} to adjust to; make it uniform, "
            f"{{probabilities: [...]}}, or learned"
        )


def _refuse_mixup(recipe: Recipe, roles: Roles, name: str) -> None:
    """Raises RecipeError where a stream shows no pairs of an image and a label that the encoder reads off it."""
    _label_of_pairs(recipe, roles, name, "mixup", "mixed")
    _refuse_unread(roles, f"streams.{name}.mixup", "mixtures teach", "remove mixup")


def _refuse_vote(recipe: Recipe, roles: Roles, name: str) -> None:
    """Raises RecipeError where the decoder cannot weigh an image's classes as `semivae.game.teaching.vote` does."""
    observed, where = set(recipe.streams[name].observe), f"streams.{name}.vote"
    if roles.image not in observed or observed & set(roles.labels):
        raise RecipeError(
            f"{where}: the decoder votes on {roles.nouns[1]} without a label, not on this stream's; remove vote"
        )
    _refuse_unread(roles, where, "the vote teaches", "remove vote")
    if roles.further:
        raise RecipeError(
            f"{where}: the decoder votes on {roles.image} alone, but the encoder starts from "
            f"{' and '.join(roles.inputs)}; remove vote"
        )
    _refuse_by_kind(roles, where, "vote")
    if not isinstance(recipe.decoder.get(roles.image), schema.ConditionalSpec):
        raise RecipeError(f"{where}: the decoder does not paint {roles.image}, so it cannot vote; remove vote")
    unknown = [code for code in roles.codes if recipe.decoder.get(code, "samples") == "samples"]
    if unknown:
        raise RecipeError(
            f"{where}: the vote needs p({unknown[0]}), but the decoder's prior of it is known by samples only; "
            f"remove vote"
        )


def _players_taught(stream: schema.StreamSpec, factor: str) -> list[PlayerName]:
    return [player for player in OTHER_PLAYER if weight_of(stream.loss_weights[factor], player).weight]


def _asks_to_teach(spec: float | schema.LossWeight | schema.PlayerLossWeights) -> bool:
    """Whether a weight needs a factor that is taught; where the players differ, 1 may just be the default."""
    if isinstance(spec, schema.PlayerLossWeights):
        return any(weight_of(spec, player).weight and weight_of(spec, player) != Weight() for player in OTHER_PLAYER)
    return bool(weight_of(spec).weight)


def weight_of(spec: float | schema.LossWeight | schema.PlayerLossWeights, player: PlayerName = "encoder") -> Weight:
    """The weight that a recipe gives a lesson, for one of the players where they differ."""
    if isinstance(spec, schema.PlayerLossWeights):
        spec = spec.encoder if player == "encoder" else spec.decoder
    return Weight(spec.weight, spec.start, spec.full or 0.0) if isinstance(spec, schema.LossWeight) else Weight(spec)
