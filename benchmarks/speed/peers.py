"""The comparisons: who trains what beside whom."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.accuracy.variants import labels_views
from benchmarks.hierarchies.side_by_side import Precision, side_by_side
from benchmarks.speed.examples import Examples, changed, made_examples, read_examples, with_recipe
from benchmarks.speed.ours import Ours
from benchmarks.speed.plain import Plain
from benchmarks.speed.pythae_vae import Pythae
from benchmarks.speed.turns import Contestant, alternate
from benchmarks.speed.usb import Usb
from semivae.errors import RunError

IMAGES = 4000  # made in the shape of CIFAR-10
PROGRESS = 0.6  # of the training whose lessons are timed: all are taught then
MLP = Path(__file__).with_name("mlp.yaml")


@dataclass(frozen=True)
class Peers:
    """Where other people's code is; None leaves it out.

    Attributes:
        data_root: where the data lie.
        usb: a checkout of microsoft/Semi-supervised-learning.
        authors: a checkout of dschles70/symvae-aistats2024.
        pythae: whether it may be imported.
        workers: of the plain loop's data loaders.
    """

    data_root: Path
    usb: Path | None = None
    authors: Path | None = None
    pythae: bool = False
    workers: int = 0


Entrants = Mapping[str, Callable[[], Contestant]]


def photographs(peers: Peers) -> Entrants:
    """CIFAR-10 on two cores: 64 labelled and 192 unlabelled images a step, the recipe's residual network."""
    return _fixmatch(peers, made_examples("cifar10_4000labels_cpu", IMAGES))


def wide(peers: Peers) -> Entrants:
    """16 labelled and 112 unlabelled photographs a step, Wide ResNet 28-2: group norm, USB's own has batch norm."""
    changes = {
        "encoder.y.net": {"name": "wide_resnet", "depth": 28, "width": 2},
        "streams.labelled.batch": 16,
        "streams.unlabelled.batch": 112,
        "streams.pictures.batch": 16,
        "streams.labels.batch": 16,
    }
    return _fixmatch(peers, made_examples("cifar10_4000labels_cpu", IMAGES, changes), own_network=True)


def digits(peers: Peers) -> Entrants:
    """MNIST with 100 labels: 64 labelled and 128 unlabelled images a step, the recipe's convolutional network."""
    return _fixmatch(peers, read_examples("mnist_100labels", peers.data_root))


def _fixmatch(peers: Peers, examples: Examples, own_network: bool = False) -> Entrants:
    entrants: dict[str, Callable[[], Contestant]] = {
        "ours": lambda: Ours(examples, PROGRESS),
        "ours, label lessons alone": lambda: Ours(with_recipe(examples, labels_views(examples.recipe)), PROGRESS),
        "plain FixMatch loop": lambda: Plain(examples, workers=peers.workers),
    }
    if (folder := peers.usb) is not None:
        entrants["USB's FixMatch"] = lambda: Usb(folder, examples, own_network)
    return entrants


def codes(peers: Peers) -> Entrants:
    """16 codes of MNIST without labels, networks 784-512-512-16 and back, 128 images a step."""
    examples = read_examples(MLP, peers.data_root)
    bits = {"variables.h.family": "bernoulli", "decoder.h": "uniform"}
    entrants: dict[str, Callable[[], Contestant]] = {
        "ours": lambda: Ours(examples),
        "ours, bits": lambda: Ours(changed(examples, bits)),
        "ours, lower bound": lambda: Ours(changed(examples, {"training.objective": "elbo"})),
    }
    if peers.pythae:
        entrants["pythae's VAE"] = lambda: Pythae(examples)
    return entrants


COMPARISONS: dict[str, tuple[Callable[[Peers], Entrants], int]] = {
    "photographs": (photographs, 2),
    "wide": (wide, 2),
    "digits": (digits, 4),
    "codes": (codes, 40),
}
"""By name: who takes part, and the steps of a turn."""


def compare(name: str, peers: Peers, rounds: int) -> dict[str, Any]:
    """Times one comparison; names who could not take part, and why."""
    make, steps = COMPARISONS[name]
    contestants: dict[str, Contestant] = {}
    missing: dict[str, str] = {}
    for entrant, start in make(peers).items():
        try:
            contestants[entrant] = start()
        except RunError as error:
            missing[entrant] = str(error)
    found = alternate(contestants, rounds, steps)
    return {"name": name, "about": make.__doc__, "steps": steps, "seconds": found, "missing": missing}


def authors(checkout: Path, steps: int) -> list[dict[str, Any]]:
    """Our ladder beside the code of the paper's authors, in both precisions; seconds of a processor a step."""
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    return [
        {"batch": 64, "width": 32, **side_by_side(checkout, 64, 32, steps, each, time.process_time)}
        for each in precisions
    ]
