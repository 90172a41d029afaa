"""A phase of a training on the digits that has not begun and writes nothing."""

from __future__ import annotations

import threading
from pathlib import Path

import torch

from semivae.data.dataset import Dataset
from semivae.data.sources import load_source
from semivae.data.splits import Split
from semivae.monitoring.painting import PaintingValidator
from semivae.monitoring.validator import Validator
from semivae.parallel.cut import Cut
from semivae.recipe.schema import Recipe
from semivae.runs.checkpoint import Facts
from semivae.scenario.build import Scenario, build_scenario
from semivae.scenario.painting import painting_scenario
from semivae.tasks.splitting import make_split, prepared
from semivae.training.phase import Listener, Phase
from semivae.training.records import Records


def phase_of(recipe: Recipe, folder: Path, cut: Cut | None = None) -> Phase:
    """The model's phase of a recipe, on the CPU."""
    data, parts, scenario = _made_real(recipe, folder)
    images = {name: values[parts.validation] for name, values in data.train.items()}
    validator = Validator("model", scenario.game, scenario, images, data.classes, recipe.training.steps)
    records = Records(folder, "model", Facts(), writes=False)
    return Phase(scenario.game, scenario, validator, records, Listener(lambda _: None, threading.Event()), cut)


def painter_phase_of(recipe: Recipe, folder: Path) -> Phase:
    """The painter's phase of a recipe, on the CPU, after a game that nobody has played."""
    data, parts, scenario = _made_real(recipe, folder)
    painting = painting_scenario(scenario, data, parts)
    validator = PaintingValidator(painting.game, scenario, {})
    records = Records(folder, "painter", Facts(), writes=False)
    return Phase(painting.game, painting, validator, records, Listener(lambda _: None, threading.Event()))


def _made_real(recipe: Recipe, folder: Path) -> tuple[Dataset, Split, Scenario]:
    data = prepared(load_source(recipe.source, folder), recipe)
    parts = make_split(data, recipe.split)
    return data, parts, build_scenario(recipe, data, parts, torch.device("cpu"))
