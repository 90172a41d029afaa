"""The paper's authors' public code, run as it is beside ours: https://github.com/dschles70/symvae-aistats2024.

Nothing of it is part of this project: every function here takes the path of a checkout. What it expects of its
surroundings, a GPU and a data set of torchvision's, is put in its place from outside; its own lines run unchanged.
"""

from __future__ import annotations

import runpy
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any, Literal
from unittest.mock import patch

import torch
from torch import Tensor, nn

from semivae.errors import RunError

Experiment = Literal["mnist-ladder", "mnist-reverse", "fmnist-ladder"]
Objective = Literal["symmetric", "elbo"]

SCRIPTS: dict[Objective, str] = {"symmetric": "main_sym.py", "elbo": "main_elbo.py"}
THEIR_MODULES = ("helpers", "hvae", "mnist", "fmnist")
BITS = (30, 100)  # of z0 and z1, as in the commands of the authors' README


class TimeIsUp(Exception):  # noqa: N818  no error
    """Leaves the authors' endless loop at the limit."""


@dataclass
class Clock:
    """The processor time of a loop in seconds, without that of the looks in between.

    Args:
        seconds: the limit; None: none.
        steps: limit of the steps; None: none.
        every: seconds between two looks.
        look: called with (steps, seconds) at the start of the first step, and then `every` seconds after it returned.
    """

    seconds: float | None = None
    steps: int | None = None
    every: float = float("inf")
    look: Callable[[int, float], None] = lambda steps, seconds: None
    started: float | None = None
    stopped: float = 0.0
    done: int = -1
    next_look: float = 0.0

    @property
    def used(self) -> float:
        return 0.0 if self.started is None else time.process_time() - self.started - self.stopped

    def tick(self) -> None:
        """Called at the start of every step. Raises TimeIsUp at the limit."""
        self.done += 1
        if self.started is None:
            self.started = time.process_time()
        seconds = self.used
        if seconds >= self.next_look:
            began = time.process_time()
            self.look(self.done, seconds)
            self.stopped += time.process_time() - began
            self.next_look = seconds + self.every
        if self.done == self.steps or (self.seconds is not None and seconds >= self.seconds):
            raise TimeIsUp


class Feed:
    """Stands in for the authors' data set: random batches of the images that we train on.

    Args:
        images: float32 [n, 1, 28, 28], on the CPU.
        batch: how many in a batch.
        clock: ticks at every batch, that is, at every step.
    """

    def __init__(self, images: Tensor, batch: int, clock: Clock) -> None:
        self.images, self.batch, self.clock = images, batch, clock

    def get_batch(self, device: torch.device) -> Tensor:
        self.clock.tick()
        return self.images[torch.randint(len(self.images), (self.batch,))].to(device)


def hvae_module(checkout: Path, experiment: Experiment) -> ModuleType:
    """Their module of networks. Raises RunError where the checkout does not hold it."""
    file = checkout / experiment / "hvae.py"
    if not file.is_file():
        raise RunError(f"{file}: no such file; give the path of a checkout of dschles70/symvae-aistats2024")
    with in_folder(file.parent):
        import hvae  # type: ignore[import-not-found,unused-ignore]

        module: ModuleType = hvae
    return module


@contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Inside, their modules, which are called alike in every experiment, are those of `folder`."""
    for name in THEIR_MODULES:
        sys.modules.pop(name, None)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in THEIR_MODULES:
            sys.modules.pop(name, None)


def narrow(module: ModuleType, width: int) -> None:
    """Changes the default number of channels of their convolutional networks, 32, which their model relies on."""
    for network in vars(module).values():
        if isinstance(network, type) and "nn" in signature(network).parameters:
            network.__init__.__defaults__ = (width,)  # type: ignore[misc]


def make_model(module: ModuleType, rate: float = 1e-4) -> nn.Module:
    """Their model on the CPU: FNET0 takes a device, which their reverse experiment does not have."""
    takes = module.HVAE.__init__.__code__.co_varnames
    device = {"device": torch.device("cpu")} if "device" in takes else {}
    model: nn.Module = module.HVAE(*BITS, rate, **device)
    return model


def run_script(
    checkout: Path,
    experiment: Experiment,
    objective: Objective,
    images: Tensor,
    batch: int,
    rate: float,
    clock: Clock,
    *,
    width: int = 32,
    seed: int = 0,
    working: Path,
    made: list[Any],
) -> None:
    """Runs their training script to the clock's limit.

    Args:
        checkout: where their code lies.
        experiment: which of their folders.
        objective: which of its scripts.
        images: what is trained on (`Feed`).
        batch, rate: their `--bs` and `--stepsize`.
        clock: ticks at every step; says when to stop.
        width: channels of their first convolutions, 32 in their code.
        seed: of torch's global generator; their script sets none.
        working: a folder for what the script writes.
        made: gets their model as soon as it is made, for the clock's looks and for the end.
    """
    folder = checkout / experiment
    module = hvae_module(checkout, experiment)
    narrow(module, width)
    initialise = module.HVAE.__init__

    def initialise_and_keep(model: Any, *args: Any, **options: Any) -> None:
        initialise(model, *args, **options)
        made.append(model)

    module.HVAE.__init__ = initialise_and_keep
    data = ModuleType("data")
    data.MNIST = data.FMNIST = lambda bs: Feed(images, bs, clock)  # type: ignore[attr-defined]
    options = {"bs": batch, "stepsize": rate, "nz0": BITS[0], "nz1": BITS[1], "niterations": -1}
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    torch.manual_seed(seed)
    working.mkdir(parents=True, exist_ok=True)
    with in_folder(folder), surroundings([SCRIPTS[objective], *arguments], working):
        sys.modules.update({"hvae": module, "mnist": data, "fmnist": data})
        with suppress(TimeIsUp):
            runpy.run_path(str(folder / SCRIPTS[objective]), run_name="__main__")
    torch.autograd.set_detect_anomaly(False)


@contextmanager
def surroundings(arguments: list[str], working: Path) -> Iterator[None]:
    """The command line, the folder and the device that their script looks for; the device is the CPU."""
    with (
        patch.object(sys, "argv", arguments),
        patch.object(torch.cuda, "current_device", lambda: torch.device("cpu")),
        chdir(working),
    ):
        yield


# Their samples -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def random_code_images(model: Any, count: int, batch: int = 500) -> Tensor:
    """Pictures of their `single_shot`, float32 [count, 1, 28, 28]; as in their generate_data.py (`as_pictures`)."""
    parts = [as_pictures(model, model.single_shot(min(batch, count - start))) for start in range(0, count, batch)]
    return torch.cat(parts)


@torch.no_grad()
def limiting_images(model: Any, count: int, looks: Sequence[int], batch: int = 500) -> dict[int, Tensor]:
    """Pictures of chains that start from their model's samples, by the number of their `limiting` rounds."""
    found: dict[int, list[Tensor]] = {number: [] for number in looks}
    for start in range(0, count, batch):
        images = drawn(model, model.single_shot(min(batch, count - start)))
        for number in range(1, max(looks) + 1):
            answer = model.limiting(images)
            # on Fashion-MNIST it hands back the next images beside their means
            images, means = answer if isinstance(answer, tuple) else (answer.bernoulli(), answer)
            if number in found:
                found[number].append(as_pictures(model, means))
    return {number: torch.cat(parts) for number, parts in found.items()}


def is_black_and_white(model: Any) -> bool:
    return not hasattr(model, "lsigma")


def drawn(model: Any, means: Tensor) -> Tensor:
    if is_black_and_white(model):
        return means.bernoulli()
    scale: Tensor = model.lsigma.exp()
    return means + torch.randn_like(means) * scale


def as_pictures(model: Any, means: Tensor) -> Tensor:
    return (means > 0.5).float() if is_black_and_white(model) else means.clamp(0.0, 1.0)
