"""What one phase of a run keeps: its checkpoints and its rows of metrics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from semivae.errors import RunError
from semivae.runs.checkpoint import Facts, read_checkpoint, write_checkpoint
from semivae.runs.folder import append_metrics, read_metrics, refuse_lost, replace_metrics

PhaseName = Literal["model", "twin", "painter"]


class Records:
    """The files of one phase in the folder of its run.

    Args:
        folder: the run's folder.
        phase: whose they are.
        about_data: facts about the data, which every checkpoint repeats.
        writes: whether this process writes; of several one does, and the others only read.
    """

    def __init__(self, folder: Path, phase: PhaseName, about_data: Facts, writes: bool = True) -> None:
        self.folder, self.phase, self.writes = folder, phase, writes
        self.about_data = about_data.model_dump(include={"classes", "further", "labelled_counts", "beside"})
        self.rows: list[dict[str, Any]] = []
        """All rows of metrics of the run, of all phases."""

    def name_of(self, which: str) -> str:
        """Returns the file name of a checkpoint; of twin and painter there is only the last one."""
        return f"{which if self.phase == 'model' else self.phase}.safetensors"

    @property
    def exist(self) -> bool:
        """Whether this phase has left anything; then its last checkpoint must be there too."""
        rows = read_metrics(self.folder)
        return (self.folder / self.name_of("last")).exists() or any(row["phase"] == self.phase for row in rows)

    def write(self, which: str, tensors: Mapping[str, Tensor], facts: Facts) -> None:
        """Writes a checkpoint. Raises RunError where it cannot be written, or the folder has gone."""
        if not self.writes:
            return
        refuse_lost(self.folder)
        whole = facts.model_copy(update={"phase": self.phase, **self.about_data})
        write_checkpoint(self.folder / self.name_of(which), tensors, whole)

    def read(self) -> tuple[dict[str, Tensor], Facts]:
        """Returns tensors and facts of the last checkpoint.

        Raises:
            RunError: it is missing or damaged, or the unlabelled data have changed since it was written.
        """
        tensors, facts = read_checkpoint(self.folder / self.name_of("last"))
        if facts.beside not in (None, self.about_data["beside"]):
            raise RunError(
                f"{self.folder}: the data without labels have changed since the run was started, so it is not resumed; "
                f"put them back, or start a new run with --out"
            )
        return tensors, facts

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds a row of metrics. Raises RunError where it cannot be written, or the folder has gone."""
        self.rows.append({"phase": self.phase, **row})
        refuse_lost(self.folder)
        try:
            append_metrics(self.folder, self.rows[-1])
        except OSError as error:
            raise RunError(
                f"{error.filename}: cannot be written ({error.strerror}); make room, or make the folder writable, and "
                "go on with --resume"
            ) from error

    def rewind(self, step: int) -> None:
        """Reads the rows, and drops those after a step, which a resumed phase writes again."""
        rows = read_metrics(self.folder)
        self.rows = [row for row in rows if row["phase"] != self.phase or row["step"] <= step]
        if not self.writes:
            return
        replace_metrics(self.folder, self.rows)

    def model_error_at(self, step: int) -> float | None:
        """Returns the headline figure of the model's phase after as many steps, where it was measured."""
        found = [row.get("validation_error") for row in self.rows if (row["phase"], row["step"]) == ("model", step)]
        return found[-1] if found else None
