"""To train a run, and to open one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from semivae.api.run import Run
from semivae.display import heard_by
from semivae.loggers.listening import logged
from semivae.loggers.logger import Logger
from semivae.parallel.world import world_asked
from semivae.recipe import Recipe
from semivae.training import train as training
from semivae.training.going_on import AGAIN
from semivae.training.progress import Report

if TYPE_CHECKING:
    from semivae.data.readers.memory import GivenData


def load(
    path: str | Path,
    checkpoint: str = "last",
    *,
    data_root: str | Path | None = None,
    device: str = "auto",
    dataset: GivenData | None = None,
) -> Run:
    """Opens a run.

    Args:
        path: its folder; or `hf://OWNER/NAME` for a repository of a hub, which is fetched first.
        checkpoint: "last", "selected" (the lowest validation error) or "twin" (the supervised baseline).
        data_root: where its data are looked for; None: where they were when it was trained.
        device: "auto", "cpu", "cuda" or "mps".
        dataset: the data that it was trained on, where they were given in memory (`train(dataset=...)`).

    Raises:
        RunError: no such run, a half-written or damaged one, no such checkpoint, or one that a newer version wrote.
        DataError: `dataset` is not what the run was trained on.
    """
    return Run.load(path, checkpoint, data_root=data_root, device=device, dataset=dataset)


def train(
    recipe: str | Path | Recipe,
    *,
    set: Mapping[str, object] | Sequence[str] = (),
    out: str | Path | None = None,
    data_root: str | Path | None = None,
    split: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    twin: bool | None = None,
    device: str = "auto",
    progress: bool | Report | None = None,
    dataset: GivenData | None = None,
    loggers: Sequence[str | Logger] = (),
    start_from: str | Path | None = None,
    more_steps: int | None = None,
    learning_rate: float = AGAIN,
) -> Run:
    """Trains the model of a recipe, and its supervised twin where the recipe or `twin` asks for it.

    Args:
        recipe: a YAML file, the name of a shipped recipe, or a `Recipe`.
        set: changes to the recipe, applied last: {"training.steps": 500} or ["training.steps=500"].
        out: the run's folder; default runs/RECIPE-NAME.
        data_root: where data live; default the environment variable SEMIVAE_DATA, else data/. The run remembers it.
        split: a split manifest to use instead of the recipe's split section.
        overwrite: replace a run that exists at `out`; it is put back if the new one fails before its first step.
        resume: go on with the run at `out`; it must have been started from the same recipe.
        twin: train the supervised twin too; None: as the recipe says.
        device: "auto", "cpu", "cuda" or "mps".
        progress: True shows how training gets on, False does not, and None does in a terminal or a notebook; a function
            gets a `semivae.training.progress.Progress` at every validation and about twice a second instead.
        dataset: the data themselves, instead of the recipe's source: arrays by name ({"x": images, "y": labels,
            "x_unlabelled": others}, [n, ...] each), or a `semivae.data.dataset.Dataset`.
        loggers: experiment trackers: "tensorboard", "mlflow", "trackio" or "wandb" (each needs its extra), or objects
            of the protocol `semivae.loggers.logger.Logger`; a resumed run goes on there.
        start_from: a run whose weights to start from, of model and twin alike.
        more_steps: add steps to the finished run at `out`.
        learning_rate: with which share of the recipe's learning rate added steps begin, in (0, 1].

    Returns:
        The finished run, at its last checkpoint. The logger "semivae" gets an INFO line for each validation, and
        warnings; what should be known of the data is a `semivae.errors.DataWarning` where nothing is shown.

    Raises:
        RecipeError, DataError, RunError: before anything is written.
        TrainingError: a loss that is not finite, or no memory left; the last good checkpoint is kept.
        KeyboardInterrupt: after a checkpoint was written.
    """
    asked = loggers if world_asked().first else ()  # of several processes one logs
    with heard_by(progress) as shown, logged(asked, training.folder_of(recipe, out), shown) as report:
        model = training.train(
            recipe,
            set=set,
            out=out,
            data_root=data_root,
            split=split,
            overwrite=overwrite,
            resume=resume,
            twin=twin,
            device=device,
            progress=report,
            dataset=dataset,
            start_from=start_from,
            more_steps=more_steps,
            learning_rate=learning_rate,
        )
    return Run.of(model)
