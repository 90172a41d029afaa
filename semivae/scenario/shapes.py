"""The shapes that a recipe's networks stand between, and whether they fit. Imports no torch, so `check` is quick."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from semivae.errors import RecipeError
from semivae.recipe import Recipe, schema
from semivae.recipe.fitting import Shape, check_fit
from semivae.recipe.networks import BodySpec, Net
from semivae.scenario.plan import roles_of
from semivae.tasks.kinds import task_of
from semivae.variables import Variable, draft_of, flow_inputs, painted

FEATURE_VECTOR = (1,)  # an output that only networks with a feature vector can put out, whatever its length


@dataclass(frozen=True)
class NetShapes:
    """What a network is given and must put out.

    Args:
        image: (channels, height, width) of all given images, joined by channel; None if there are none.
        vectors: the length of all other given values, flattened and joined.
        output: the shape of the parameters of one value.
    """

    image: Shape | None
    vectors: int
    output: Shape


def has_shapes(recipe: Recipe) -> bool:
    """Whether the recipe says every shape and number of classes, so that its networks can be built without the data."""
    named = any(isinstance(factor, schema.TableSpec) and factor.groups for factor in recipe.decoder.values())
    return not named and all(_has_shape(name, spec) for name, spec in recipe.variables.items())


def _has_shape(name: str, spec: schema.VariableSpec) -> bool:
    if not spec.has_classes:
        return spec.shape is not None
    return spec.classes is not None and (spec.shape is not None or not task_of(name, spec).has_places)


def build_variables(recipe: Recipe) -> dict[str, Variable]:
    """The variables of a resolved recipe."""
    return {
        name: Variable(
            name,
            spec.family,
            spec.shape or (),
            spec.classes,
            spec.complete_with,
            _each(spec.mean, spec.shape),
            _each(spec.deviation, spec.shape),
        )
        for name, spec in recipe.variables.items()
    }


def _each(given: float | tuple[float, ...] | None, shape: Shape | None) -> tuple[float, ...]:
    """An entry for each number of a shape, where one may stand for all."""
    if given is None or isinstance(given, tuple):
        return given or ()
    return (given,) * math.prod(shape or ())


def net_shapes(where: str, net: Net, given: Sequence[Variable], output: Shape) -> NetShapes:
    """The shapes of a network that is given some variables.

    Raises:
        RecipeError: the network does not fit them; `where` is the key of the recipe that asks for it.
    """
    images = [variable for variable in given if variable.is_image]
    image: Shape | None = None
    if images:
        sides = images[0].input_shape[1:]
        for other in images[1:]:
            if other.input_shape[1:] != sides:
                raise RecipeError(
                    f"{where}: {images[0].name} has sides {list(sides)} and {other.name} has "
                    f"{list(other.input_shape[1:])}; one network reads images of one size only"
                )
        image = (sum(variable.input_shape[0] for variable in images), *sides)
        if isinstance(net, BodySpec) and (len(images) > 1 or images[0].has_classes):
            names = " and ".join(variable.name for variable in images)
            raise RecipeError(f"{where}: net {net.name} reads one image, no maps; here are {names}; use conv")
    vectors = sum(math.prod(variable.input_shape) for variable in given if not variable.is_image)
    try:
        check_fit(net, image, output)
    except ValueError as error:
        raise RecipeError(f"{where}: {error}") from None
    return NetShapes(image, vectors, output)


def factor_net(
    spec: schema.ConditionalSpec, target: Variable, variables: Mapping[str, Variable]
) -> tuple[list[Variable], Shape]:
    """What the network of a factor is given, and the shape that it must put out: parameters, of a flow a velocity.

    Raises:
        RecipeError: a covariance is asked for of a single number, or of numbers in a unit.
    """
    given = [variables[parent] for parent in spec.given]
    if spec.flow is None:
        if spec.scale == "covariance" and (target.deviation or not target.shape):
            raise RecipeError(
                f"decoder.{target.name}.scale: a covariance is of a vector of numbers, which have no unit; use shared"
            )
        return given, target.network_shape if spec.scale == "given" else target.shape
    return [*flow_inputs(target), *given], target.input_shape


def painter_net(recipe: Recipe, variables: Mapping[str, Variable]) -> tuple[Variable, tuple[Variable, ...]]:
    """What a painter paints, and what it is given: the decoder's parents of the image, and its draft."""
    image = roles_of(recipe).shown
    factor = recipe.decoder[image]
    assert isinstance(factor, schema.ConditionalSpec)  # as `plan_of` made sure
    return painted(variables[image]), (*(variables[name] for name in factor.given), draft_of(variables[image]))


def net_mistakes(recipe: Recipe) -> list[str]:
    """The networks that `build_players` would refuse, found without building any.

    Args:
        recipe: a recipe with every shape and number of classes.

    Returns:
        One message for each; empty where all fit.
    """
    found: list[str] = []
    for check in _checks(recipe):
        try:
            check()
        except RecipeError as error:
            found.append(str(error))
    return found


def _checks(recipe: Recipe) -> Iterator[Callable[[], object]]:
    variables, bottom_up = build_variables(recipe), recipe.bottom_up
    if bottom_up is not None:
        yield lambda: net_shapes("bottom_up", bottom_up, [variables[roles_of(recipe).image]], FEATURE_VECTOR)
    if recipe.painter is not None:
        target, parents = painter_net(recipe, variables)
        given = [*flow_inputs(target), *parents]
        yield partial(net_shapes, "painter.net", recipe.painter.net, given, target.input_shape)
    for player, factors in (("encoder", recipe.encoder), ("decoder", recipe.decoder)):
        for name, spec in factors.items():
            if isinstance(spec, schema.ConditionalSpec):
                yield partial(_factor_shapes, f"{player}.{name}.net", spec, variables[name], variables)


def _factor_shapes(
    where: str, spec: schema.ConditionalSpec, target: Variable, variables: Mapping[str, Variable]
) -> NetShapes:
    given, output = factor_net(spec, target, variables)
    return net_shapes(where, spec.net, [] if spec.ladder else given, output)
