"""The format of a run's folder: its number, and what turns the files of each format into those of the next.

A folder names its format in run.json; a folder without that file has format 1. Checkpoints also carry the number
themselves, because one of them may be older than its folder. What is read is upgraded in memory. Files are rewritten
only when training resumes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from semivae.errors import RunError
from semivae.files import write_whole
from semivae.recipe.schema import FolderSource, MasksSource, Recipe
from semivae.version import __version__

RUN_FILE = "run.json"
Content = dict[str, Any]
Tensors = dict[str, Tensor]
T = TypeVar("T")


def unchanged(content: T) -> T:
    return content


@dataclass(frozen=True)
class Upgrade:
    """Turns the content of each file of one format into that of the next.

    Content that already has the next format must be left as it is: training that is stopped while it rewrites a folder
    leaves files of both formats. A recipe needs no function: former names of its keys can be read
    (`semivae.recipe.former_names`), and the default of a new key does what was done before the key existed, but for
    those of `as_before`.

    Attributes:
        tensors: the tensors of a checkpoint by name.
        facts: what a checkpoint says about itself.
        metrics: one row of metrics.jsonl.
        calibration: one entry of calibration.json.
        encoding: table.json.
    """

    tensors: Callable[[Tensors], Tensors] = unchanged
    facts: Callable[[Content], Content] = unchanged
    metrics: Callable[[Content], Content] = unchanged
    calibration: Callable[[Content], Content] = unchanged
    encoding: Callable[[Content], Content] = unchanged

    def then(self, later: Upgrade) -> Self:
        """Returns both upgrades as one, this one first."""
        names = [field.name for field in fields(self)]
        return type(self)(**{name: _chained(getattr(self, name), getattr(later, name)) for name in names})


def _chained(first: Callable[[Any], Any], second: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda content: second(first(content))


UPGRADES: tuple[Upgrade, ...] = (
    Upgrade(),  # from 1 to 2: run.json was added, and keys of recipes have new names
)


def as_before(kept: Recipe) -> Recipe:
    """Returns a run's recipe with what was done before keys existed whose default does something else now.

    A run writes every default out, so what its recipe does not hold did not exist.
    """
    source = kept.source
    if isinstance(source, FolderSource | MasksSource) and "background" not in source.model_fields_set:
        kept = kept.model_copy(update={"source": source.model_copy(update={"background": "none"})})
    return kept


def as_kept(recipe: Recipe, kept: Recipe) -> Recipe:
    """Returns a recipe from which a run is resumed, with what `as_before` gave the run's own, where it says nothing."""
    source, before = recipe.source, kept.source
    if not isinstance(source, FolderSource | MasksSource) or not isinstance(before, FolderSource | MasksSource):
        return recipe
    if "background" in source.model_fields_set:
        return recipe
    return recipe.model_copy(update={"source": source.model_copy(update={"background": before.background})})


def present_format() -> int:
    """Returns the format that this version writes, which is the newest that it reads."""
    return 1 + len(UPGRADES)


def upgrade_from(number: int) -> Upgrade:
    """Returns the upgrade from a format to the present one."""
    return reduce(Upgrade.then, UPGRADES[number - 1 :], Upgrade())


class RunFile(BaseModel):
    """The content of run.json; what else it holds is kept (`semivae.runs.history`)."""

    model_config = ConfigDict(extra="allow")

    format: Annotated[int, Field(ge=1, strict=True)]
    semivae: str


def format_of(folder: Path) -> int:
    """Returns the format of a run's folder.

    Raises:
        RunError: a newer version of semivae wrote the run, or run.json cannot be read, was changed or is damaged.
    """
    path = folder / RUN_FILE
    try:
        written = RunFile.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return 1
    except PermissionError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}); ask its owner to let you read it") from error
    except ValueError as error:
        raise RunError(f"{path}: was changed or damaged; put it back, or train again with --overwrite") from error
    refuse_newer(str(folder), written.format, written.semivae)
    return written.format


def refuse_newer(what: str, number: int, version: str) -> None:
    """Raises RunError for a format that only a later version can read."""
    if number > present_format():
        raise RunError(
            f"{what}: was written by semivae {version} in format {number}, but this version, {__version__}, reads "
            f"formats up to {present_format()}; upgrade it: pip install --upgrade semivae"
        )


def write_run_file(folder: Path) -> None:
    """Writes the present format and version, and keeps all else. Raises OSError where the file cannot be written."""
    path = folder / RUN_FILE
    content = RunFile.model_validate_json(path.read_text(encoding="utf-8")).model_dump() if path.is_file() else {}
    content |= {"format": present_format(), "semivae": __version__}
    write_whole(path, RunFile.model_validate(content).model_dump_json() + "\n")
