"""Trainings of equal processor time on one thread, ours and the authors', and the same scores of both.

The authors' loop is stopped at the limit. Ours is given as many steps as its speed, measured just before, fits into the
limit, so that its learning rate can fall to zero; it is stopped at the limit too, should the machine have slowed down.
"""

from __future__ import annotations

import json
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.hierarchies.peer import (
    Clock,
    Experiment,
    Objective,
    hvae_module,
    limiting_images,
    make_model,
    narrow,
    random_code_images,
    run_script,
)
from benchmarks.hierarchies.peer_weights import RECIPES, players_with
from benchmarks.hierarchies.side_by_side import Stepper
from semivae.api import Run
from semivae.data.inputs.pixels import as_model_values
from semivae.data.sources import data_root as find_data_root
from semivae.data.sources import load_source
from semivae.devices import choose_precision
from semivae.errors import RunError
from semivae.game.players import Player
from semivae.generative.chain import run_chains, usual_rounds
from semivae.generative.features import FeatureSpace, random_code_pictures
from semivae.generative.scores import Features, frechet_distance, precision_recall
from semivae.monitoring.measures import eval_mode, information_bits
from semivae.recipe import Recipe, change_recipe, read_recipe
from semivae.recipe.schema import PlayerRates, TrainingSpec
from semivae.runs.folder import read_metrics
from semivae.seeds import seeded
from semivae.tasks.splitting import make_split
from semivae.training.progress import Progress
from semivae.training.train import train as train_recipe

LOOKS = 6  # at a training, spread evenly
SAMPLES = 1000  # of the decoder, and held-out images, that are looked at
TIMED_STEPS = 8
RESERVE = 0.94  # of the limit is planned for steps; validations and slower spells take the rest


@dataclass(frozen=True)
class Setting:
    """What all contestants share.

    Args:
        experiment: the authors' name of the model.
        minutes: of processor time, on one thread, for the training loop.
        batch: examples of a step, of either kind.
        width: channels of the first convolutions.
        seed: of everything random.
        data_root: where data live; None as `semivae.train` says.
    """

    experiment: Experiment
    minutes: float
    batch: int
    width: int
    seed: int
    data_root: Path | None

    def recipe(self, objective: Objective) -> Recipe:
        name, _ = RECIPES[self.experiment]
        reader = "encoder.z1.net" if self.experiment == "mnist-reverse" else "bottom_up"
        return read_recipe(
            name,
            {
                "streams.images.batch": self.batch,
                "streams.prior.batch": self.batch,
                "decoder.x.net.width": self.width,
                f"{reader}.width": self.width,
                "training.objective": objective,
                "training.seed": self.seed,
                "training.schedule": "cosine",
            },
        )

    def images(self) -> tuple[Tensor, Tensor]:
        """The training and the validation images of the recipe, float32 [n, 1, 28, 28]."""
        recipe = self.recipe("symmetric")
        dataset = load_source(recipe.source, find_data_root(self.data_root))
        split = make_split(dataset, recipe.split)
        images = as_model_values(dataset.train["x"])
        return images[split.labelled], images[split.validation]

    def test_images(self, count: int) -> Tensor:
        """The first `count` test images, likewise."""
        recipe = self.recipe("symmetric")
        return as_model_values(load_source(recipe.source, find_data_root(self.data_root)).test["x"][:count])


# Training ------------------------------------------------------------------------------------------------------------


def train_ours(setting: Setting, objective: Objective, folder: Path) -> None:
    """Trains our recipe; leaves a run, and `facts.json` with steps and seconds. Precision as a plain run has it."""
    limit = 60.0 * setting.minutes
    recipe = setting.recipe(objective)
    steps = max(1, int(RESERVE * limit / seconds_a_step(recipe, setting.images()[0])))
    recipe = change_recipe(recipe, {"training.steps": steps, "training.validate_every": max(1, steps // LOOKS)})
    began: list[float] = []

    def stop_at_limit(progress: Progress) -> None:
        if progress.step == 0 or not began:
            began[:] = [time.process_time()]
        elif time.process_time() - began[0] >= limit:
            signal.raise_signal(signal.SIGINT)  # a checkpoint is written, then training ends

    try:
        train_recipe(recipe, out=folder, data_root=setting.data_root, device="cpu", progress=stop_at_limit)
    except KeyboardInterrupt:
        if time.process_time() - began[0] < limit:
            raise
    seconds = time.process_time() - began[0]
    write_facts(folder, setting, seconds, Run.load(folder).facts.step)


def seconds_a_step(recipe: Recipe, images: Tensor) -> float:
    """Processor seconds of one of our steps here and now, in the precision that training will choose."""
    chosen = choose_precision(recipe.training.precision, torch.device("cpu"))
    stepper, taken = Stepper(recipe, images), []
    for _ in range(TIMED_STEPS):
        began = time.process_time()
        stepper.step(chosen)
        taken.append(time.process_time() - began)
    return median(taken[1:])


def train_authors(checkout: Path, setting: Setting, objective: Objective, rate: float, folder: Path) -> None:
    """Runs the authors' script on our training images; leaves their weights, `curve.jsonl` and `facts.json`."""
    if (folder / "facts.json").exists():
        raise RunError(f"{folder}: trained already; choose another folder with --runs")
    folder.mkdir(parents=True, exist_ok=True)
    folder, checkout = folder.resolve(), checkout.resolve()  # their script runs in a folder of its own
    images, held_out = setting.images()
    made: list[Any] = []
    limit = 60.0 * setting.minutes

    def look(steps: int, seconds: float) -> None:
        players = players_with(setting.experiment, made[-1].state_dict(), setting.width)
        row = {"step": steps, "seconds": round(seconds, 2), **findings(*players, held_out, setting.seed)}
        with (folder / "curve.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    clock = Clock(seconds=limit, every=limit / LOOKS, look=look)
    run_script(checkout, setting.experiment, objective, images, setting.batch, rate, clock, width=setting.width,
               seed=setting.seed, working=folder / "theirs", made=made)  # fmt: skip
    steps, seconds = clock.done, clock.used
    save_file(dict(made[-1].state_dict()), folder / "authors.safetensors")
    look(steps, seconds)
    write_facts(folder, setting, seconds, steps, objective=objective, learning_rate=rate)


def write_facts(folder: Path, setting: Setting, seconds: float, steps: int, **more: Any) -> None:
    facts = {
        "experiment": setting.experiment,
        "minutes": setting.minutes,
        "batch": setting.batch,
        "width": setting.width,
        "seed": setting.seed,
        "steps": steps,
        "seconds": round(seconds, 1),
        **more,
    }
    (folder / "facts.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def read_facts(folder: Path) -> dict[str, Any]:
    """Raises RunError where a training was not finished."""
    path = folder / "facts.json"
    if not path.is_file():
        raise RunError(f"{path}: missing, so the training there was not finished; remove the folder and train again")
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts


def findings(decoder: Player, encoder: Player, images: Tensor, seed: int) -> dict[str, Any]:
    """Bits in use of each level on the decoder's samples; nats of held-out images given their codes."""
    with seeded(seed, images.device), eval_mode(decoder, encoder):
        drawn = decoder.complete({}, SAMPLES)
        read = encoder.complete({"x": images[:SAMPLES]})
        return {
            "bits": information_bits(decoder, encoder, ("z0", "z1"), drawn),
            "reconstruction": -decoder.log_prob(read, ["x"])["x"].mean().item(),
        }


# Scores --------------------------------------------------------------------------------------------------------------


def score_run(
    run: Run, space: FeatureSpace, count: int, rounds: int, seed: int
) -> tuple[dict[str, Any], dict[Literal["random", "limiting"], Tensor]]:
    """The scores of one of our runs, and its random-code and limiting pictures."""
    random = random_code_pictures(run, count, seed)
    looks = [look for look in usual_rounds(rounds) if look]
    chain = {state.number: state.images for state in run_chains(run, "model", count, looks, seed)}
    training = run.recipe.training
    setting = setting_of(run.path, run.data_root)
    report = {
        **read_facts(run.path),
        "learning_rate": rates_of(training),
        "objective": training.objective,
        "precision": training.precision,
        **findings(run.decoder, run.encoder, setting.images()[1], seed),
        "curve": [
            {
                "step": row["step"],
                "seconds": row["seconds"],
                "bits": row["bits"],
                "reconstruction": row["losses"].get("decoder.images.x"),
            }
            for row in read_metrics(run.path)
        ],
    }
    real = space(setting.test_images(count))
    return report | distances(space, real, random, chain), {"random": random, "limiting": chain[rounds]}


def rates_of(training: TrainingSpec) -> float | dict[str, float]:
    """The learning rate, or that of each player where they differ."""
    rates = training.learning_rate
    return rates.model_dump() if isinstance(rates, PlayerRates) else rates


def score_authors(
    checkout: Path, folder: Path, space: FeatureSpace, count: int, rounds: int, seed: int, data_root: Path | None
) -> tuple[dict[str, Any], dict[Literal["random", "limiting"], Tensor]]:
    """The same of the authors' model, its images drawn by the authors' own sampling code."""
    facts = read_facts(folder)
    module = hvae_module(checkout, facts["experiment"])
    narrow(module, facts["width"])
    model: Any = make_model(module)
    model.load_state_dict(load_file(folder / "authors.safetensors"))
    with seeded(seed, torch.device("cpu")):
        random = random_code_images(model, count)
        looks = [look for look in usual_rounds(rounds) if look]
        chain = limiting_images(model, count, looks)
    setting = setting_of(folder, data_root)
    curve = [json.loads(line) for line in (folder / "curve.jsonl").read_text(encoding="utf-8").splitlines()]
    players = players_with(facts["experiment"], model.state_dict(), facts["width"])
    report = {**facts, "precision": "float32", **findings(*players, setting.images()[1], seed), "curve": curve}
    real = space(setting.test_images(count))
    return report | distances(space, real, random, chain), {"random": random, "limiting": chain[rounds]}


def setting_of(folder: Path, data_root: Path | None) -> Setting:
    """The setting that the model in this folder was trained with."""
    facts = read_facts(folder)
    shared = {name: facts[name] for name in ("experiment", "minutes", "batch", "width", "seed")}
    return Setting(**shared, data_root=data_root)


def distances(space: FeatureSpace, real: Features, random: Tensor, chain: dict[int, Tensor]) -> dict[str, Any]:
    """Frechet distances to real features, of random codes and along the chain; precision and recall at both ends."""
    of_random = space(random)
    along = {number: space(images) for number, images in chain.items()}
    last = max(along)
    return {
        "count": len(random),
        "rounds": last,
        "random": {"frechet": frechet_distance(real, of_random), "precision_recall": precision_recall(real, of_random)},
        "limiting": {
            "frechet": frechet_distance(real, along[last]),
            "precision_recall": precision_recall(real, along[last]),
        },
        "along": {number: frechet_distance(real, found) for number, found in along.items()},
    }
