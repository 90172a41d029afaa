"""One cell of the benchmark: a recipe, a variant and a split seed; its file, and whether that file is still valid.

A cell lies at RUNS/RECIPE/VARIANT/seedN.json, the run of a network beside it in the folder seedN. The file holds the
settings too, so that a result is never taken for that of another recipe.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from benchmarks.accuracy.baselines import BASELINES
from benchmarks.accuracy.variants import VARIANTS, image_and_label, whole
from benchmarks.common.pages import write_text
from semivae.errors import RunError
from semivae.recipe import Recipe, change_recipe
from semivae.runs.folder import differences

FORMAT = "semivae-benchmark-cell-1"
METHODS = (*BASELINES, *VARIANTS)

State = Literal["to do", "interrupted", "changed", "done"]


@dataclass(frozen=True)
class Cell:
    """A recipe, a variant and a split seed.

    Args:
        name: of the recipe.
        variant: a key of `VARIANTS` or `BASELINES`.
        seed: of the split.
        recipe: what is trained; for a baseline the whole recipe, of which it takes source and split.
        runs: the folder of all cells.
        in_table: its record in a table, perhaps from another machine, which counts where there is no file.
    """

    name: str
    variant: str
    seed: int
    recipe: Recipe
    runs: Path
    in_table: dict[str, Any] | None = None

    @property
    def file(self) -> Path:
        return self.runs / self.name / self.variant / f"seed{self.seed}.json"

    @property
    def run(self) -> Path:
        return self.file.with_suffix("")

    @property
    def title(self) -> str:
        return f"{self.name} {self.variant} split {self.seed}"

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the result, as plain values; `asked` in the file."""
        plain = self.recipe.model_dump(mode="json")
        if self.variant in VARIANTS:
            return {"recipe": plain}
        settings = BASELINES[self.variant].settings
        return {"source": plain["source"], "split": plain["split"], "settings": settings}

    @cached_property
    def record(self) -> dict[str, Any] | None:
        """The content of the file, or of the table where there is no file; None where there is neither."""
        return read_cell(self.file) if self.file.exists() else self.in_table

    def changes(self) -> list[str]:
        """How the settings of the record differ from those of now: `training.steps: was 500, now 600`."""
        if self.record is None:
            return []
        before, now = self.record["asked"], self.settings
        if self.variant in VARIANTS:
            before, now = _with_defaults(before["recipe"]), now["recipe"]
        return list(differences(before, now))

    def state(self) -> State:
        """Whether there is a record, with a result, and of the settings of now."""
        if self.record is None:
            return "to do"
        if self.changes():
            return "changed"
        return "done" if "result" in self.record else "interrupted"

    def write(self, results: Mapping[str, Any]) -> None:
        """Writes the file: the settings, and the results so far."""
        facts = {"format": FORMAT, "recipe": self.name, "variant": self.variant, "seed": self.seed}
        write_json(self.file, {**facts, "asked": self.settings, **results})
        self.__dict__.pop("record", None)

    def remove(self) -> None:
        """Removes file and run, so that the cell is measured again."""
        self.file.unlink(missing_ok=True)
        if self.run.exists():
            shutil.rmtree(self.run)
        self.__dict__.pop("record", None)


def make_cell(name: str, variant: str, base: Recipe, runs: Path, in_table: dict[str, Any] | None = None) -> Cell:
    """The cell of a variant of a recipe, of that recipe's split seed. Raises RecipeError if it lacks that variant."""
    image_and_label(base)
    recipe = VARIANTS.get(variant, whole)(base)
    # the text says what this is; and a cell does not grow old when the recipe's own text is edited
    changes = {"about": f"{variant} of {name}, for comparison", "training.twin": False}
    return Cell(name, variant, base.split.seed, change_recipe(recipe, changes), runs, in_table)


def read_cell(path: Path) -> dict[str, Any]:
    """The content of a cell's file. Raises RunError for a damaged file or any other."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); remove it, and the cell is measured again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RunError(f"{path}: is no cell of this benchmark; choose another folder with --runs")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a file in one move. Raises RunError where it cannot be written."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _with_defaults(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    """A recorded recipe with the defaults of newer keys; unchanged where it can no longer be read."""
    try:
        return Recipe.model_validate(recipe).model_dump(mode="json")
    except ValidationError:
        return recipe
