"""A recipe under comparison: its cells, those that are in a table already, and who reads its samples."""

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
    """A recipe by its name or file, with changes, the folder of its cells, and a table that may hold more of them."""

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
        recipe = change_recipe(self.recipe, {"split.seed": seed})
        return make_cell(self.name, variant, recipe, self.runs, self.in_table.get((variant, seed)))

    def present(self) -> Iterator[Cell]:
        """The cells of which something is known, of whatever state."""
        for variant in METHODS:
            names = [file.stem.removeprefix("seed") for file in (self.runs / self.name / variant).glob("seed*.json")]
            seeds = {int(name) for name in names if name.isdecimal()}
            seeds |= {seed for method, seed in self.in_table if method == variant}
            for seed in sorted(seeds):
                yield self.cell(variant, seed)

    def reader(self, seed: int) -> Cell | None:
        """The classifier that reads samples: trained on all labels, on the same split where there is one."""
        cells = (cell for cell in self.present() if cell.variant == "all_labels")
        readers = [cell for cell in cells if cell.state() == "done" and cell.run.exists()]
        return min(readers, key=lambda cell: (cell.seed != seed, cell.seed), default=None)
