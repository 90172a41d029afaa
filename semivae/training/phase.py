"""The training loop: steps, validation, checkpoints, exact resume."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semivae.devices import is_out_of_memory
from semivae.errors import RunError, TrainingError
from semivae.game.game import Game, Optimizer
from semivae.game.plan import PlayerName
from semivae.monitoring.validator import Validator
from semivae.runs.checkpoint import read_checkpoint, with_prefix, without_prefix, write_checkpoint
from semivae.runs.folder import append_metrics, read_metrics, replace_metrics
from semivae.scenario.build import Scenario
from semivae.seeds import seed_for
from semivae.training.optimizer import REMEDIES, PlayerOptimizer, step_together


@dataclass(frozen=True)
class Progress:
    """What the loop tells while it runs. Losses are nats per sample, by "player.factor", means since the last.

    Args:
        confident: share of the unlabelled images that were sure enough to teach, since the last validation.
        confident_error: error on the validation images that are as sure.
        read_as_intended: share of the decoder's samples that the encoder reads as the class they were drawn for.
        model_error: of the twin's phase: the model's validation error after as many steps.
        message: something to say apart from the numbers.
        warnings: what this validation gives reason to warn of for the first time (`semivae.monitoring.failures`).
    """

    phase: str
    step: int
    steps: int
    seconds: float
    seconds_left: float
    losses: Mapping[str, float] = field(default_factory=dict)
    bits: Mapping[str, float] = field(default_factory=dict)
    validation_error: float | None = None
    confident: float | None = None
    message: str = ""
    confident_error: float | None = None
    read_as_intended: float | None = None
    model_error: float | None = None
    warnings: tuple[str, ...] = ()


SHOWN = ("bits", "validation_error", "confident_error", "read_as_intended")  # of what a validation measures
Report = Callable[[Progress], None]


class Loop:
    """One phase of a run: a game played for `training.steps` steps.

    Every random choice of a step comes from (seed, step), so a resumed run repeats the uninterrupted one.
    """

    def __init__(
        self,
        phase: str,
        folder: Path,
        game: Game,
        scenario: Scenario,
        validation: Mapping[str, Tensor],
        report: Report,
        stopped: threading.Event,
        classes: Sequence[str],
        about_data: Mapping[str, object],
    ) -> None:
        self.classes, self.about_data = classes, about_data
        self.phase, self.folder, self.game, self.scenario = phase, folder, game, scenario
        self.validator = Validator(phase, game, scenario, validation, classes)
        self.report, self.stopped = report, stopped
        self.rows: list[dict[str, Any]] = []  # of the metrics so far
        self.spec = scenario.recipe.training
        self.device = next(game.parameters()).device
        self.generator = torch.Generator(self.device)
        taught = {lesson.stream for lesson in game.plan.lessons}
        self.streams = {name: stream for name, stream in scenario.streams.items() if name in taught}
        self.sizes = {name: scenario.recipe.streams[name].batch for name in self.streams}
        players: tuple[PlayerName, ...] = ("decoder", "encoder")
        self.optimizers = {
            player: PlayerOptimizer(player, list(game.player(player).parameters()), self.spec) for player in players
        }
        self.movers: Mapping[PlayerName, Optimizer] = self.optimizers
        if self.spec.objective == "elbo":
            self.movers = dict.fromkeys(players, partial(step_together, list(self.optimizers.values())))
        self.best_error = math.inf
        self.step = 0
        self.seconds = 0.0
        self.sums: dict[str, tuple[Tensor, int]] = {}

    def run(self, resume: bool) -> None:
        if resume and self._begun():
            self._load()
        else:
            self._save("last")
        self._trim_metrics()
        self.report(self._progress())
        reported = started = time.monotonic() - self.seconds
        while self.step < self.spec.steps:
            self._step()
            self.seconds = time.monotonic() - started
            last = self.step == self.spec.steps
            if self.step % self.spec.validate_every == 0 or last:
                self._validate()
            elif time.monotonic() - reported > 0.5:
                self.report(self._progress())
                reported = time.monotonic()
            if self.stopped.is_set() or self.step % self.spec.checkpoint_every == 0 or last:
                self._save("last")
            if self.stopped.is_set():
                raise KeyboardInterrupt

    def _step(self) -> None:
        torch.manual_seed(seed_for(self.spec.seed, "draws", self.step))
        self.generator.manual_seed(seed_for(self.spec.seed, "views", self.step))
        for optimizer in self.optimizers.values():
            optimizer.step = self.step
        share = self.step / self.spec.steps
        try:
            batches = {name: stream.batch(self.step) for name, stream in self.streams.items()}
            losses = self.game.step(batches, self.sizes, self.movers, self.generator, share, self._autocast)
        except FloatingPointError as error:
            raise TrainingError(f"step {self.step}: {error}; {REMEDIES}") from None
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(self._out_of_memory()) from None
        for name, value in losses.items():
            total, count = self.sums.get(name, (torch.zeros_like(value), 0))
            self.sums[name] = (total + value, count + 1)
        self.step += 1

    def _out_of_memory(self) -> str:
        largest = max(self.sizes, key=lambda name: self.sizes[name])
        return (
            f"step {self.step}: no memory is left on {self.device}; make the batches smaller, the largest is "
            f"streams.{largest}.batch: {self.sizes[largest]}, or the networks narrower"
        )

    def _autocast(self) -> AbstractContextManager[object]:
        if self.spec.precision != "bfloat16":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def _validate(self) -> None:
        try:
            found = self.validator.measure(self.step)
        except FloatingPointError as failure:
            raise TrainingError(f"step {self.step}: {failure}; {REMEDIES}") from None
        except (RuntimeError, MemoryError) as failure:
            if not is_out_of_memory(failure):
                raise
            raise TrainingError(
                f"step {self.step}: no memory is left on {self.device} for the validation; make the networks narrower"
            ) from None
        progress = self._progress(found)
        losses = {name: (total / count).item() for name, (total, count) in sorted(self.sums.items())}
        row = {"phase": self.phase, "step": self.step, "seconds": round(self.seconds, 2), **found, "losses": losses}
        alarms = self.validator.new_alarms([*self.rows, row])
        self.rows.append(row | {"warnings": [alarm.as_row() for alarm in alarms]})
        append_metrics(self.folder, self.rows[-1])
        self.sums = {}
        error = progress.validation_error
        if self.phase == "model" and error is not None and error <= self.best_error:
            self.best_error = error
            self._save("selected")
        self.report(replace(progress, warnings=tuple(alarm.text for alarm in alarms)))

    def _progress(self, found: Mapping[str, Any] | None = None) -> Progress:
        means = {name: (total / count).item() for name, (total, count) in self.sums.items()}
        shares = [value for name, value in means.items() if name.startswith("share.")]
        grouped: dict[str, list[float]] = {}
        for name, value in means.items():
            player, _, factor = name.split(".") if name.count(".") == 2 else (name, "", "")
            if factor:
                grouped.setdefault(f"{player}.{factor}", []).append(value)
        left = self.seconds / max(self.step, 1) * (self.spec.steps - self.step)
        told = {} if found is None else {name: found[name] for name in SHOWN}
        at_step = [row for row in self.rows if row["phase"] == "model" and row["step"] == self.step]
        if self.phase == "twin" and found is not None and at_step:
            told["model_error"] = at_step[-1].get("validation_error")
        return Progress(
            self.phase,
            self.step,
            self.spec.steps,
            self.seconds,
            left,
            losses={name: sum(values) / len(values) for name, values in grouped.items()},
            confident=sum(shares) / len(shares) if shares else None,
            **told,
        )

    # Files of the run ------------------------------------------------------------------------------------------------

    def _file(self, which: str) -> str:
        return f"{which if self.phase == 'model' else 'twin'}.safetensors"

    def _begun(self) -> bool:
        """Whether this phase has left anything; then its last checkpoint must be there too."""
        rows = read_metrics(self.folder)
        return (self.folder / self._file("last")).exists() or any(row["phase"] == self.phase for row in rows)

    def _save(self, which: str) -> None:
        tensors = with_prefix("game", self.game.state_dict())
        if which == "last":
            for player, optimizer in self.optimizers.items():
                tensors |= with_prefix(f"optimizer.{player}", optimizer.tensors())
            tensors |= with_prefix("sums", {name: total for name, (total, _) in self.sums.items()})
        facts = {
            "phase": self.phase,
            "step": self.step,
            "steps": self.spec.steps,
            "seconds": self.seconds,
            "best_error": None if math.isinf(self.best_error) else self.best_error,
            "classes": list(self.classes),
            **self.about_data,
            "counts": {name: count for name, (_, count) in self.sums.items()},
        }
        write_checkpoint(self.folder / self._file(which), tensors, facts)

    def _load(self) -> None:
        tensors, facts = read_checkpoint(self.folder / self._file("last"))
        if facts.get("beside", self.about_data["beside"]) != self.about_data["beside"]:
            raise RunError(
                f"{self.folder}: the data without labels have changed since the run was started, so it is not resumed; "
                f"put them back, or start a new run with --out"
            )
        try:
            self.game.load_state_dict(without_prefix("game", tensors))
            for player, optimizer in self.optimizers.items():
                optimizer.load(without_prefix(f"optimizer.{player}", tensors))
        except (RuntimeError, ValueError, IndexError) as error:  # torch's, for names or shapes that differ
            raise RunError(
                f"{self.folder}: {self._file('last')} holds another model than the recipe; put the right one back, or "
                f"train again with --overwrite"
            ) from error
        self.step, self.seconds = int(str(facts["step"])), float(str(facts["seconds"]))
        counts = facts["counts"]
        assert isinstance(counts, dict)
        sums = without_prefix("sums", tensors)
        self.sums = {name: (sums[name].to(self.device), count) for name, count in counts.items()}
        best = facts["best_error"]
        self.best_error = math.inf if best is None else float(str(best))

    def _trim_metrics(self) -> None:
        """Drops rows that a resumed run will write again."""
        rows = read_metrics(self.folder)
        self.rows = [row for row in rows if row["phase"] != self.phase or row["step"] <= self.step]
        replace_metrics(self.folder, self.rows)
