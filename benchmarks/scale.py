"""What several processes, packed data and runs beside each other cost: docs/scale.md quotes the figures.

python -m benchmarks.scale processes [RECIPE] [--steps 20]     # processor time of a step, in one process and in two
python -m benchmarks.scale memory [--counts 1000,1000000]      # memory of a training on packed data
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

SIDE = 32
SMALL = {"name": "mlp", "hidden": [64]}  # networks that hardly need memory beside the data
ROWS = 10_000  # that are written at a time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("processes", "memory", "one"))
    parser.add_argument("recipe", nargs="?", default="mnist_100labels")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--counts", default="1000,10000,100000,1000000")
    parser.add_argument("--set", action="append", default=[])
    given = parser.parse_args()
    if given.what == "one":
        print(json.dumps(one_training(given.recipe, given.set)))
    elif given.what == "processes":
        processes(given.recipe, given.steps)
    else:
        memory([int(count) for count in given.counts.split(",")])


def one_training(recipe: str, changes: list[str]) -> dict[str, float]:
    """Trains in this process; returns its processor time a step after the first one, and its largest memory."""
    import semivae
    from semivae.training.progress import Progress

    marks: list[tuple[int, float]] = []
    largest = [0.0]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            largest[0] = max(largest[0], own_memory())

    def heard(progress: Progress) -> None:
        if progress.step:
            marks.append((progress.step, time.process_time()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            out = os.environ.get("SCALE_OUT", f"{folder}/run")
            semivae.train(recipe, set=changes, out=out, device="cpu", twin=False, progress=heard)
    finally:
        over.set()
        watcher.join()
    if len(marks) < 3:  # of several processes the first alone hears of it
        return {"cpu": 0.0, "memory": largest[0]}
    (first, cpu), (last, end) = marks[0], marks[-2]  # the last one comes after a validation
    return {"cpu": (end - cpu) / (last - first), "memory": largest[0]}


def own_memory() -> float:
    """Bytes of memory that this process has for itself: without pages of files, which the system takes back."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024.0 * float(next(line.split()[1] for line in lines if line.startswith("RssAnon:")))


def processes(recipe: str, steps: int) -> None:
    """Prints the processor time of a step in one process, and in each of two."""
    changes = [f"training.steps={steps}", f"training.validate_every={steps}", "training.precision=float32"]
    print("processes | processor seconds a step of the first | its largest memory, MB | load of the machine")
    for size in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            found = together(size, recipe, changes, {"SCALE_OUT": f"{folder}/run"})
        print(f"{size} | {found['cpu']:.3f} | {found['memory'] / 1e6:,.0f} | {os.getloadavg()[0]:.1f}", flush=True)


def together(size: int, recipe: str, changes: list[str], more: Mapping[str, str]) -> dict[str, Any]:
    """Trains in so many processes; returns what the first one measured."""
    from semivae.cli.launching import free_port

    port = str(free_port())
    started = []
    for rank in range(size):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_PORT": port}
        env = {**os.environ, "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1", **more, **(own if size > 1 else {})}
        words = [word for change in changes for word in ("--set", change)]
        command = [sys.executable, "-m", "benchmarks.scale", "one", recipe, *words]
        started.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True))
    answers = [process.communicate()[0] for process in started]
    found: dict[str, Any] = json.loads(answers[0].splitlines()[-1])
    return found


def memory(counts: list[int]) -> None:
    """Prints the memory of a training on packed data of so many pictures."""
    print("pictures | on the disk, MB | memory of its own, MB | packing without decoding, s")
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            start = time.monotonic()
            write_packed(Path(folder) / "packed", count)
            seconds = time.monotonic() - start
            changes = {
                "source.path": f"{folder}/packed", "source.size": SIDE, "source.channels": 1, "split.labelled": 40,
                "split.validation": 100, "training.steps": 30, "training.validate_every": 15,
                "training.precision": "float32", "encoder.y.net": SMALL, "encoder.h.net": SMALL, "decoder.x.net": SMALL,
            }  # fmt: skip
            given = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
            found = together(1, "folder", given, {"SCALE_OUT": f"{folder}/run"})
            size = sum(path.stat().st_size for path in (Path(folder) / "packed").iterdir())
        print(f"{count:,} | {size / 1e6:,.0f} | {found['memory'] / 1e6:,.0f} | {seconds:.0f}", flush=True)


def write_packed(folder: Path, count: int) -> None:
    """Packs random pictures of two classes, a tenth of them to test on and four tenths without a class."""
    from semivae.data.dataset import Dataset, class_label
    from semivae.data.formats.mapped_arrays import created_array, opened_array
    from semivae.data.packed.store import finish_packing
    from semivae.recipe.schema import FolderSource

    folder.mkdir()
    test, train = count // 10, count // 2
    random = np.random.default_rng(0)
    for name, rows in (("x.npy", count - test), ("test_x.npy", test)):
        array, _ = created_array(folder / name, (rows, 1, SIDE, SIDE), np.uint8)
        for start in range(0, rows, ROWS):
            part = array[start : start + ROWS]
            part[:] = random.integers(0, 256, part.shape, dtype=np.uint8)
        array.flush()
        del array
    whole, tested = opened_array(folder / "x.npy"), opened_array(folder / "test_x.npy")
    dataset = Dataset(
        "folder:random",
        class_label(("cat", "dog")),
        {"x": whole[:train], "y": torch.arange(train) % 2},
        {"x": tested, "y": torch.arange(test) % 2},
        {"x": whole[train:]},
        names=[f"train/{('cat', 'dog')[row % 2]}/{row}.png" for row in range(train)],
    )
    settings = {"name": "folder", "path": str(folder), "size": SIDE, "channels": 1}
    finish_packing(folder, dataset, FolderSource.model_validate(settings))


if __name__ == "__main__":
    main()
