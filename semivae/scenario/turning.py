"""Views that turn a label with the image: which label a stream's views turn, and where that cannot be."""

from __future__ import annotations

from semivae.errors import RecipeError
from semivae.recipe import schema
from semivae.recipe.schema import Recipe

DEGREES = ("degrees", "degree", "deg", "\N{DEGREE SIGN}")
"""The texts by which a unit says that an angle is in degrees."""


def turned_label(recipe: Recipe, stream: schema.StreamSpec) -> str | None:
    """Returns the label that the views of a stream turn with the image, or None."""
    turns = [recipe.views[name].turn for name in stream.named_views()]
    return next((turn.label for turn in turns if turn is not None), None)


def refuse_turns(recipe: Recipe, image: str) -> None:
    """Checks all that a recipe says of views that turn a label.

    Args:
        recipe: the recipe; what its data say may still be missing.
        image: the variable that views transform.

    Raises:
        RecipeError: the label is not a single number in degrees, the encoder starts from features, or the views of a
            stream turn different labels. That `image` holds rows of a table its data say (`semivae.data.inputs`).
    """
    for name, view in recipe.views.items():
        if view.turn is not None:
            _refuse_label(recipe, f"views.{name}.turn", view.turn.label)
            if image in recipe.features:
                raise RecipeError(f"views.{name}.turn: {image} is no image, so nothing can be turned; remove turn")
    for name, stream in recipe.streams.items():
        turns = {view: recipe.views[view].turn for view in stream.named_views()}
        labels = {view: turn.label for view, turn in turns.items() if turn is not None}
        if len(set(labels.values())) > 1:
            said = " and ".join(f"{view} {label}" for view, label in labels.items())
            raise RecipeError(f"streams.{name}.views: they turn different labels, {said}; let them turn the same one")


def _refuse_label(recipe: Recipe, where: str, label: str) -> None:
    variable = recipe.variables.get(label)
    if variable is None:
        raise RecipeError(f"{where}.label: there is no variable {label}; say which label is the angle")
    if variable.family != "gaussian" or variable.shape:
        kind = (
            f"a vector of {variable.shape[0]}" if variable.family == "gaussian" and variable.shape else variable.family
        )
        raise RecipeError(
            f"{where}.label: only a single gaussian number can turn with the image, but {label} is {kind}; remove turn"
        )
    if variable.unit and variable.unit not in DEGREES:
        raise RecipeError(
            f"{where}.label: an angle in degrees turns with the image, but {label} is in {variable.unit}; remove turn, "
            f"or give {label} in degrees"
        )


def refuse_unknown_unit(recipe: Recipe) -> None:
    """Raises RecipeError where a label shall turn with the image whose unit neither the recipe nor the data say."""
    for name, view in recipe.views.items():
        if view.turn is not None and not recipe.variables[view.turn.label].unit:
            raise RecipeError(
                f"views.{name}.turn.label: the unit of {view.turn.label} is not known; if it is an angle in degrees, "
                f"write variables.{view.turn.label}.unit: degrees"
            )
