"""From a file, or the name of a shipped recipe, to a `Recipe`; and back to YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from semivae.errors import RecipeError
from semivae.recipe.checks import check_sections
from semivae.recipe.document import Document, KeyPath, Problem, read_document, write_document
from semivae.recipe.explaining import explain, suggestion
from semivae.recipe.parsing import UnreadableError, parse_value
from semivae.recipe.schema import Recipe
from semivae.text import nearest, shortened

Changes = Mapping[str, object] | Sequence[str]


def read_recipe(path: str | Path, set: Changes = ()) -> Recipe:
    """Read a recipe and check it, all mistakes at once.

    Args:
        path: a YAML file, or the name of a shipped recipe such as `digits_50labels`.
        set: changes that are applied last and checked like the file: `{"training.steps": 500}`, or texts such as
            `"training.steps=500"` whose value is read as YAML.

    Raises:
        RecipeError: one line per mistake, `recipes/x.yaml:12: training.stepz: unknown key; did you mean steps?`
    """
    document = read_document(find_recipe(path))
    return _checked(document, set)


def former_names(path: str | Path, set: Changes = ()) -> list[str]:
    """What `read_recipe` would read under names of earlier versions: `mine.yaml:20: teach is now called loss_weights`.

    Raises:
        RecipeError: the file cannot be read.
    """
    document = read_document(find_recipe(path))
    _apply(document, set)
    return document.notices()


def change_recipe(recipe: Recipe, set: Changes) -> Recipe:
    """A copy of `recipe` with the changes of `read_recipe`, through the same checks."""
    return _checked(Document("recipe", _plain(recipe)), set)


def dump_recipe(recipe: Recipe) -> str:
    """YAML text that reads back as an equal recipe, with every default written out."""
    return write_document(_plain(recipe))


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with semivae: name to file, sorted by name."""
    package = Path(__file__).resolve().parents[1]
    # In a wheel the recipes lie inside the package; in a checkout they lie beside it.
    folders = [folder for folder in (package / "recipes", package.parent / "recipes") if folder.is_dir()]
    files = sorted(folders[0].glob("*.yaml")) if folders else []
    return {file.stem: file for file in files}


def find_recipe(name: str | Path) -> Path:
    """The recipe file for a path or for the name of a shipped recipe; a file of that name goes first.

    Raises:
        RecipeError: there is neither; similar names are suggested.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = shipped_recipes()
    if str(name) in shipped:
        return _short(shipped[str(name)])
    if path.exists():
        return path  # a folder and the like: the reader says what is wrong with it
    near = _near_file(path)
    hint = f"did you mean {near}?" if near else suggestion(path.stem, shipped)
    raise RecipeError(f"{name}: there is no such file, nor a shipped recipe of this name; {hint}")


def _near_file(path: Path) -> Path | None:
    """The recipe file beside a missing one whose name is nearest, where one is near: `mine.yaml` for `mine.yml`."""
    try:
        names = {file.name: file for file in path.parent.iterdir() if file.suffix.lower() in (".yaml", ".yml")}
    except OSError:
        return None
    for other in (path.with_suffix(".yaml"), path.with_suffix(".yml"), *[path.with_name(f"{path.name}.yaml")]):
        if other.name in names:
            return other
    close = nearest(path.name, names)
    return path.with_name(close) if close else None


def _short(path: Path) -> Path:
    """Relative to the working directory where it lies below, so that messages stay readable."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _plain(recipe: Recipe) -> dict[str, Any]:
    # None is the default wherever it is allowed, so leaving it out loses nothing.
    return recipe.model_dump(mode="json", exclude_none=True)


def _checked(document: Document, changes: Changes) -> Recipe:
    problems = [*document.problems, *_apply(document, changes)]
    try:
        recipe = Recipe.model_validate(document.data)
    except ValidationError as error:
        problems += explain(error.errors(include_url=False), Recipe, document.data)
        problems += check_sections(_valid_sections(document.data))
        raise document.report(problems) from None
    problems += check_sections({name: getattr(recipe, name) for name in Recipe.model_fields})
    if problems:
        raise document.report(problems)
    return recipe


def _valid_sections(data: Mapping[str, object]) -> dict[str, Any]:
    """The sections that are valid by themselves, so that a mistake in one does not hide those between the others."""
    sections = {}
    for name, field in Recipe.model_fields.items():
        if name not in data and field.is_required():
            continue
        try:
            given = data.get(name, field.default)
            sections[name] = TypeAdapter(field.rebuild_annotation()).validate_python(given)
        except ValidationError:
            continue
    return sections


def _apply(document: Document, changes: Changes) -> list[Problem]:
    problems: list[Problem] = []
    if isinstance(changes, str):
        changes = [changes]
    place = "set" if isinstance(changes, Mapping) else "--set"
    pairs = list(changes.items()) if isinstance(changes, Mapping) else [_pair(text, problems) for text in changes]
    for pair in pairs:
        if pair is None:
            continue
        key, value = pair
        path: KeyPath = tuple(key.split("."))
        if not all(path):
            problems.append(Problem((), "not a key; write keys as training.steps", f"{place} {shortened(key)}"))
        elif problem := document.put(path, value, place):
            problems.append(problem)
    return problems


def _pair(text: str, problems: list[Problem]) -> tuple[str, object] | None:
    key, equals, value = text.partition("=")
    if not equals:
        problems.append(Problem((), "write KEY=VALUE, such as training.steps=500", f"--set {shortened(text)}"))
        return None
    try:
        return key.strip(), parse_value(value)
    except UnreadableError as error:
        message = "the value is not YAML; check its brackets and quotes, and the space after each colon"
        problems.append(Problem((), message if error.syntax else error.message, f"--set {shortened(text)}"))
        return None
