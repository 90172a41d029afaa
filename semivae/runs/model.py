"""A trained model: what the folder of a run holds, opened at one checkpoint."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from semivae.data.features.attaching import with_features
from semivae.data.former_readings import as_recorded
from semivae.data.readers.memory import dataset_in_memory
from semivae.data.sources import binarized_dataset, load_source
from semivae.data.sources import data_root as find_data_root
from semivae.data.splits import Split, load_split
from semivae.devices import choose_device
from semivae.errors import RecipeError, RunError
from semivae.game.painter import Painter
from semivae.game.players import Player
from semivae.recipe import Recipe
from semivae.recipe.schema import FolderSource, MasksSource, MemorySource
from semivae.runs.checkpoint import Facts, read_checkpoint, without_prefix
from semivae.runs.folder import (
    CHECKPOINTS,
    RECIPE_FILE,
    SPLIT_FILE,
    being_written,
    kept_data_root,
    kept_recipe,
    refuse_no_run,
)
from semivae.runs.history import History, history_of
from semivae.runs.hub import local_folder
from semivae.runs.inputs import ModelInputs
from semivae.runs.painter import read_painter
from semivae.runs.replacing import refuse_set_aside
from semivae.runs.same_data import refuse_changed
from semivae.runs.upgrade import format_of
from semivae.scenario.build import build_players
from semivae.scenario.plan import Roles, roles_of
from semivae.tasks.splitting import prepared
from semivae.tasks.task import Task
from semivae.variables import Around, Sample

LOG = logging.getLogger("semivae")

if TYPE_CHECKING:
    from semivae.data.dataset import Dataset
    from semivae.data.readers.memory import GivenData


class TrainedModel(ModelInputs):
    """A trained model with the recipe and the split that it came from; `semivae.api.Run` adds its verbs.

    Args:
        path: the run's folder.
        recipe: as resolved: every shape and number of classes filled in.
        decoder: the decoder, in evaluation mode.
        encoder: the encoder's running average, in evaluation mode.
        facts: what the checkpoint says of itself.
        checkpoint: "last", "selected" (lowest validation error) or "twin".
        device: where the players are.
        data_root: where the data set is looked for; None: where it was when the run was trained, else as
            `semivae.train` says.
        roles: which variable plays which part, where that is known already.
    """

    def __init__(
        self,
        path: Path,
        recipe: Recipe,
        decoder: Player,
        encoder: Player,
        facts: Facts,
        checkpoint: str,
        device: torch.device,
        data_root: str | Path | None = None,
        roles: Roles | None = None,
        painter: Painter | None = None,
    ) -> None:
        self.painter = painter
        self.path, self.recipe, self.checkpoint, self.device = path, recipe, checkpoint, device
        self.decoder, self.encoder, self.facts = decoder, encoder, facts
        self.data_root = find_data_root(data_root, kept_data_root(path))
        self._dataset: Dataset | None = None
        self.roles = roles or roles_of(recipe)
        self.image, self.shown, self.codes = self.roles.image, self.roles.shown, self.roles.codes

    @classmethod
    def load(
        cls,
        path: str | Path,
        checkpoint: str = "last",
        *,
        data_root: str | Path | None = None,
        device: str = "auto",
        dataset: GivenData | None = None,
        recipe: Recipe | None = None,
    ) -> Self:
        """Opens a run.

        Args:
            path: its folder; or `hf://OWNER/NAME` for a repository of a hub, which is fetched first.
            checkpoint: "last", "selected" or "twin".
            data_root: where its data are looked for; None: where they were when it was trained.
            device: "auto", "cpu", "cuda", ...
            dataset: the data that it was trained on, where they were given in memory (`semivae.train(dataset=...)`).
            recipe: its recipe, where it is at hand, as its training has just written it; None: it is read.

        Raises:
            RunError: no such run, a half-written or damaged one, no such checkpoint, or a newer version of semivae
                wrote the run.
            DataError: `dataset` is not what the run was trained on.
        """
        folder = local_folder(path)
        format_of(folder)
        refuse_set_aside(folder)
        refuse_no_run(folder)
        if checkpoint not in CHECKPOINTS:
            raise RunError(f"{folder}: no checkpoint {checkpoint}; choose {', '.join(CHECKPOINTS)}")
        if checkpoint == "selected" and not (folder / "selected.safetensors").exists():
            raise RunError(
                f"{folder}: no checkpoint was selected, for want of validation examples (split.validation) or because "
                "training stopped before its first validation; use the last one"
            )
        if checkpoint == "twin" and not (folder / "twin.safetensors").exists():
            raise RunError(f"{folder}: this run has no supervised twin; train it along with --twin --resume")
        if not (folder / f"{checkpoint}.safetensors").exists() and being_written(folder):
            raise RunError(f"{folder}: the run is being trained and has no checkpoint yet; wait for its first one")
        chosen = choose_device(device)
        tensors, facts = read_checkpoint(folder / f"{checkpoint}.safetensors")
        recipe = recipe or kept_recipe(folder)
        try:
            roles = roles_of(recipe)
            decoder, encoder = build_players(recipe, roles)
            decoder.load_state_dict(without_prefix("game.decoder", tensors))
            encoder.load_state_dict(without_prefix("game.encoder_average.module", tensors))
        except (RecipeError, RuntimeError) as error:  # RuntimeError: torch's, for names or shapes that differ
            raise RunError(
                f"{folder}: {checkpoint}.safetensors holds another model than {RECIPE_FILE}; one of them was changed: "
                "put it back, or train again with --overwrite"
            ) from error
        label, nouns = roles.label, roles.task.nouns[1]
        if label in recipe.variables and len(facts.classes) != (
            count := roles.task.name_count(recipe.variables[label])
        ):
            raise RunError(
                f"{folder}: {checkpoint}.safetensors names {len(facts.classes)} {nouns}, but {label} has {count} in "
                f"{RECIPE_FILE}; one of them was changed: put it back, or train again with --overwrite"
            )
        decoder, encoder = (player.to(chosen).eval().requires_grad_(False) for player in (decoder, encoder))
        painter = read_painter(folder, recipe, decoder, chosen) if checkpoint == "last" else None
        run = cls(folder, recipe, decoder, encoder, facts, checkpoint, chosen, data_root, roles, painter)
        if dataset is not None:
            given = prepared(binarized_dataset(dataset_in_memory(dataset), run.threshold), recipe)
            run.with_data(run._checked(run._with_features(given)))
        return run

    @property
    def label(self) -> str:
        """Name of the primary label.

        Raises:
            RunError: the run is unsupervised.
        """
        label = self.roles.label
        if label is None:
            raise RunError(
                f"{self.path}: an unsupervised run: no stream shows a label, so there is nothing to classify"
            )
        return label

    @property
    def task(self) -> Task:
        """The kind of the primary label; NOTHING where the run is unsupervised."""
        return self.roles.task

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the primary label, in the order of class numbers."""
        return tuple(self.facts.classes)

    @property
    def finished(self) -> bool:
        return self.facts.step == self.facts.steps

    @cached_property
    def history(self) -> History:
        """The run that it started from, and the steps that were added to it."""
        return history_of(self.path)

    def dataset(self) -> Dataset:
        """Returns the data set that the run was trained on, read at the first call.

        Raises:
            DataError: it is gone, or holds other classes or another shape than the run has learnt; or it has changed at
                all, where the test part is chosen among its examples.
        """
        if self._dataset is None:
            found = load_source(self.recipe.source, self.data_root)
            if isinstance(self.recipe.source, FolderSource | MasksSource):
                found = as_recorded(found, self.path / SPLIT_FILE)
            self._dataset = self._checked(self._with_features(prepared(found, self.recipe)))
        return self._dataset

    def _checked(self, found: Dataset) -> Dataset:
        """Returns data once they have proved to be those that the run was trained on."""
        refuse_changed(found, self.path, self.recipe, self.roles, self.facts, self.encoding)
        chosen = found.test_origin != "given"  # among these data: of others, what was learnt would be tested on
        if chosen or isinstance(self.recipe.source, MemorySource):
            load_split(self.path / SPLIT_FILE, found)
        return found

    def _with_features(self, found: Dataset) -> Dataset:
        """A data set with the features that the run starts from, by the networks that it keeps."""
        networks = self.feature_networks
        return with_features(found, self.recipe, self.data_root, self.device, networks, LOG.info, draws=False)

    def split(self) -> Split:
        """Returns the split that the run was trained with."""
        return load_split(self.path / SPLIT_FILE, self.dataset())

    def at(self, checkpoint: str) -> Self:
        """Returns the same run at another checkpoint, "last", "selected" or "twin", with the same data."""
        if checkpoint == self.checkpoint:
            return self
        other = self.load(self.path, checkpoint, data_root=self.data_root, device=str(self.device))
        return other.with_data(self._dataset)

    def with_data(self, dataset: Dataset | None) -> Self:
        """Hands data over that were read already, so that they are not read again; returns the run itself."""
        self._dataset = dataset
        return self

    def picture(self, sample: Sample, around: Around | None = None) -> Tensor:
        """Returns the picture of a sample for people's eyes, the painter's or the decoder's (`Conditional.picture`)."""
        spec, label = self.recipe.painter, self.roles.image_label
        if self.painter is None:
            return self.decoder[self.shown].picture(sample, around)
        pictures = self.painter.picture(sample, around)
        if spec is None or spec.choose == 1 or label is None or label not in sample:
            return pictures
        best = self._sureness(pictures, sample[label])
        for _ in range(spec.choose - 1):
            others = self.painter.picture(sample, around)
            surer = (found := self._sureness(others, sample[label])) > best
            best = torch.where(surer, found, best)
            pictures = torch.where(surer.view(-1, *[1] * (pictures.dim() - 1)), others, pictures)
        return pictures

    def _sureness(self, pictures: Tensor, labels: Tensor) -> Tensor:
        """Returns log q(label | picture), nats, [n]."""
        given = {self.image: self.of_pictures(pictures), self.label: labels}
        return self.encoder.log_prob(given, [self.label])[self.label]

    def require_decoder(self) -> None:
        """Raises `RunError` for the supervised twin, which has none."""
        if self.checkpoint == "twin":
            raise RunError(f"{self.path}: the supervised twin has no decoder; use the last or selected checkpoint")

    def require_picture_factor(self) -> None:
        """Raises `RunError` where nothing draws what people look at (`Roles.shown`)."""
        self._require_factor(self.shown)

    def require_image_factor(self) -> None:
        """Raises `RunError` where nothing draws the images: for the supervised twin, and a decoder without them."""
        self._require_factor(self.image)

    def _require_factor(self, name: str) -> None:
        self.require_decoder()
        if name not in self.decoder:
            raise RunError(
                f"{self.path}: the decoder of this run does not draw {name}; give decoder.{name} a network in the "
                "recipe and train again"
            )

    def require_one_input(self, what: str) -> None:
        """Raises `RunError` where the encoder starts from several inputs, for what is made for one alone."""
        if self.roles.further:
            raise RunError(
                f"{self.path}: {what} takes {self.image} alone, but this run starts from "
                f"{' and '.join(self.roles.inputs)}; predict, posterior, embed and evaluate take them all"
            )
