"""The hierarchies' benchmark: the authors' weights in our networks, their script under a limit, the tables.

Their code is no part of this project. What needs it runs where SYMVAE_CHECKOUT names a checkout of
dschles70/symvae-aistats2024; everything else runs on stand-ins.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.hierarchies.__main__ import add_part
from benchmarks.hierarchies.equal_time import distances
from benchmarks.hierarchies.peer import (
    Clock,
    Experiment,
    hvae_module,
    limiting_images,
    make_model,
    random_code_images,
    run_script,
)
from benchmarks.hierarchies.peer_weights import agreement, fed_with_signs, our_log_probs, players_with
from benchmarks.hierarchies.tables import markdown, read_parts, write_parts
from semivae.errors import RunError

WIDTH, HIDDEN, BITS0, BITS1 = 2, 600, 30, 100
READING = ((1, WIDTH, 3, 1), (WIDTH, WIDTH, 2, 1), (WIDTH, 2 * WIDTH, 3, 2), (2 * WIDTH, 2 * WIDTH, 3, 1),
           (2 * WIDTH, 2 * WIDTH, 3, 1), (2 * WIDTH, 4 * WIDTH, 3, 2), (4 * WIDTH, HIDDEN, 4, 1))  # fmt: skip
PAINTING = ((BITS1, 4 * WIDTH, 4, 1), (4 * WIDTH, 2 * WIDTH, 3, 2), (2 * WIDTH, 2 * WIDTH, 3, 1),
            (2 * WIDTH, 2 * WIDTH, 3, 1), (2 * WIDTH, WIDTH, 3, 2), (WIDTH, WIDTH, 2, 1))  # fmt: skip

Layers = dict[str, Tensor]


def fresh(**shapes: tuple[int, ...]) -> Layers:
    """Weights and biases of layers by name, float64: (outputs, inputs, ...), those called up (inputs, outputs, ...)."""
    state: Layers = {}
    for name, shape in shapes.items():
        outputs = shape[1] if name.startswith("up") else shape[0]
        state[f"{name}.weight"] = torch.randn(shape, dtype=torch.float64) / (sum(shape[1:]) ** 0.5)
        state[f"{name}.bias"] = torch.randn(outputs, dtype=torch.float64)
    return state


def named(prefix: str, layers: Layers, **renamed: str) -> Layers:
    found = {}
    for key, value in layers.items():
        layer, kind = key.split(".")
        found[f"{prefix}.{renamed.get(layer, layer)}.{kind}"] = value
    return found


def skip(outputs: int, inputs: int) -> Tensor:
    weight: Tensor = torch.randn(outputs, inputs, dtype=torch.float64) / inputs**0.5
    return weight


def reading_layers() -> Layers:
    shapes = {f"conv{index}": (out, into, size, size) for index, (into, out, size, _) in enumerate(READING)}
    return fresh(**shapes, conv_z1=(BITS1, HIDDEN))


def down_layers() -> Layers:
    return fresh(lin1=(HIDDEN, BITS0), lin2=(HIDDEN, HIDDEN), lin3=(BITS1, HIDDEN))


def painting_layers() -> Layers:
    shapes = {f"up{index}": (into, out, size, size) for index, (into, out, size, _) in enumerate(PAINTING, start=1)}
    return fresh(**shapes, conv7=(1, WIDTH, 3, 3))


def read(layers: Layers, x: Tensor) -> Tensor:
    hidden = x
    for index, (_, _, _, stride) in enumerate(READING):
        weight, bias = layers[f"conv{index}.weight"], layers[f"conv{index}.bias"]
        hidden = F.conv2d(hidden, weight, bias, stride, padding=1 if index == 0 else 0).tanh()
    return hidden.flatten(1)


def paint(layers: Layers, z1: Tensor) -> Tensor:
    hidden = z1[:, :, None, None]
    for index, (_, _, _, stride) in enumerate(PAINTING, start=1):
        weight, bias = layers[f"up{index}.weight"], layers[f"up{index}.bias"]
        hidden = F.conv_transpose2d(hidden, weight, bias, stride).tanh()
    return F.conv2d(hidden, layers["conv7.weight"], layers["conv7.bias"], padding=1)


def through(layers: Layers, names: tuple[str, ...], values: Tensor) -> Tensor:
    for name in names[:-1]:
        values = F.linear(values, layers[f"{name}.weight"], layers[f"{name}.bias"]).tanh()
    return F.linear(values, layers[f"{names[-1]}.weight"], layers[f"{names[-1]}.bias"])


def log_prob(scores: Tensor, bits: Tensor) -> Tensor:
    return -F.binary_cross_entropy_with_logits(scores, bits, reduction="none").flatten(1).sum(dim=1)


@pytest.fixture
def sample() -> dict[str, Tensor]:
    torch.manual_seed(1)
    shapes = {"x": (3, 1, 28, 28), "z0": (3, BITS0), "z1": (3, BITS1)}
    return {name: torch.randint(2, shape).double() for name, shape in shapes.items()}


def test_a_layer_of_bits_fed_with_signs() -> None:
    bits, layer = torch.randint(2, (5, 1, 8, 8)).double(), fresh(conv=(4, 1, 3, 3))
    signs = fed_with_signs(layer["conv.weight"], layer["conv.bias"])
    expected = F.conv2d(F.pad(bits, (1, 1, 1, 1)), layer["conv.weight"], layer["conv.bias"])
    padded = F.pad(2 * bits - 1, (1, 1, 1, 1), value=-1.0)
    torch.testing.assert_close(F.conv2d(padded, signs["weight"], signs["bias"]), expected)


def test_ladder_with_converted_weights_says_the_same(sample: dict[str, Tensor]) -> None:
    reading, down, painting = reading_layers(), down_layers(), painting_layers()
    head = fresh(lin1=(HIDDEN, HIDDEN), lin2=(HIDDEN, HIDDEN), lin3=(BITS0, HIDDEN))
    from_z0, from_a1 = skip(BITS1, BITS0), skip(BITS0, BITS1)
    theirs = named("rnet", reading) | named("rnet", head) | named("fnet01", down)
    theirs |= named("fnet1x", painting, **{f"up{index}": f"conv{index}" for index in range(1, 7)})
    theirs |= {"rnet.lin_skip.weight": from_a1, "fnet01.lin_skip.weight": from_z0}

    features = read(reading, sample["x"])
    a1 = through(reading, ("conv_z1",), features)
    a0 = through(head, ("lin1", "lin2", "lin3"), features) + a1 @ from_a1.T
    above = through(down, ("lin1", "lin2", "lin3"), sample["z0"]) + sample["z0"] @ from_z0.T
    expected = {
        "p(z1|z0)": log_prob(above, sample["z1"]),
        "p(x|z1)": log_prob(paint(painting, sample["z1"]), sample["x"]),
        "q(z0|x)": log_prob(a0, sample["z0"]),
        "q(z1|z0,x)": log_prob(above + a1, sample["z1"]),
    }
    found = our_log_probs(*players_with("mnist-ladder", theirs, WIDTH), sample)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_reverse_with_converted_weights_says_the_same(sample: dict[str, Tensor]) -> None:
    reading, down, painting = reading_layers(), down_layers(), painting_layers()
    up = fresh(conv_z1=(HIDDEN, BITS1), lin1=(HIDDEN, HIDDEN), lin2=(HIDDEN, HIDDEN), lin3=(BITS0, HIDDEN))
    from_z0, from_z1 = skip(BITS1, BITS0), skip(BITS0, BITS1)
    theirs = named("qnetx1", reading) | named("qnet10", up) | named("pnet01", down)
    theirs |= named("pnet1x", painting, **{f"up{index}": f"conv{index}" for index in range(1, 7)})
    theirs |= {"qnet10.lin_skip.weight": from_z1, "pnet01.lin_skip.weight": from_z0}

    above = through(down, ("lin1", "lin2", "lin3"), sample["z0"]) + sample["z0"] @ from_z0.T
    of_z1 = through(reading, ("conv_z1",), read(reading, sample["x"]))
    of_z0 = through(up, ("conv_z1", "lin1", "lin2", "lin3"), sample["z1"]) + sample["z1"] @ from_z1.T
    expected = {
        "p(z1|z0)": log_prob(above, sample["z1"]),
        "p(x|z1)": log_prob(paint(painting, sample["z1"]), sample["x"]),
        "q(z1|x)": log_prob(of_z1, sample["z1"]),
        "q(z0|z1)": log_prob(of_z0, sample["z0"]),
    }
    found = our_log_probs(*players_with("mnist-reverse", theirs, WIDTH), sample)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


STAND_IN_MODEL = """
import torch

class Painter(torch.nn.Module):
    def __init__(self, bits, nn: int = 32):
        super().__init__()
        self.layer = torch.nn.Linear(bits, nn)

class HVAE(torch.nn.Module):
    def __init__(self, nz0, nz1, step, device):
        super(HVAE, self).__init__()
        self.painter, self.bits = Painter(nz0), nz0

    def single_shot(self, count):
        return torch.rand(count, 1, 28, 28)

    def limiting(self, images):
        return (images + 1) / 2
"""
STAND_IN_SCRIPT = """
import argparse
from pathlib import Path
import torch
from hvae import HVAE
from mnist import MNIST

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("--bs", "--nz0", "--nz1", "--niterations"):
        parser.add_argument(name, type=int)
    parser.add_argument("--stepsize", type=float)
    args = parser.parse_args()
    device = torch.cuda.current_device()
    torch.autograd.set_detect_anomaly(True)
    model = HVAE(args.nz0, args.nz1, args.stepsize, device).to(device)
    data = MNIST(args.bs)
    Path("log.txt").write_text(f"{args.stepsize}")
    while True:
        assert data.get_batch(device).shape == (args.bs, 1, 28, 28)
        model.painter.layer.bias.data += 1
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout" / "mnist-ladder"
    folder.mkdir(parents=True)
    (folder / "hvae.py").write_text(STAND_IN_MODEL)
    (folder / "main_sym.py").write_text(STAND_IN_SCRIPT)
    return folder.parent


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
def test_their_script_runs_unchanged_to_the_limit(stand_in: Path, tmp_path: Path) -> None:
    before, arguments, seen = Path.cwd(), list(sys.argv), []
    made: list[torch.nn.Module] = []
    clock = Clock(steps=3, every=0.0, look=lambda steps, seconds: seen.append(steps))
    run_script(stand_in, "mnist-ladder", "symmetric", torch.zeros(8, 1, 28, 28), 5, 0.25, clock, width=7,
               working=tmp_path / "work", made=made)  # fmt: skip
    (model,) = made
    fresh_model = make_model(hvae_module(stand_in, "mnist-ladder"))
    assert seen == [0, 1, 2, 3] and clock.done == 3
    assert model.painter.layer.bias.shape == (7,) and fresh_model.painter.layer.bias.shape == (32,)  # type: ignore[union-attr]
    assert model.painter.layer.bias.mean() > 2  # type: ignore[operator,union-attr]
    assert (tmp_path / "work" / "log.txt").read_text() == "0.25"
    assert not torch.is_anomaly_enabled(), "theirs is global, and slows everything down"
    assert (Path.cwd(), sys.argv) == (before, arguments) and not {"hvae", "mnist"} & set(sys.modules)


def test_their_samples(stand_in: Path) -> None:
    model = make_model(hvae_module(stand_in, "mnist-ladder"))
    assert set(random_code_images(model, 7, batch=4).unique().tolist()) == {0.0, 1.0}
    chain = limiting_images(model, 7, (1, 60), batch=4)
    assert set(chain) == {1, 60} and chain[60].shape == (7, 1, 28, 28)
    assert chain[60].min() == 1.0, "the stand-in's chain goes to white"


def test_a_folder_that_is_no_checkout(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="give the path of a checkout"):
        hvae_module(tmp_path, "mnist-ladder")


def parts() -> dict[str, Any]:
    stamp = {
        "machine": {"cpu": "a processor", "cores": 2, "threads": 1, "instructions": [], "gpu": None},
        "versions": {"semivae": "0"},
        "date": "2026-11-23T00:00:00+00:00",
    }
    torch.manual_seed(0)
    features = {look: torch.randn(40, 3).numpy() + look for look in (1, 2)}
    measured = distances(lambda images: images, torch.randn(40, 3).numpy(), features[1], features)  # type: ignore[arg-type]
    bits = {"z0": 1.0, "z1": 2.0}
    curve = [{"step": step, "seconds": 1.0, "bits": bits, "reconstruction": 90.0} for step in (0, 3, 6)]
    trained = {"experiment": "mnist-ladder", "minutes": 1.0, "batch": 8, "width": 4, "seed": 0, "steps": 6,
               "seconds": 60.0, "learning_rate": 1e-3, "precision": "float32", "bits": bits, "reconstruction": 90.0,
               "curve": curve, "features": "runs/classifier", **measured, **stamp}  # fmt: skip
    exact = {"mean": -22.0, "largest": 1e-9, "relative": 1e-10}
    seconds = {"authors": 0.4, "ours": 0.2}
    return {
        "agreement": {
            "count": 4,
            "experiments": {"mnist-ladder": {"float64": {"p(x|z1)": exact}, "float32": {"p(x|z1)": exact}}},
            **stamp,
        },
        "speed": [
            {
                "batch": 8,
                "width": 4,
                "threads": 2,
                "steps": 3,
                "precision": "bfloat16",
                "seconds": {},
                "median": seconds,
                "ratio": 2.0,
                **stamp,
            }
        ],
        "equal_time": [
            {"name": "elbo", **trained},
            {"name": "symmetric", **trained, "learning_rate": {"encoder": 3e-3, "decoder": 1e-3}},
            {"name": "authors", **trained, "experiment": "fmnist-ladder"},
        ],
    }


def test_page_and_json_of_all_parts(tmp_path: Path) -> None:
    write_parts(tmp_path / "table", parts())
    assert read_parts(tmp_path / "table").keys() == parts().keys()
    page = (tmp_path / "table.md").read_text()
    assert "| mnist-ladder | p(x\\|z1) | -22.0 | 1e-09 |" in page
    assert "| bfloat16 | 8 | 4 | 2 | 0.400 s | 0.200 s | **2.00** |" in page
    assert page.index("ours, symmetric") < page.index("ours, lower bound") < page.index("### `fmnist-ladder`")
    assert "| ours, symmetric | 0.003 and 0.001 |" in page and "| ours, lower bound | 0.001 |" in page
    assert "`python -m benchmarks.hierarchies train elbo --minutes 1 --batch 8 --width 4`" in page
    assert "train authors CHECKOUT --experiment fmnist-ladder --minutes 1" in page
    assert markdown({}).startswith("# Hierarchies")


def test_a_measurement_replaces_only_that_of_the_same_model_and_experiment(tmp_path: Path) -> None:
    ladder, _, fashion = parts()["equal_time"]
    (speed,) = parts()["speed"]
    times = [ladder, fashion, {**ladder, "experiment": "mnist-reverse"}, {**ladder, "steps": 7}]
    for part, found in [*(("equal_time", time) for time in times), ("speed", speed), ("speed", speed)]:
        add_part(tmp_path / "table", part, found, append=True)
    kept = read_parts(tmp_path / "table")
    assert [(entry["experiment"], entry["steps"]) for entry in kept["equal_time"]] == [
        ("fmnist-ladder", 6), ("mnist-reverse", 6), ("mnist-ladder", 7)]  # fmt: skip
    assert len(kept["speed"]) == 2


def test_another_json_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text("{}")
    with pytest.raises(RunError, match="choose another place"):
        read_parts(tmp_path / "table")


@pytest.mark.skipif("SYMVAE_CHECKOUT" not in os.environ, reason="needs a checkout of the authors' code")
@pytest.mark.parametrize("experiment", get_args(Experiment))
def test_agreement_with_the_authors_code(experiment: Experiment) -> None:
    model = make_model(hvae_module(Path(os.environ["SYMVAE_CHECKOUT"]), experiment))
    for factor, found in agreement(experiment, model, count=16).items():
        assert found["largest"] < 1e-9, factor
