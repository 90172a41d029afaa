"""`inspect`: from a recipe or a path to a report on its data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from semivae.data.packed.store import is_packed
from semivae.data.paths import expanded
from semivae.data.sources import data_root as find_data_root
from semivae.data.sources import load_source, place_of
from semivae.errors import DataError, RecipeError
from semivae.inspection.choosing import choose
from semivae.inspection.folders import inspect_folder
from semivae.inspection.in_memory import inspect_arrays, inspect_dataset
from semivae.inspection.masks import inspect_masks
from semivae.inspection.report import DataReport
from semivae.inspection.result import Inspected
from semivae.inspection.tables import inspect_table
from semivae.recipe import Recipe, change_recipe, read_recipe, shipped_recipes
from semivae.recipe.reading import Changes
from semivae.recipe.schema import ArraysSource, FolderSource, MasksSource, Source, SplitSpec, TableSource

OF_NUMBERS = {"folder": "arrays_numbers", "table": "table_numbers"}  # templates where `set` makes the label a number


@dataclass(frozen=True)
class Asked:
    """What to inspect.

    Attributes:
        source: where the data are; a path is absolute.
        split: which labels are shown; None where no recipe says so.
        chosen: why this kind of source; "" where a recipe says so.
        recipe: the recipe, or the template that fits.
        data_root: where relative paths start.
        template: the name of the template that fits; "" where a recipe says where the data are.
        changed: keys that the user has set.
    """

    source: Source
    split: SplitSpec | None
    chosen: str
    recipe: Recipe
    data_root: Path
    template: str = ""
    changed: frozenset[str] = frozenset()


def inspect(
    place: str | Path | Recipe,
    *,
    set: Changes = (),
    label: str | None = None,
    data_root: str | Path | None = None,
) -> DataReport:
    """Says what data hold, before anything is trained: classes, sizes, duplicates, unused files, and all mistakes.

    Images are decoded one after the other and not kept, so that any number takes little memory.

    Args:
        place: a recipe, its file or the name of a shipped one; or a folder or .zip of images, a table, or an .npz.
        set: changes to the recipe, as in `semivae.train`; of a path to the template that fits, such as
            `{"source.size": 64}`.
        label: where a path is given, the column that holds the class, of a table or of one beside images, or the folder
            of the label y among several.
        data_root: where the data of a recipe live.

    Raises:
        RecipeError: a recipe that cannot be read.
        DataError: nothing is there, or its structure cannot be told. What else is wrong is in the report.
    """
    asked = asked_for(place, set, label, data_root)
    return inspect_asked(asked).report


def asked_for(
    place: str | Path | Recipe,
    set: Changes = (),
    label: str | None = None,
    data_root: str | Path | None = None,
    *,
    bare: bool = False,
) -> Asked:
    """Reads the recipe, or chooses the source of a path; arguments and errors as of `inspect`.

    With `bare`, the place is a path even if a recipe has its name.
    """
    root = find_data_root(data_root)
    if isinstance(place, Recipe):
        recipe = change_recipe(place, set)
        return Asked(recipe.source, recipe.split, "", recipe, root)
    if not str(place):
        raise DataError("the path is empty, as that of a variable that is not set; give a path, . for this folder")
    path = expanded(place)
    is_recipe = path.suffix.lower() in (".yaml", ".yml") or (str(place) in shipped_recipes() and not path.exists())
    if is_recipe and not bare:
        if label:
            raise RecipeError(f"{place} is a recipe, which names the label itself; leave --label {label} out")
        recipe = read_recipe(place, set)
        return Asked(recipe.source, recipe.split, "", recipe, root)
    choice = choose(path, label)
    recipe = change_recipe(read_recipe(choice.template, {"source": choice.source}), set)
    template = choice.template
    if template in OF_NUMBERS and getattr(recipe.source, "kinds", {}).get("y") == "numbers":
        template = OF_NUMBERS[template]
        recipe = change_recipe(read_recipe(template, {"source": choice.source}), set)
    changed = frozenset(text.partition("=")[0].strip() for text in set)  # the keys of a mapping, or texts KEY=VALUE
    return Asked(recipe.source, None, choice.reason, recipe, root, template, changed)


def inspect_source(source: Source, data_root: Path, split: SplitSpec | None, chosen: str = "") -> Inspected:
    """Finds what a source holds.

    Args:
        source: the recipe's section.
        data_root: where its path starts.
        split: which labels are shown; None: all.
        chosen: why this kind of source, for the report.

    Raises:
        DataError: nothing is there, or its structure cannot be told.
    """
    if isinstance(source, FolderSource | MasksSource) and is_packed(place_of(source.path, data_root)):
        dataset = load_source(source, data_root)
        return inspect_dataset(dataset, str(place_of(source.path, data_root)), source.name, split, chosen)
    if isinstance(source, FolderSource):
        return inspect_folder(source, place_of(source.path, data_root), split, chosen)
    if isinstance(source, MasksSource):
        return inspect_masks(source, place_of(source.path, data_root), split, chosen)
    if isinstance(source, ArraysSource):
        return inspect_arrays(source, place_of(source.path, data_root), split, chosen)
    if isinstance(source, TableSource):
        test = None if source.test is None else place_of(source.test, data_root, "source.test")
        return inspect_table(source, place_of(source.path, data_root), test, split, chosen)
    dataset = load_source(source, data_root, download=False)
    return inspect_dataset(dataset, dataset.name, source.name, split, chosen)


def inspect_asked(asked: Asked) -> Inspected:
    """Inspects as `inspect_source` does."""
    return inspect_source(asked.source, asked.data_root, asked.split, asked.chosen)
