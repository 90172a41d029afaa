"""What messages call one of the user's examples: the one place where this is chosen."""

from __future__ import annotations

from collections.abc import Iterable

from semivae.recipe.schema import Recipe, TableSource
from semivae.text import EXAMPLES, IMAGES, Nouns


def nouns_of(recipe: Recipe, inputs: Iterable[str]) -> Nouns:
    """Returns images where users give all inputs of the encoder as pictures, and examples where rows are among them."""
    return IMAGES if all(_is_image(recipe, name) for name in inputs) else EXAMPLES


def _is_image(recipe: Recipe, name: str) -> bool:
    """Returns whether an input has a height and a width, or is made of a picture; without a shape its source says."""
    shape = recipe.variables[name].shape
    if name in recipe.features:
        return True
    return not isinstance(recipe.source, TableSource) if shape is None else len(shape) == 3
