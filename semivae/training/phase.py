"""One phase of a training: the loop of steps, its validations and checkpoints, and exact resume."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from semivae.devices import is_out_of_memory
from semivae.errors import RunError, TrainingError
from semivae.game.game import Game, Step
from semivae.game.graphs import PlayerName
from semivae.game.losses import Losses, mask_rates_of, terms_of
from semivae.monitoring.painting import PaintingValidator
from semivae.monitoring.validator import Validator
from semivae.parallel.cut import Cut
from semivae.parallel.shards import Shard
from semivae.runs.checkpoint import Facts, with_prefix, without_prefix
from semivae.scenario.build import Scenario
from semivae.seeds import seed_for
from semivae.training.captured import Batches, CapturedStep
from semivae.training.cuda_graph import graphs_of
from semivae.training.divergence import refuse_divergence
from semivae.training.length import Length
from semivae.training.optimizer import REMEDIES, Optimizers
from semivae.training.progress import Progress, Report, progress_line
from semivae.training.read_ahead import ReadAhead
from semivae.training.records import Records
from semivae.training.reduction import Reduction, checksum
from semivae.training.step_numbers import StepNumber, taken_now
from semivae.variables import Sample

LOG = logging.getLogger("semivae")

SHOWN = ("bits", "validation_error", "confident_error", "read_as_intended")  # of what a validation measures


@dataclass(frozen=True)
class Listener:
    """Who hears of the training, and may stop it.

    Args:
        report: called at every validation, and about twice a second.
        stopped: set when the training is to stop after the step that it is at.
    """

    report: Report
    stopped: threading.Event


class Phase:
    """One phase of a run: a game played for so many steps.

    Every random choice of a step comes from (seed, step), so a resumed run repeats the uninterrupted one.

    Args:
        game: what is played.
        scenario: where its batches come from.
        validator: measures the game.
        records: the files of the phase.
        listener: hears of it.
        cut: how its batches are cut into shards. The first process alone validates and writes.
        length: how many steps; None: as the recipe says.
    """

    def __init__(
        self,
        game: Game,
        scenario: Scenario,
        validator: Validator | PaintingValidator,
        records: Records,
        listener: Listener,
        cut: Cut | None = None,
        length: Length | None = None,
    ) -> None:
        self.game, self.validator, self.records, self.listener = game, validator, records, listener
        self.spec = scenario.recipe.training
        self.device = next(game.parameters()).device
        self.cut = cut or Cut()
        self.world = self.cut.world
        self.generators = {shard.index: torch.Generator(self.device) for shard in self.cut.own}  # of the views
        self.reduction = Reduction(self.cut, listener.stopped.is_set)
        taught = {lesson.stream for lesson in game.plan.lessons}
        self.streams = {name: stream for name, stream in scenario.streams.items() if name in taught}
        self.sizes = {name: scenario.recipe.streams[name].batch for name in self.streams}
        self.readers: dict[int, ReadAhead[dict[str, Sample]]] = {}
        if any(stream.is_slow for stream in self.streams.values()):
            self.readers = {shard.index: ReadAhead(partial(self._read, shard)) for shard in self.cut.own}
        shown = [name for name, stream in self.streams.items() if scenario.roles.image in stream.observes]
        self.examples_per_step = sum(self.sizes[name] for name in shown)
        self.length = length or Length(self.spec)
        self.optimizers = Optimizers.of_game(game, self.spec, self.length)
        self.captured: CapturedStep | None = None
        self.best_error = math.inf
        self.headline = scenario.roles.task.headline
        self.step = 0
        self.seconds = 0.0
        self.resumed_at = (0, 0.0)  # step and seconds
        self.lengthened = False  # whether steps were added since the last checkpoint
        self.sums: dict[str, tuple[Tensor, int]] = {}  # of the losses since the last validation, by name

    def run(self, resume: bool) -> None:
        """Takes all steps that are left.

        Raises:
            TrainingError: something is not finite, or no memory is left; the last good checkpoint stays.
            RunError: the files of the phase cannot be read or written.
            KeyboardInterrupt: the listener stopped it; a checkpoint was written.
        """
        if self.world.of_first(resume and self.records.exist):
            self._load()
            if self.lengthened:
                self._save("last")
        else:
            self._save("last")
        self.records.rewind(self.step)
        self._refuse_disagreement()
        self.listener.report(self._progress())
        if self.spec.capture:
            self._capture()
        reported = started = time.monotonic() - self.seconds
        while self.step < self.length.total:
            with self._explained("make the batches smaller, the largest is " + self._largest_batch()):
                self._take_step()
            self.seconds = time.monotonic() - started
            last = self.step == self.length.total
            if self.step % self.spec.validate_every == 0 or last:
                self._validate()
            elif time.monotonic() - reported > 0.5:
                self.listener.report(self._progress())
                reported = time.monotonic()
            stopped = self.reduction.stops_at(self.step)  # asked after reports, which may also take long
            if stopped or self.step % self.spec.checkpoint_every == 0 or last:
                self._save("last")
            if stopped:
                raise KeyboardInterrupt

    def _capture(self) -> None:
        """Lets steps be captured from now on, or says why they are not."""
        graphs = graphs_of(self.device, list(self.generators.values()), self.cut.count)
        if isinstance(graphs, str):
            if self.records.phase == "model":  # the first; it is the same for those after it
                self._say(f"training.capture: steps are not captured as a graph: {graphs}")
            return
        self.captured = CapturedStep(
            self._play, self.length.progress, self.game, self.optimizers, graphs, self.device, self._say
        )

    def _say(self, message: str) -> None:
        LOG.warning("%s", message)
        self.listener.report(replace(self._progress(), message=message))

    def _take_step(self) -> None:
        """One step of the game: every player moves once, in turn (docs/method.md, section 3)."""
        batches = {shard.index: self._batches(shard) for shard in self.cut.own}
        losses = None
        if self.captured is not None:
            self._seed()
            losses = self.captured.take(batches, self.step)
        if losses is None:
            self._seed()  # an attempt to capture the step may have drawn
            losses = self._play(batches, self.step, self.length.progress(self.step))
        for turn in losses:
            self._add(turn)
        self.step += 1

    def _seed(self) -> None:
        """Seeds all that the step draws."""
        for shard in self.cut.own:
            draws = seed_for(self.spec.seed, "draws", self.step)
            shard.seed(draws, seed_for(self.spec.seed, "draws", self.step, shard.index))
            self.generators[shard.index].manual_seed(seed_for(self.spec.seed, "views", self.step))

    def _play(self, batches: Batches, step: int | StepNumber, progress: float) -> list[Losses]:
        """Plays the turns of a step, and returns their losses; depends on nothing else of Python that changes."""
        begun = self.cut.each(partial(self._begin, batches, progress))
        of_shard = {shard.index: each for shard, each in zip(self.cut.own, begun, strict=True)}
        losses = []
        for players in self.game.turns:  # the encoder learns from the decoder just updated
            parts = self.cut.each(partial(self._loss, players, of_shard))
            losses.append(self._descend(players, parts, step))
        self.game.update_average()
        return losses

    def _begin(self, batches: Batches, progress: float, shard: Shard) -> Step:
        """Returns the data of this step that a shard sees."""
        sizes = {name: size // shard.count for name, size in self.sizes.items()}
        return self.game.begin(batches[shard.index], sizes, progress, self.generators[shard.index])

    def _batches(self, shard: Shard) -> Mapping[str, Sample]:
        return self.readers[shard.index].at(self.step) if self.readers else self._read(shard, self.step)

    def _read(self, shard: Shard, step: int) -> dict[str, Sample]:
        """Returns by stream the part of a step's batch that a shard sees."""
        if shard.count == 1:
            return {name: stream.batch(step) for name, stream in self.streams.items()}
        sizes = {name: size // shard.count for name, size in self.sizes.items()}
        rows = {name: (shard.index * size, (shard.index + 1) * size) for name, size in sizes.items()}
        return {name: stream.part(step, *rows[name]) for name, stream in self.streams.items()}

    def _loss(self, players: Sequence[PlayerName], begun: Mapping[int, Step], shard: Shard) -> Losses:
        with self._autocast():
            return self.game.loss(players, begun[shard.index])

    def _descend(self, players: Sequence[PlayerName], parts: Sequence[Losses], step: int | StepNumber) -> Losses:
        """Updates players by the losses of all shards; returns that of the whole batch."""
        if self.cut.count > 1:
            return self.optimizers.step_by_parts(players, parts, taken_now(step), self.reduction)
        (losses,) = parts
        self.optimizers.step(players, losses, step)
        return losses

    def _add(self, losses: Losses) -> None:
        named = losses.by_name()
        new = {name: (torch.zeros_like(value), 0) for name, value in named.items() if name not in self.sums}
        self.sums |= {name: (total, count + 1) for name, (total, count) in (self.sums | new).items() if name in named}
        if named:
            torch._foreach_add_([self.sums[name][0] for name in named], list(named.values()))

    def _autocast(self) -> AbstractContextManager[object]:
        if self.spec.precision != "bfloat16":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    @contextmanager
    def _explained(self, advice: str) -> Iterator[None]:
        """Raises TrainingError with the step and advice where the block meets what is not finite, or no memory."""
        try:
            yield
        except FloatingPointError as error:
            raise TrainingError(f"step {self.step}: {error}; {REMEDIES}") from None
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(f"step {self.step}: no memory is left on {self.device}; {advice}") from None

    def _largest_batch(self) -> str:
        largest = max(self.sizes, key=lambda name: self.sizes[name])
        return f"streams.{largest}.batch: {self.sizes[largest]}, or the networks narrower"

    def _validate(self) -> None:
        # before anything is measured: figures and warnings of a diverged model are of no use
        refuse_divergence(self.step, self._means(), self.game.parameters(), self.spec.learning_rate)
        self._refuse_disagreement()
        if not self.world.first:
            self.sums = {}
            return
        with self._explained("the validation needs more; make the networks narrower"):
            found = self.validator.measure(self.step)
        progress = self._progress(found)
        losses = dict(sorted(self._means().items()))
        row = {"step": self.step, "seconds": round(self.seconds, 2), **found, "losses": losses}
        failures = self.validator.new_failures([*self.records.rows, {"phase": self.records.phase, **row}])
        self.records.append(row | {"warnings": [failure.as_row() for failure in failures]})
        self.sums = {}
        error = progress.validation_error
        if self.records.phase == "model" and error is not None and error <= self.best_error:
            self.best_error = error
            self._save("selected")
        LOG.info("%s", progress_line(progress))
        for failure in failures:
            LOG.warning("%s", failure.text)
        warnings, samples = tuple(failure.text for failure in failures), partial(self.validator.pictures, self.step)
        self.listener.report(replace(progress, warnings=warnings, row=self.records.rows[-1], samples=samples))

    def _refuse_disagreement(self) -> None:
        """Raises TrainingError where the processes hold different weights: they would never meet again."""
        if not self.world.agree(checksum(self.game.state_dict().values())):
            raise TrainingError(
                f"step {self.step}: the processes no longer hold the same weights; start all of them with the same "
                "version of semivae and of torch, and with the same recipe and data, and go on with --resume"
            )

    def _means(self) -> dict[str, float]:
        self.optimizers.check()
        if not self.sums:
            return {}
        means = torch.stack([total / count for total, count in self.sums.values()]).tolist()  # one wait for all
        return dict(zip(self.sums, means, strict=True))

    def _progress(self, found: Mapping[str, Any] | None = None) -> Progress:
        means = self._means()
        rates = list(mask_rates_of(means).values())
        by_factor: dict[str, list[float]] = {}
        for term, value in terms_of(means).items():
            by_factor.setdefault(f"{term.kind}.{term.factor}", []).append(value)
        measured = {} if found is None else {name: found[name] for name in SHOWN}
        if self.records.phase == "twin" and found is not None:
            measured["model_error"] = self.records.model_error_at(self.step)
        steps_per_second = self._steps_per_second()
        return Progress(
            self.records.phase,
            self.step,
            self.length.total,
            self.seconds,
            seconds_left=self.seconds / max(self.step, 1) * (self.length.total - self.step),
            losses={name: sum(values) / len(values) for name, values in by_factor.items()},
            confident=sum(rates) / len(rates) if rates else None,
            steps_per_second=steps_per_second,
            examples_per_second=None if steps_per_second is None else steps_per_second * self.examples_per_step,
            headline=self.headline,
            **measured,
        )

    def _steps_per_second(self) -> float | None:
        step, seconds = self.resumed_at
        return (self.step - step) / (self.seconds - seconds) if self.seconds > seconds else None

    def _save(self, which: str) -> None:
        self.optimizers.check()
        tensors = with_prefix("game", self.game.state_dict())
        if which == "last":  # the other is never resumed
            tensors |= with_prefix("optimizer", self.optimizers.tensors())
            tensors |= with_prefix("sums", {name: total for name, (total, _) in self.sums.items()})
        self.records.write(
            which,
            tensors,
            Facts(
                step=self.step,
                steps=self.length.total,
                seconds=self.seconds,
                best_error=None if math.isinf(self.best_error) else self.best_error,
                counts={name: count for name, (_, count) in self.sums.items()},
                threads=torch.get_num_threads() if self.device.type == "cpu" else None,
            ),
        )

    def _load(self) -> None:
        tensors, facts = self.records.read()
        try:
            self.game.load_state_dict(without_prefix("game", tensors))
            self.optimizers.load(without_prefix("optimizer", tensors))
            sums = without_prefix("sums", tensors)
            self.sums = {name: (sums[name].to(self.device), count) for name, count in facts.counts.items()}
        except (RuntimeError, ValueError, IndexError, KeyError) as error:  # torch's, for names or shapes that differ
            raise RunError(
                f"{self.records.folder}: {self.records.name_of('last')} holds another model than the recipe; put the "
                f"right one back, or train again with --overwrite"
            ) from error
        self.step, self.seconds = self.resumed_at = facts.step, facts.seconds
        self.lengthened = facts.steps < self.length.total  # so far it said that it was finished
        self.best_error = math.inf if facts.best_error is None else facts.best_error
        threads = torch.get_num_threads()
        if self.device.type == "cpu" and facts.threads not in (None, threads) and self.step < self.length.total:
            message = (
                f"the run was computed with {facts.threads} threads and goes on with {threads}: sums are rounded "
                "otherwise, so the result will not be equal bit for bit to that of an uninterrupted run; set "
                f"OMP_NUM_THREADS={facts.threads} for that"
            )
            self._say(message)
