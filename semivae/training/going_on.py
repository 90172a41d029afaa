"""What a training goes on from: the weights of an earlier run, or a finished run that gets more steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from semivae.data.dataset import Dataset
from semivae.errors import RunError
from semivae.game.players import Player
from semivae.recipe import Recipe
from semivae.runs.checkpoint import read_checkpoint
from semivae.runs.folder import kept_recipe
from semivae.runs.history import History, MoreSteps, StartedFrom, check_learning_rate, history_of, total_steps
from semivae.runs.model import TrainedModel
from semivae.runs.warm_start import class_changes, start_from
from semivae.scenario.build import Beginning

AGAIN = 0.3  # share of the recipe's learning rate with which added steps begin


def refuse_both(*, overwrite: bool, resume: bool, start_from: object, more_steps: int | None) -> None:
    """Raises RunError for requests that exclude each other."""
    if more_steps is not None and (overwrite or resume or start_from is not None):
        raise RunError(
            "more steps are added to a finished run as it is: leave out resume, overwrite and the run to start from; "
            "a run that is not finished goes on with --resume alone"
        )
    if more_steps is not None and more_steps < 1:
        raise RunError(f"{more_steps} more steps: give 1 or more")


def asked_history(
    folder: Path, resume: bool, earlier: str | Path | None, more_steps: int | None, learning_rate: float
) -> History:
    """Returns the history of the run that is to be trained: a new one, or the kept one of a run that is resumed.

    Raises:
        RunError: steps are added to a run that is not finished, the share of the learning rate is none, or a run is
            resumed that started from another run.
    """
    if not resume:
        return History() if earlier is None else History(started_from=StartedFrom(path=str(earlier), step=0))
    kept = history_of(folder)
    if earlier is not None and (kept.started_from is None or kept.started_from.path != str(earlier)):
        was = "no other run" if kept.started_from is None else kept.started_from.path
        raise RunError(f"{folder}: was started from {was}, not from {earlier}; go on without --from")
    if more_steps is None:
        return kept
    check_learning_rate(learning_rate)
    recipe = kept_recipe(folder)
    if recipe.painter is not None:
        raise RunError(f"{folder}: has a painter, which fits the decoder as it is; steps cannot be added to such a run")
    total = total_steps(recipe.training.steps, kept.continued)
    _refuse_unfinished(folder, total)
    added = MoreSteps(from_step=total, steps=more_steps, learning_rate=learning_rate)
    return kept.model_copy(update={"continued": (*kept.continued, added)})


def _refuse_unfinished(folder: Path, total: int) -> None:
    for name in ("last", "twin"):
        path = folder / f"{name}.safetensors"
        if name == "twin" and not path.is_file():
            continue
        step = read_checkpoint(path)[1].step
        if step < total:
            raise RunError(
                f"{path}: is at step {step:,} of {total:,}, and more steps are added to a finished run; go on with "
                "--resume first"
            )


def starting_from(
    history: History, dataset: Dataset, begin: Beginning, tell: Callable[[str], None]
) -> tuple[History, Beginning]:
    """Returns the history with the step of the earlier run, and what gives new players its weights.

    Args:
        history: names the earlier run.
        dataset: the new data.
        begin: gives bodies their weights, which those of the run replace.
        tell: says what of the classes was known.

    Raises:
        RunError: the earlier run cannot be opened.
    """
    assert history.started_from is not None
    run = TrainedModel.load(history.started_from.path, device="cpu")
    known = run.roles.label in dataset.labels
    changes = class_changes(run, dataset.labels[str(run.roles.label)].classes) if known else ""
    started = StartedFrom(path=history.started_from.path, step=run.facts.step, changes=changes)
    said = History(started_from=started)
    tell(said.lines()[0])
    if dataset.encoding != run.encoding:
        tell(f"columns are scaled by these data anew, and were scaled by others for {run.path}")

    def begin_from(recipe: Recipe, decoder: Player, encoder: Player) -> None:
        begin(recipe, decoder, encoder)
        classes = dataset.labels[str(run.roles.label)].classes if known else ()
        start_from(run, classes, recipe, decoder, encoder)

    return history.model_copy(update={"started_from": started}), begin_from
