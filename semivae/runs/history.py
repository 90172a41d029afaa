"""What happened to a run beside its recipe: the run that it started from, and the steps that were added to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from semivae.errors import RunError
from semivae.files import write_whole
from semivae.runs.upgrade import RUN_FILE, RunFile
from semivae.text import count_of

Count = Annotated[int, Field(ge=0, lt=2**63)]


class StartedFrom(BaseModel):
    """The run whose weights a run started from.

    Attributes:
        path: its folder.
        step: of its last checkpoint.
        changes: of the classes, in words.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    path: str
    step: Count
    changes: str = ""


class MoreSteps(BaseModel):
    """Steps that were added to a finished run.

    Attributes:
        from_step: the step at which it was finished.
        steps: how many were added.
        learning_rate: with which share of the recipe's learning rate they begin.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    from_step: Count
    steps: Annotated[int, Field(ge=1, lt=2**63)]
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)]


class History(BaseModel):
    """What run.json holds beside the format."""

    model_config = ConfigDict(frozen=True)

    started_from: StartedFrom | None = None
    continued: tuple[MoreSteps, ...] = ()

    def lines(self) -> list[str]:
        """Returns it in words, a line for each."""
        found = []
        if self.started_from is not None:
            changes = f"; {self.started_from.changes}" if self.started_from.changes else ""
            found.append(f"started from {self.started_from.path} at step {self.started_from.step:,}{changes}")
        found += [
            f"{count_of(more.steps, 'step', 'steps')} added at step {more.from_step:,}, from "
            f"{more.learning_rate:.0%} of the learning rate"
            for more in self.continued
        ]
        return found


def history_of(folder: Path) -> History:
    """Returns what happened to the run in a folder.

    Raises:
        RunError: run.json was changed or damaged.
    """
    path = folder / RUN_FILE
    try:
        return History.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return History()
    except (OSError, ValidationError, ValueError) as error:
        raise RunError(f"{path}: was changed or damaged; put it back, or train again with --overwrite") from error


def write_history(folder: Path, history: History) -> None:
    """Writes it into run.json, which keeps its format. Raises OSError where it cannot be written."""
    kept = RunFile.model_validate_json((folder / RUN_FILE).read_text(encoding="utf-8"))
    content = {"format": kept.format, "semivae": kept.semivae} | history.model_dump(mode="json", exclude_defaults=True)
    write_whole(folder / RUN_FILE, json.dumps(content) + "\n")


def check_learning_rate(share: float) -> float:
    """Returns a share of the learning rate. Raises RunError unless it lies in (0, 1]."""
    if not 0.0 < share <= 1.0:
        raise RunError(f"the share of the learning rate is {share:g}; give one above 0, at most 1")
    return share


def total_steps(steps: int, continued: Sequence[MoreSteps]) -> int:
    """Returns the number of steps of a recipe and of all that were added."""
    return steps + sum(more.steps for more in continued)
