"""A recipe under comparison: its cells, those that are in a table already, and the classifier of its samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.accuracy.cells import METHODS, Cell, make_cell
from benchmarks.accuracy.tables import read_tables
from benchmarks.common.pages import json_path
from semivae.recipe import Recipe, change_recipe, read_recipe


@dataclass(frozen=True)
class Benchmark:
    """A recipe under comparison.

    Args:
        source: the recipe's file, or the name of a shipped one.
        changes: as `--set` has them, `key=value`.
        runs: the folder of all cells.
        table: the path, without its ending, of a table whose cells count as done; None for none.
    """

    source: str
    changes: tuple[str, ...]
    runs: Path
    table: Path | None = None

    @property
    def name(self) -> str:
        return Path(self.source).stem

    @cached_property
    def recipe(self) -> Recipe:
        return read_recipe(self.source, self.changes)

    @cached_property
    def in_table(self) -> dict[tuple[str, int], dict[str, Any]]:
        """The table's cells by variant and split seed."""
        section = read_tables(json_path(self.table)).get(self.name) if self.table else None
        return {(cell["variant"], cell["seed"]): cell for cell in section["cells"]} if section else {}

    def cell(self, variant: str, seed: int) -> Cell:
        """The cell of a variant and a split seed. Raises RecipeError where the recipe has no such variant."""
        recipe = change_recipe(self.recipe, {"split.seed": seed})
        return make_cell(self.name, variant, recipe, self.runs, self.in_table.get((variant, seed)))

    def known_cells(self) -> Iterator[Cell]:
        """All cells, in whatever state, that have a file or are in the table."""
        for variant in METHODS:
            names = [file.stem.removeprefix("seed") for file in (self.runs / self.name / variant).glob("seed*.json")]
            seeds = {int(name) for name in names if name.isdecimal()}
            seeds |= {seed for method, seed in self.in_table if method == variant}
            for seed in sorted(seeds):
                yield self.cell(variant, seed)

    def sample_classifier(self, seed: int) -> Cell | None:
        """The classifier for samples: a finished run with all labels, of the same split if possible; None if absent."""
        cells = (cell for cell in self.known_cells() if cell.variant == "all_labels")
        finished = [cell for cell in cells if cell.state() == "done" and cell.run.exists()]
        return min(finished, key=lambda cell: (cell.seed != seed, cell.seed), default=None)
