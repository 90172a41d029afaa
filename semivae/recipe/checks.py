"""What must hold between the sections of a recipe: names that refer to each other, order, and sizes.

Whether the streams can teach the players is decided later, from the graphs (`semivae.game.plan`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from semivae.family_facts import has_classes, is_discrete
from semivae.recipe.document import MOST_PROBLEMS, KeyPath, Problem
from semivae.recipe.explaining import suggestion
from semivae.recipe.flow_checks import check_flows
from semivae.recipe.schema import (
    ConditionalSpec,
    Factor,
    FeatureSpec,
    PairOfViews,
    ProbabilitiesSpec,
    StreamSpec,
    TableSpec,
    TrainingSpec,
    VariableSpec,
    ViewSpec,
)
from semivae.recipe.value_checks import check_values, check_weights

Variables = Mapping[str, VariableSpec]


def check_sections(sections: Mapping[str, Any]) -> list[Problem]:
    """All problems between the given sections (by their names in the recipe); sections may be missing."""
    checks: list[tuple[tuple[str, ...], Callable[..., Iterator[Problem]]]] = [
        (("variables", "decoder"), check_decoder),
        (("variables", "encoder"), check_encoder),
        (("variables", "decoder", "encoder"), check_flows),
        (("variables", "decoder", "encoder"), check_scales),
        (("variables", "decoder", "encoder", "bottom_up"), check_ladder),
        (("variables", "decoder", "encoder", "streams"), check_every_variable_is_used),
        (("variables", "streams"), check_observed),
        (("variables", "encoder", "streams", "features"), check_data),
        (("variables", "encoder", "features"), check_features),
        (("streams", "views", "features"), check_draws),
        (("variables", "encoder", "streams"), check_values),
        (("encoder", "streams", "views"), check_views),
        (("variables", "decoder", "encoder", "training"), check_objective),
        (("variables", "decoder", "encoder", "streams"), check_loss_weights),
    ]
    problems: list[Problem] = []
    for needed, check in checks:
        if all(name in sections for name in needed):
            problems.extend(islice(check(*(sections[name] for name in needed)), MOST_PROBLEMS))
    return problems


def check_decoder(variables: Variables, decoder: Mapping[str, Factor]) -> Iterator[Problem]:
    """Each factor is of a known variable, given variables drawn before it; priors fit their family."""
    yield from _check_order("decoder", variables, decoder)
    for name, factor in decoder.items():
        if name not in variables:
            continue
        family = variables[name].family
        if isinstance(factor, ProbabilitiesSpec):
            if not has_classes(family):
                yield Problem(("decoder", name), f"probabilities are for a categorical variable, {name} is {family}")
            path: KeyPath = ("decoder", name, "probabilities")
            yield from check_weights(path, factor.probabilities, {name: variables[name]}, total=1.0)
        elif isinstance(factor, TableSpec):
            yield from _check_table(name, factor, variables)
        elif factor == "uniform" and not is_discrete(family):
            yield Problem(("decoder", name), f"uniform is for bits and classes, {name} is {family}")
        elif factor == "standard" and family != "gaussian":
            yield Problem(("decoder", name), f"standard (normal) is for gaussian, {name} is {family}; use uniform")


def _check_table(name: str, factor: TableSpec, variables: Variables) -> Iterator[Problem]:
    """A table is of a class, or of the bits of candidates, given a class; sizes that are said fit."""
    ours, parent = variables[name], variables.get(factor.given[0])
    path: KeyPath = ("decoder", name)
    if factor.candidates and ours.family != "bernoulli":
        yield Problem(path, f"a set of candidates is of a bernoulli variable, {name} is {ours.family}")
    if not factor.candidates and not ours.has_classes:
        yield Problem(path, f"such a table is of a categorical variable, {name} is {ours.family}")
    if parent is None:
        return
    if not parent.has_classes or parent.shape:
        yield Problem((*path, "given"), f"a table is given a single class, {factor.given[0]} is none")
        return
    columns = None if factor.table is None else len(factor.table[0])
    if factor.table is not None and parent.classes not in (None, len(factor.table)):
        message = f"{len(factor.table)} rows for {parent.classes} classes of {factor.given[0]}; give one for each"
        yield Problem((*path, "table"), message)
    if columns is not None and ours.classes not in (None, columns):
        yield Problem((*path, "table"), f"{columns} columns for {ours.classes} classes of {name}; give one for each")
    if factor.confusion and ours.classes and parent.classes and ours.classes != parent.classes:
        message = f"{name} has {ours.classes} classes and {factor.given[0]} {parent.classes}; a confusion has the same"
        yield Problem((*path, "confusion"), f"{message}. Use groups or a table")


def check_encoder(variables: Variables, encoder: Mapping[str, ConditionalSpec]) -> Iterator[Problem]:
    """Each factor is of a known variable, given data or variables drawn before it."""
    yield from _check_order("encoder", variables, encoder)


def check_scales(
    variables: Variables, decoder: Mapping[str, Factor], encoder: Mapping[str, ConditionalSpec]
) -> Iterator[Problem]:
    """Only distributions with a scale can share it."""
    for player, factors in (("decoder", decoder), ("encoder", encoder)):
        for name, factor in factors.items():
            if not isinstance(factor, ConditionalSpec) or factor.scale == "given" or name not in variables:
                continue
            path: KeyPath = (player, name, "scale")
            family = variables[name].family
            if family not in ("gaussian", "discretized_logistic"):
                yield Problem(path, f"a {family} variable has no scale; remove scale")
            elif factor.flow is not None:
                yield Problem(path, "a flow has no scale; remove scale, or flow")
            elif factor.scale == "covariance" and family != "gaussian":
                yield Problem(path, f"a covariance is of gaussian numbers, and {name} is {family}; use shared")
            elif factor.scale == "covariance" and player == "encoder":
                yield Problem(path, "only the decoder's factors can have a covariance; use shared")
            elif factor.scale == "covariance" and name in encoder and encoder[name].ladder:
                yield Problem(path, f"the level {name} of a ladder takes independent numbers; use given or shared")


def check_ladder(
    variables: Variables,
    decoder: Mapping[str, Factor],
    encoder: Mapping[str, ConditionalSpec],
    bottom_up: object | None,
) -> Iterator[Problem]:
    """A ladder factor adds to the decoder's factor of the same variable, so it is given the same, and the data."""
    for name, factor in decoder.items():
        if isinstance(factor, ConditionalSpec) and factor.ladder:
            yield Problem(("decoder", name, "ladder"), "only the encoder's factors can be levels of a ladder")
    levels = {name: factor for name, factor in encoder.items() if factor.ladder}
    if levels and bottom_up is None:
        path: KeyPath = ("encoder", next(iter(levels)), "ladder")
        yield Problem(path, "the levels of a ladder share a network of the data; add it as bottom_up: {name: conv}")
    if bottom_up is not None and not levels:
        yield Problem(("bottom_up",), "no factor of the encoder says ladder: true, so nobody reads it; remove it")
    for name, factor in levels.items():
        path = ("encoder", name, "ladder")
        if name in variables and variables[name].family not in ("bernoulli", "categorical"):
            message = f"natural parameters are added for bernoulli and categorical, {name} is {variables[name].family}"
            yield Problem(path, f"{message}; remove ladder")
        if decoder.get(name, "samples") == "samples":
            yield Problem(path, f"the decoder has no factor of {name} to start from; remove ladder")
            continue
        ours = decoder[name]
        above = ours.given if isinstance(ours, ConditionalSpec) else ()
        if set(factor.given) & set(encoder) != set(above):
            message = f"the decoder's {name} is given {', '.join(above) or 'nothing'}"
            yield Problem(("encoder", name, "given"), f"{message}; a level of the ladder is given that and the data")
        elif set(factor.given) <= set(encoder):
            yield Problem(("encoder", name, "given"), "a level of the ladder is given the data too; add x")


def _check_order(player: str, variables: Variables, factors: Mapping[str, Factor]) -> Iterator[Problem]:
    """A player draws its variables in the order in which they are written, so what is given must come earlier."""
    drawn: set[str] = set()
    for name, factor in factors.items():
        yield from _check_name((player, name), name, variables)
        given = factor.given if isinstance(factor, ConditionalSpec | TableSpec) else ()
        yield from _check_names((player, name, "given"), given, variables)
        for index, other in enumerate(given):
            path: KeyPath = (player, name, "given", index)
            if other == name:
                yield Problem(path, f"{name} cannot be given to itself; remove it")
            elif other in factors and other not in drawn:
                yield Problem(path, f"{other} is drawn after {name}; write {other} above {name} in {player}")
        drawn.add(name)


def check_every_variable_is_used(
    variables: Variables,
    decoder: Mapping[str, Factor],
    encoder: Mapping[str, ConditionalSpec],
    streams: Mapping[str, StreamSpec],
) -> Iterator[Problem]:
    """A variable that nobody draws and no stream shows is a mistake, most often a misspelt name."""
    used = {*decoder, *encoder, *(name for stream in streams.values() for name in stream.observe)}
    for name in variables:
        if name not in used:
            yield Problem(("variables", name), "neither a player draws it nor a stream shows it; use it or remove it")


def check_observed(variables: Variables, streams: Mapping[str, StreamSpec]) -> Iterator[Problem]:
    """Streams show known variables."""
    for name, stream in streams.items():
        yield from _check_names(("streams", name, "observe"), stream.observe, variables)


def check_data(
    variables: Variables,
    encoder: Mapping[str, ConditionalSpec],
    streams: Mapping[str, StreamSpec],
    features: Mapping[str, FeatureSpec],
) -> Iterator[Problem]:
    """The encoder starts from what data call x, images or rows of numbers, and perhaps from further inputs.

    Which labels and further inputs there are, the data tell.
    """
    roots = {given for factor in encoder.values() for given in factor.given} - set(encoder)
    for name, stream in streams.items():
        for index, shown in enumerate(stream.observe):
            if shown in roots & set(variables) - set(features) and "x" not in roots:
                message = f"data call their images (or rows) x, not {shown}; call the variable x"
                yield Problem(("streams", name, "observe", index), message)
    shows_x = any("x" in stream.observe for stream in streams.values())
    if shows_x and "x" in variables and variables["x"].has_classes:
        message = "x is images or rows of numbers: bernoulli, discretized_logistic or gaussian, not categorical"
        yield Problem(("variables", "x", "family"), message)


def check_features(
    variables: Variables, encoder: Mapping[str, ConditionalSpec], features: Mapping[str, FeatureSpec]
) -> Iterator[Problem]:
    """Features are a gaussian variable, from which alone the encoder starts."""
    roots = {given for factor in encoder.values() for given in factor.given} - set(encoder)
    for name in features:
        path: KeyPath = ("features", name)
        if name == "x":
            yield Problem(path, "data call their pictures x; give the features another name, such as f")
        elif name not in variables:
            yield Problem(path, f"no variable is called {name}; add {name}: {{family: gaussian}} to variables")
        elif variables[name].family != "gaussian":
            message = f"features are real numbers, so {name} is gaussian, not {variables[name].family}"
            yield Problem(("variables", name, "family"), message)
        if name in encoder:
            yield Problem(("encoder", name), f"{name} is known of every picture, so nobody infers it; remove it")
        elif name not in roots:
            yield Problem(path, f"no factor of the encoder is given {name}; give it {name} instead of x, or remove it")
        elif others := sorted(roots & set(variables) - {name}):
            message = f"the encoder starts from {name} and from {', '.join(others)}; with features it starts from them"
            yield Problem(("encoder",), f"{message} alone")


def check_draws(
    streams: Mapping[str, StreamSpec], views: Mapping[str, ViewSpec], features: Mapping[str, FeatureSpec]
) -> Iterator[Problem]:
    """Stored draws are of known views, and streams of features ask for no others."""
    for name, spec in features.items():
        for view in spec.draws:
            if view not in views:
                known = suggestion(view, views) if views else "there is no views section"
                yield Problem(("features", name, "draws", view), f"no view is called {view}; {known}")
        for key, stream in streams.items():
            path: KeyPath = ("streams", key, "views")
            if name not in stream.observe:
                continue
            for view in stream.named_views():
                if view in views and view not in spec.draws:
                    yield Problem(path, f"no draws of {view} are kept; add features.{name}.draws: {{{view}: 4}}")
            if isinstance(stream.views, PairOfViews):
                if stream.views.cutmix:
                    yield Problem((*path, "cutmix"), f"boxes are of pictures, and {name} is features; remove cutmix")
                if stream.views.information:
                    message = "the mutual information needs two draws at a time, and one is stored"
                    yield Problem((*path, "information"), f"{message}; remove information")


def check_objective(
    variables: Variables,
    decoder: Mapping[str, Factor],
    encoder: Mapping[str, ConditionalSpec],
    training: TrainingSpec,
) -> Iterator[Problem]:
    """The lower bound needs the density of every prior, and of its estimators only one takes any family."""
    if training.objective == "symmetric":
        if training.estimator != "zgr":
            yield Problem(("training", "estimator"), "the game needs no estimator; remove it, or set objective: elbo")
        return
    path: KeyPath = ("training", "objective")
    for name, factor in decoder.items():
        if isinstance(factor, ConditionalSpec) and factor.flow is not None:
            yield Problem(path, f"the lower bound takes no flow, and the decoder's {name} is one; use symmetric")
        if isinstance(factor, TableSpec) and factor.candidates:
            yield Problem(path, f"the lower bound takes no candidates, such as {name}; use symmetric")
    for name in encoder:
        if decoder.get(name, "samples") == "samples":
            message = f"the lower bound needs p({name}), but the decoder has no density of it"
            yield Problem(path, f"{message}; give it a prior, or use symmetric")
        theirs = decoder.get(name)
        if isinstance(theirs, ConditionalSpec) and theirs.scale == "covariance":
            message = f"the lower bound takes no covariance of numbers that the encoder draws, {name}"
            yield Problem(path, f"{message}; use scale: shared, or symmetric")
        family = variables[name].family if name in variables else ""
        if training.estimator == "zgr" and family == "discretized_logistic":
            message = f"zgr has no gradient for a {family} variable that is drawn, {name}"
            yield Problem(("training", "estimator"), f"{message}; use leave_one_out")


def check_views(
    encoder: Mapping[str, ConditionalSpec], streams: Mapping[str, StreamSpec], views: Mapping[str, ViewSpec]
) -> Iterator[Problem]:
    """Views are defined, and used on streams that show images."""
    for name, stream in streams.items():
        path: KeyPath = ("streams", name, "views")
        used = stream.views
        if used is None:
            continue
        if isinstance(used, PairOfViews):
            wanted: dict[KeyPath, str] = {(*path, "weak"): used.weak, (*path, "strong"): used.strong}
        else:
            wanted = {path: used}
        for place, view in wanted.items():
            if view not in views:
                known = suggestion(view, views) if views else "there is no views section"
                yield Problem(place, f"no view is called {view}; {known}")
        if all(shown in encoder for shown in stream.observe):
            yield Problem(path, "views change what a stream shows, and this one shows no x; remove views")


def check_loss_weights(
    variables: Variables,
    decoder: Mapping[str, Factor],
    encoder: Mapping[str, ConditionalSpec],
    streams: Mapping[str, StreamSpec],
) -> Iterator[Problem]:
    """`loss_weights` names factors, that is variables that a player draws."""
    for name, stream in streams.items():
        for factor in stream.loss_weights:
            path: KeyPath = ("streams", name, "loss_weights", factor)
            if factor not in variables:
                yield Problem(path, f"no variable is called {factor}; {suggestion(factor, variables)}")
            elif factor not in decoder and factor not in encoder:
                yield Problem(path, f"neither player has a factor for {factor}; remove it")


def _check_name(path: KeyPath, name: str, variables: Variables) -> Iterator[Problem]:
    if name not in variables:
        yield Problem(path, f"no variable is called {name}; {suggestion(name, variables)}")


def _check_names(path: KeyPath, names: Iterable[str], variables: Variables) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        yield from _check_name((*path, index), name, variables)
        if name in seen:
            yield Problem((*path, index), f"{name} is named twice; keep one")
        seen.add(name)
