"""Writes small runs, stopped in the middle, and what the version that wrote them made of them: `README.md` says more.

    PYTHONPATH=CHECKOUT python tests/data/make_run.py OUT
    PYTHONPATH=. python tests/data/make_run.py OUT --ends      # only where they would end if they were trained on now

Public doors alone are used, so that any version can do it.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import math
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits

import semivae

HERE = Path(__file__).parent
SHOWN = 16  # numbers of an array that are written down, evenly spread


@dataclass(frozen=True)
class Made:
    """A run of its own recipe: where it is stopped, what is asked of it, and by which variable.

    Args:
        phase, step: where training is stopped; its last checkpoint is older.
        variable: whose posterior given x is written down.
        given: what samples are drawn for.
        classifies: whether it has a label to be scored by.
        calibrated: whether a calibration is kept.
    """

    phase: str
    step: int
    variable: str
    given: dict[str, Any] = field(default_factory=dict)
    classifies: bool = True
    calibrated: bool = False


RUNS = {
    "classes": Made("twin", 8, "y", {"y": 3}, calibrated=True),
    "table": Made("model", 8, "y", {"y": "kind1"}),
    "masks": Made("model", 8, "s", calibrated=True),
    "ladder": Made("model", 8, "z0", classifies=False),
}


class StoppedError(Exception):
    """Ends a training without warning, as if its machine had lost its power."""


def stop_at(made: Made) -> Callable[[Any], None]:
    def report(progress: Any) -> None:
        if (progress.phase, progress.step) == (made.phase, made.step):
            raise StoppedError

    return report


def write_data(root: Path) -> None:
    """A table and a folder of pictures with masks; the digits come with scikit-learn."""
    generator = np.random.default_rng(0)
    with (root / "flowers.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["length", "width", "site", "label"])
        for number in range(120):
            kind = number % 3
            length, width = generator.normal((4.0 + kind, 2.0 - kind), 0.5)
            site = "abc"[int(generator.integers(3))]
            writer.writerow([f"{length:.3f}", "" if number % 17 == 0 else f"{width:.3f}", site, f"kind{kind}"])
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
    (root / "shapes").mkdir()
    (root / "shapes" / "palette.txt").write_text("ground 0 0 0\nsquare 255 0 0\nbar 0 0 255\n")
    for part, pairs in {"train": 18, "test": 4}.items():
        for name in ("images", "masks"):
            (root / "shapes" / part / name).mkdir(parents=True)
        for number in range(pairs):
            mask = np.zeros((16, 16), np.uint8)
            mask[generator.integers(0, 14) :][:2] = 2
            top, left = generator.integers(0, 10, 2)
            mask[top : top + 6, left : left + 6] = 1
            image = np.array([128, 230, 20], np.uint8)[mask][..., None] + generator.integers(0, 6, (16, 16, 1))
            grey = image.astype(np.uint8).repeat(3, axis=2)
            Image.fromarray(grey).save(root / "shapes" / part / "images" / f"{number:02d}.png")
            Image.fromarray(colours[mask]).save(root / "shapes" / part / "masks" / f"{number:02d}.png")


def examples(name: str, run: Any, root: Path) -> Any:
    """What the run is asked about: six examples as a user gives them."""
    if name == "table":
        return run.read(root / "flowers.csv")[0][:6]
    if name == "masks":
        return run.read(root / "shapes" / "test" / "images")[0][:6]
    return load_digits().images[:6, None].astype(np.float32) / 16.0


def probabilities(run: Any, variable: str, x: Any) -> torch.Tensor:
    """Of the posterior of a variable given the examples: classes, places' classes, or bits."""
    distribution = run.posterior(variable, x=x)
    values: torch.Tensor = getattr(distribution, "base_dist", distribution).probs
    return values


def described(folder: Path, name: str, root: Path) -> dict[str, Any]:
    """What can be asked of a run's folder, as it is: posteriors at its checkpoints, samples and scores."""
    made, answer = RUNS[name], {}
    for checkpoint in ("last", "selected", "twin"):
        if (folder / f"{checkpoint}.safetensors").exists():
            run = semivae.load(folder, checkpoint, data_root=root, device="cpu")
            answer[checkpoint] = some(probabilities(run, made.variable, examples(name, run, root)))
    run = semivae.load(folder, data_root=root, device="cpu")
    samples = {key: some(value) for key, value in run.sample(4, seed=0, **made.given).items()}
    result: dict[str, Any] = {"posterior": answer, "samples": samples}
    if made.classifies:
        scores = run.evaluate(calibrate=made.calibrated)
        result["scores"] = {which: numbers(found) for which, found in scores.items() if isinstance(found, dict)}
    return result


def some(values: torch.Tensor) -> list[float]:
    flat: NDArray[np.float64] = values.detach().double().flatten().numpy()
    return [round(float(value), 7) for value in flat[:: max(1, len(flat) // SHOWN)]]


def numbers(scores: dict[str, Any]) -> dict[str, float]:
    return {key: round(value, 7) for key, value in scores.items() if isinstance(value, float)}


def weights(folder: Path) -> dict[str, Any]:
    """Of each checkpoint: a checksum of all its tensors, and the Euclidean norm of each player's weights."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors, digest = load_file(path), hashlib.sha256()
        squares: dict[str, float] = {}
        for name in sorted(tensors):
            digest.update(name.encode() + tensors[name].contiguous().numpy().tobytes())
            part, player = name.split(".")[:2]
            if part == "game":
                squares[player] = squares.get(player, 0.0) + tensors[name].double().square().sum().item()
        norms = {player: round(math.sqrt(square), 7) for player, square in squares.items()}
        found[path.stem] = {"sha256": digest.hexdigest(), "norms": norms}
    return found


def losses(folder: Path) -> dict[str, dict[str, float]]:
    """The losses that each validation wrote down, means over the steps before it."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {f"{row['phase']} {row['step']}": numbers(row["losses"]) for row in rows}


def machine() -> dict[str, str]:
    """What decides the last bits of a result: two equal ones train bit for bit alike."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "torch": torch.__version__,
        "processor": names[0] if names else platform.processor(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
    }


def resumed(folder: Path, name: str, root: Path, target: Path) -> Path:
    """A copy of a stopped run, trained to its end."""
    shutil.copytree(folder, target)
    semivae.train(folder / "recipe.yaml", out=target, resume=True, data_root=root, device="cpu")
    return target


def main(out: Path) -> None:
    torch.set_num_threads(1)
    root = out / "data"
    root.mkdir(parents=True)
    write_data(root)
    expected: dict[str, Any] = {"machine": machine(), "runs": {}}
    for name, made in RUNS.items():
        folder = out / name
        with contextlib.suppress(StoppedError):
            semivae.train(
                HERE / "recipes" / f"{name}.yaml", out=folder, data_root=root, device="cpu", progress=stop_at(made)
            )
        found = described(folder, name, root)
        (folder / ".training.lock").unlink(missing_ok=True)
        (folder / "data_root.txt").unlink()  # a path of this machine
        with tempfile.TemporaryDirectory() as scratch:
            end = resumed(folder, name, root, Path(scratch) / name)
            expected["runs"][name] = {
                "stopped": found,
                **ended(end, name, root),
            }
    write(expected, out)


def ended(end: Path, name: str, root: Path) -> dict[str, Any]:
    return {"resumed": described(end, name, root), "weights": weights(end), "losses": losses(end)}


def write_ends(out: Path) -> None:
    """Writes anew where runs end that are trained on, after training has changed on purpose."""
    torch.set_num_threads(1)
    expected = json.loads((out / "expected.json").read_text(encoding="utf-8"))
    for name in RUNS:
        with tempfile.TemporaryDirectory() as scratch:
            end = resumed(out / name, name, out / "data", Path(scratch) / name)
            expected["runs"][name] |= ended(end, name, out / "data")
    write(expected | {"machine": machine()}, out)


def write(expected: dict[str, Any], out: Path) -> None:
    text = json.dumps(expected, indent=1)
    lists = re.sub(r"\[[^][{}]*\]", lambda match: " ".join(match[0].split()), text)  # a list of numbers is a line
    (out / "expected.json").write_text(lists + "\n", encoding="utf-8")


if __name__ == "__main__":
    (write_ends if "--ends" in sys.argv else main)(Path(sys.argv[1]))
