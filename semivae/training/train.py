"""Training: from a recipe to a finished run; first the model, then its supervised twin."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from semivae.data.dataset import Dataset
from semivae.data.features.attaching import feature_network, with_features
from semivae.data.features.network import FeatureNetwork
from semivae.data.former_readings import as_recorded
from semivae.data.paths import resolve as resolve_path
from semivae.data.readers.masks import palette_path
from semivae.data.readers.memory import dataset_in_memory
from semivae.data.sources import binarized_dataset, load_source
from semivae.data.sources import data_root as find_data_root
from semivae.data.splits import Split, load_split
from semivae.data.summary import summary
from semivae.devices import choose_device, choose_precision
from semivae.errors import DataWarning, RunError
from semivae.game.game import Game
from semivae.monitoring.painting import PaintingValidator
from semivae.monitoring.validator import Validator
from semivae.parallel.cut import Cut
from semivae.parallel.world import World, joined_world
from semivae.recipe import Recipe, change_recipe, read_recipe
from semivae.recipe.schema import BuiltInSource, FolderSource, MasksSource, MemorySource
from semivae.runs.bodies import weights_of, with_earlier_networks
from semivae.runs.checkpoint import Facts
from semivae.runs.features import kept_features, write_features
from semivae.runs.folder import (
    SPLIT_FILE,
    check_folder,
    kept_data_root,
    kept_recipe,
    only_writer,
    refuse_changed_recipe,
    start_folder,
    upgrade_folder,
    write_data_root,
    write_encoding,
    write_palette,
    write_recipe,
)
from semivae.runs.history import History, total_steps, write_history
from semivae.runs.model import TrainedModel
from semivae.runs.replacing import put_back, refuse_set_aside, replacing
from semivae.runs.upgrade import as_kept
from semivae.scenario.build import Beginning, Scenario, build_game, build_scenario, resolve
from semivae.scenario.painting import painting_scenario
from semivae.scenario.plan import twin_plan
from semivae.scenario.pretrained import load_bodies
from semivae.scenario.strangers import share_lines
from semivae.tasks.splitting import labelled_counts, make_split, prepared
from semivae.training.cutting import cut_of, refuse_hidden, refuse_other_data
from semivae.training.going_on import AGAIN, asked_history, refuse_both, starting_from
from semivae.training.interruption import interruption
from semivae.training.length import Length
from semivae.training.phase import Listener, Phase
from semivae.training.progress import Progress, Report
from semivae.training.records import PhaseName, Records

if TYPE_CHECKING:
    from semivae.data.readers.memory import GivenData

LOG = logging.getLogger("semivae")


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
    progress: Report | None = None,
    dataset: GivenData | None = None,
    start_from: str | Path | None = None,
    more_steps: int | None = None,
    learning_rate: float = AGAIN,
) -> TrainedModel:
    """Trains the model of a recipe, and its supervised twin where the recipe or `twin` asks for it.

    Args:
        recipe: a YAML file, the name of a shipped recipe, or a recipe already read.
        set: changes to the recipe, applied last: {"training.steps": 500} or ["training.steps=500"].
        out: the run's folder; default runs/RECIPE-NAME, of a `Recipe` runs/recipe.
        data_root: where data live; default the environment variable SEMIVAE_DATA, else data/. The run remembers it.
        split: a split manifest to use instead of the recipe's split section.
        overwrite: replace a run that exists at `out`; it is put back if the new one fails before its first step.
        resume: go on with the run at `out`; it must have been started from the same recipe.
        twin: train the supervised twin too; None: as the recipe says.
        device: "auto", "cpu", "cuda", ... Of several processes each takes the GPU of its number on its node.
        progress: called at every validation, and about twice a second. It also gets what a user should know of the
            data; without it, that is warned of (`semivae.errors.DataWarning`).
        dataset: the data themselves, instead of the recipe's source: a `Dataset`, or arrays by name
            (`semivae.data.readers.memory.dataset_in_memory`). The run keeps their checksum, not the data.
        start_from: a run whose weights are those to start from (`semivae.runs.warm_start`), of model and twin alike.
        more_steps: add steps to the finished run at `out`, of model and twin alike (`semivae.training.length`).
        learning_rate: with which share of the recipe's learning rate added steps begin, in (0, 1].

    In processes that `torchrun`, Ray Train or `semivae train --devices` has started, all of them train this one model:
    each computes its part of every batch, and the first one writes the run and reports.

    Returns:
        The finished run, its last checkpoint loaded.

    Raises:
        RecipeError, DataError, RunError: before anything is written.
        TrainingError: a loss that is not finite, or no memory left; the last good checkpoint is kept.
        KeyboardInterrupt: after a checkpoint was written.
    """
    loaded = change_recipe(recipe, set) if isinstance(recipe, Recipe) else read_recipe(recipe, set)
    if twin is not None:
        loaded = loaded.model_copy(update={"training": loaded.training.model_copy(update={"twin": twin})})
    folder = folder_of(recipe, out)
    refuse_both(overwrite=overwrite, resume=resume, start_from=start_from, more_steps=more_steps)
    resume = resume or more_steps is not None
    chosen = choose_device(device)
    with joined_world(chosen) as world:
        with world.together():
            if world.first:
                put_back(folder)
                check_folder(folder, overwrite, resume)
        heard = progress if world.first else None
        history = asked_history(folder, resume, start_from, more_steps, learning_rate)
        started = _read(loaded, folder, chosen, world, data_root, split, resume, dataset, heard, history)
        refuse_other_data(world, started.scenario.recipe, started.data, started.parts)
        for text in started.data.warnings if progress is None and world.first else ():  # nobody else shows them
            warnings.warn(text, DataWarning, stacklevel=3)
        _train(started, folder, world, overwrite, resume, progress)
    recipe = started.scenario.recipe
    return TrainedModel.load(folder, data_root=started.root, device=device, recipe=recipe).with_data(started.data)


@dataclass(frozen=True)
class Started:
    """What is read before anything is written.

    Attributes:
        scenario: the recipe made real.
        begin: gives networks the weights that they begin with.
        kept: the recipe of the run that is resumed, as it was written.
        data, parts: the data and their split.
        root: where they live.
        networks: of features, by their variable.
        cut: how batches are cut.
        history: the run that it starts from, and steps that were added.
    """

    scenario: Scenario
    begin: Beginning
    kept: Recipe | None
    data: Dataset
    parts: Split
    root: Path
    networks: Mapping[str, FeatureNetwork]
    cut: Cut
    history: History


def _read(
    loaded: Recipe,
    folder: Path,
    device: torch.device,
    world: World,
    data_root: str | Path | None,
    split: str | Path | None,
    resume: bool,
    dataset: GivenData | None,
    progress: Report | None,
    history: History,
) -> Started:
    """Reads the data and makes the recipe real; writes nothing."""
    with world.together():
        kept = kept_recipe(folder) if resume else None
        loaded = as_kept(loaded, kept) if kept is not None else loaded
        root = find_data_root(data_root, kept_data_root(folder) if resume else None)
        cut = cut_of(loaded, world, device)
    with world.together(), world.in_turn():
        if dataset is None:
            data = load_source(loaded.source, root, tell=_teller(loaded, progress))
            manifest = folder / SPLIT_FILE if resume else split
            if isinstance(loaded.source, FolderSource | MasksSource) and manifest is not None:
                data = as_recorded(data, Path(manifest))
        else:
            threshold = loaded.source.binarize if isinstance(loaded.source, BuiltInSource | MemorySource) else None
            data = binarized_dataset(dataset_in_memory(dataset), threshold)
            loaded = loaded.model_copy(update={"source": MemorySource(name="memory", binarize=threshold)})
        data = prepared(data, loaded)
    asked = loaded.training.precision
    precision = kept.training.precision if kept and asked == "auto" else choose_precision(asked, device)
    training = loaded.training.model_copy(update={"precision": world.of_first(precision)})  # each has timed it
    loaded = loaded.model_copy(update={"training": training})
    with world.together(), world.in_turn():
        parts = _choose_split(data, loaded, folder, split, resume)
        networks = _feature_networks(loaded, root, folder if resume else None)
        data = with_features(data, loaded, root, device, networks, _teller(loaded, progress))
    with world.together():
        before, loaded = loaded, with_earlier_networks(resolve(loaded, data, parts, root), kept)
        begin: Beginning = partial(load_bodies, data_root=root, earlier_weights=cache(weights_of))
        tell = _teller(loaded, progress)
        for line in share_lines(before, loaded):
            tell(line)
        resumed = resume and Records(folder, "model", Facts()).exist
        if history.started_from is not None and not resumed:
            history, begin = starting_from(history, data, begin, tell)
        scenario = build_scenario(loaded, data, parts, device, root, None if resumed else begin)
    return Started(scenario, begin, kept, data, parts, root, networks, cut, history)


def folder_of(recipe: str | Path | Recipe, out: str | Path | None) -> Path:
    """Returns the folder of a run: `out`, or runs/RECIPE-NAME, of a `Recipe` runs/recipe."""
    name = "recipe" if isinstance(recipe, Recipe) else Path(recipe).stem
    return Path(out) if out is not None else Path("runs") / name


def _feature_networks(recipe: Recipe, root: Path, kept: Path | None) -> dict[str, FeatureNetwork]:
    """The networks of a recipe's features: those that a run keeps, where one is resumed, else as the recipe says."""
    if kept is not None:
        return kept_features(kept, recipe)
    return {name: feature_network(name, spec, root) for name, spec in recipe.features.items()}


def _teller(recipe: Recipe, progress: Report | None) -> Callable[[str], None]:
    """Says what goes on before the first step: to the log, and to whoever watches."""

    def tell(text: str) -> None:
        LOG.info("%s", text)
        if progress is not None:
            progress(Progress("model", 0, recipe.training.steps, 0.0, 0.0, message=text))

    return tell


def _train(
    started: Started, folder: Path, world: World, overwrite: bool, resume: bool, progress: Report | None
) -> None:
    """Writes the run and trains it, all that the first process shows and writes included."""
    report: Report = _unheard
    with ExitStack() as stack:
        with world.together():
            if world.first:
                report = stack.enter_context(_started(started, folder, overwrite, resume, progress))
        refuse_hidden(world, folder)
        if world.first:
            _announce(started, report)
        _play(folder, started, report, resume)


def _unheard(state: Progress) -> None:
    """Reports to nobody."""


@contextmanager
def _started(
    started: Started, folder: Path, overwrite: bool, resume: bool, progress: Report | None
) -> Iterator[Report]:
    """Locks the folder and writes what a run keeps from its start on; yields what its training reports to."""
    with only_writer(folder):
        check_folder(folder, overwrite, resume)  # another training may have been there in the meantime
        refuse_set_aside(folder)
        with replacing(folder) if overwrite else nullcontext(lambda: None) as begun:
            recipe, networks = started.scenario.recipe, started.networks
            _begin(folder, recipe, started.kept, started.parts, started.data, started.root, networks)
            write_history(folder, started.history)
            yield _reporting(progress, begun)


def _announce(started: Started, report: Report) -> None:
    """Reports what the data hold, and what a user should know of them."""
    data, steps = started.data, started.scenario.recipe.training.steps
    about = summary(data, started.parts, labelled_counts(data, started.parts))
    report(Progress("model", 0, steps, 0.0, 0.0, about_data=about))
    for text in data.warnings:
        LOG.warning("%s", text)
        report(Progress("model", 0, steps, 0.0, 0.0, message=text))


def _begin(
    folder: Path,
    recipe: Recipe,
    kept: Recipe | None,
    parts: Split,
    dataset: Dataset,
    root: Path,
    networks: Mapping[str, FeatureNetwork],
) -> None:
    """Writes what a run keeps of its recipe and its data; of a run that is resumed, what may have changed."""

    def keep() -> None:
        write_data_root(folder, root)
        if dataset.encoding is not None:
            write_encoding(folder, dataset.encoding)
        if networks:
            write_features(folder, networks)

    if kept is not None:
        refuse_changed_recipe(folder, kept, recipe)
        write_recipe(folder, recipe)
        keep()
        upgrade_folder(folder)
        return

    def keep_palette_too() -> None:
        keep()
        if isinstance(recipe.source, MasksSource) and recipe.source.palette is not None:
            palette = palette_path(recipe.source, resolve_path(recipe.source.path, root))
            write_palette(folder, palette.read_text("utf-8-sig"))

    start_folder(folder, recipe, parts, keep_palette_too)


def _play(folder: Path, started: Started, report: Report, resume: bool) -> None:
    """The model's phase, then the twin's and the painter's where there are such."""
    scenario, dataset, parts, cut = started.scenario, started.data, started.parts, started.cut
    twin_lessons = twin_plan(scenario.recipe, scenario.roles) if scenario.recipe.training.twin else None
    device = next(scenario.game.parameters()).device
    validation = _part(dataset.train, parts.validation, device)
    about_data = Facts(
        classes=list(dataset.classes),
        further={name: list(info.classes) for name, info in list(dataset.labels.items())[1:]},
        labelled_counts=labelled_counts(dataset, parts),
        beside=dataset.digest_beside(),
    )
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        interruption(cut.world.size > 1) as stopped,
    ):
        games: dict[PhaseName, Game] = {"model": scenario.game}
        if twin_lessons is not None:
            resumed = resume and Records(folder, "twin", about_data).exist
            begin = None if resumed else started.begin
            games["twin"] = build_game(scenario.recipe, twin_lessons, device, roles=scenario.roles, begin=begin)
        for name, game in games.items():
            total = total_steps(scenario.recipe.training.steps, started.history.continued)
            validator = Validator(name, game, scenario, validation, dataset.classes, total)
            records = Records(folder, name, about_data, writes=cut.world.first)
            length = Length(scenario.recipe.training, started.history.continued)
            Phase(game, scenario, validator, records, Listener(report, stopped), cut, length).run(resume)
        if scenario.recipe.painter is not None:
            painting = painting_scenario(scenario, dataset, parts, started.root)
            judging = PaintingValidator(painting.game, scenario, validation)
            records = Records(folder, "painter", about_data, writes=cut.world.first)
            Phase(painting.game, painting, judging, records, Listener(report, stopped), cut).run(resume)


def _reporting(progress: Report | None, begun: Callable[[], None]) -> Report:
    """Tells `begun` that a step was made, then `progress`."""

    def report(state: Progress) -> None:
        if state.step or state.phase != "model":
            begun()
        if progress is not None:
            progress(state)

    return report


def _part(arrays: Mapping[str, Tensor], indices: Tensor, device: torch.device) -> dict[str, Tensor]:
    return {name: array[indices].to(device) for name, array in arrays.items()}


def _choose_split(dataset: Dataset, recipe: Recipe, folder: Path, manifest: str | Path | None, resume: bool) -> Split:
    """The manifest's split, else the recipe's; a run that is resumed keeps its own."""
    asked = load_split(Path(manifest), dataset) if manifest is not None else None
    if not resume:
        return asked or make_split(dataset, recipe.split)
    kept = load_split(folder / SPLIT_FILE, dataset)
    if asked is not None and asked.digest != kept.digest:
        raise RunError(f"{folder}: the run was started with another split than {manifest}; leave out --split to go on")
    return kept
