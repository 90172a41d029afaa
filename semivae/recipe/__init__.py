"""Recipes: a scenario in YAML, read into typed objects with every mistake reported at once. Imports no torch."""

from __future__ import annotations

from semivae.recipe.reading import change_recipe, dump_recipe, find_recipe, former_names, read_recipe, shipped_recipes
from semivae.recipe.schema import Recipe

__all__ = ["Recipe", "change_recipe", "dump_recipe", "find_recipe", "former_names", "read_recipe", "shipped_recipes"]
