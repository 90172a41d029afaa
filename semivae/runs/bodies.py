"""Encoders of earlier runs as bodies: what network a recipe's `net: {name: run}` means, and its weights."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from semivae.errors import RecipeError, RunError
from semivae.game.conditionals import NetworkConditional
from semivae.game.ladder import LadderConditional
from semivae.nets.bodies import refuse_unknown
from semivae.nets.layers import without_head
from semivae.recipe.bodies import PretrainedUnetSpec
from semivae.recipe.body_places import Place, body_specs, with_bodies
from semivae.recipe.fitting import check_fit
from semivae.recipe.networks import BodySpec, Net, RunSpec
from semivae.recipe.schema import Recipe
from semivae.runs.folder import is_run_folder, kept_recipe
from semivae.runs.hub import local_folder
from semivae.runs.model import TrainedModel
from semivae.scenario.build import parameter_counts
from semivae.scenario.plan import roles_of
from semivae.scenario.shapes import has_shapes


def with_earlier_networks(recipe: Recipe, kept: Recipe | None = None) -> Recipe:
    """Fills in the networks of the earlier runs that a recipe names.

    Args:
        recipe: with every shape.
        kept: the recipe of a run that is resumed, which has them already.

    Raises:
        RecipeError: a run or a factor is not there, or it cannot be a body for these images.
    """
    before = body_specs(kept) if kept is not None else {}
    filled: dict[Place, BodySpec] = {}
    for place, spec in body_specs(recipe).items():
        if not isinstance(spec, RunSpec) or spec.network is not None:
            continue
        former = before.get(place)
        if isinstance(former, RunSpec) and former.path == spec.path:
            factor = former.factor if spec.factor is None else spec.factor
            filled[place] = spec.model_copy(
                update={"factor": factor, "network": former.network, "family": former.family}
            )
        else:
            filled[place] = _filled(".".join(place), spec, recipe)
    return with_bodies(recipe, filled)


def body_mistakes(recipe: Recipe) -> list[str]:
    """Returns why networks on bodies could not be built, a message each; reads no weights and downloads nothing."""
    found: list[str] = []
    for place, spec in body_specs(recipe).items():
        try:
            if not isinstance(spec, RunSpec):
                refuse_unknown(spec.body if isinstance(spec, PretrainedUnetSpec) else spec)
        except ValueError as error:
            found.append(f"{'.'.join(place)}: {error}")
    if not found and has_shapes(recipe):
        try:
            parameter_counts(with_earlier_networks(recipe))
        except RecipeError as error:
            found.append(str(error))
    return found


def weights_of(spec: RunSpec) -> dict[str, Tensor]:
    """Reads the weights of an earlier run's network, without its head, by the names of its `state_dict()`.

    Raises:
        RunError: the run cannot be opened, or its factor is gone.
    """
    run = TrainedModel.load(_path(spec), device="cpu")
    if spec.factor is None or spec.factor not in run.encoder:
        raise RunError(f"{run.path}: the encoder has no factor {spec.factor}; it was trained anew, so train anew too")
    conditional = run.encoder[spec.factor]
    assert isinstance(conditional, NetworkConditional)
    network = conditional.bottom_up if isinstance(conditional, LadderConditional) else conditional.net
    if not isinstance(conditional, LadderConditional):  # there it is away already
        network, _ = without_head(network)
    return network.state_dict()


def _path(spec: RunSpec) -> Path:
    """The folder of a run, or its place on a hub."""
    try:
        return Path(spec.path).expanduser()
    except RuntimeError as error:
        raise RunError(f"{spec.path}: there is no home folder of this name; write the whole path") from error


def _filled(where: str, spec: RunSpec, recipe: Recipe) -> RunSpec:
    try:
        folder = local_folder(_path(spec))
        if not is_run_folder(folder):
            raise RunError(f"{folder}: there is no run in this folder; name that of a trained one")
        earlier = kept_recipe(folder)
    except RunError as error:
        raise RecipeError(f"{where}.path: {error}") from error
    image, chosen = roles_of(earlier).image, _factor(where, spec, earlier)
    factor = earlier.encoder[chosen]
    network: Net | None = earlier.bottom_up if factor.ladder else factor.net
    assert network is not None, "a ladder has a network that its levels share"
    try:
        check_fit(network, earlier.variables[image].shape, (1,))
    except ValueError as error:
        raise RecipeError(f"{where}: a body puts out a vector, but in {spec.path} {error}") from error
    if isinstance(network, RunSpec):
        raise RecipeError(
            f"{where}: the network of {chosen} in {spec.path} is itself that of an earlier run; name that run, or "
            "another factor"
        )
    theirs, ours = earlier.variables[image].shape, recipe.variables[roles_of(recipe).image].shape
    if theirs != ours:
        raise RecipeError(
            f"{where}: the inputs of {spec.path} have shape {list(theirs or ())}, those of this recipe "
            f"{list(ours or ())}; train on inputs of the same shape"
        )
    return spec.model_copy(update={"factor": chosen, "network": network, "family": earlier.variables[image].family})


def _factor(where: str, spec: RunSpec, earlier: Recipe) -> str:
    """The factor whose network is taken: the one asked for, the label's, or the first that reads the image alone."""
    roles = roles_of(earlier)
    fitting = [name for name, factor in earlier.encoder.items() if factor.ladder or factor.given == (roles.image,)]
    if spec.factor is not None and spec.factor not in fitting:
        raise RecipeError(
            f"{where}.factor: the encoder of {spec.path} infers no {spec.factor} from {roles.image} alone; "
            f"use {' or '.join(fitting) or 'another run'}"
        )
    if not fitting:
        raise RecipeError(f"{where}.path: the encoder of {spec.path} infers nothing from {roles.image} alone")
    return spec.factor or (roles.image_label if roles.image_label in fitting else None) or fitting[0]
