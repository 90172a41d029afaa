"""A phase of a training on the digits that has not begun and writes nothing."""

from __future__ import annotations

import threading
from pathlib import Path

import torch

from semivae.data.sources import load_source
from semivae.monitoring.validator import Validator
from semivae.parallel.cut import Cut
from semivae.recipe.schema import Recipe
from semivae.runs.checkpoint import Facts
from semivae.scenario.build import build_scenario
from semivae.tasks.splitting import make_split, prepared
from semivae.training.phase import Listener, Phase
from semivae.training.records import Records


def phase_of(recipe: Recipe, folder: Path, cut: Cut | None = None) -> Phase:
    """The model's phase of a recipe, on the CPU."""
    data = prepared(load_source(recipe.source, folder), recipe)
    parts = make_split(data, recipe.split)
    scenario = build_scenario(recipe, data, parts, torch.device("cpu"))
    images = {name: values[parts.validation] for name, values in data.train.items()}
    validator = Validator("model", scenario.game, scenario, images, data.classes, recipe.training.steps)
    records = Records(folder, "model", Facts(), writes=False)
    return Phase(scenario.game, scenario, validator, records, Listener(lambda _: None, threading.Event()), cut)
