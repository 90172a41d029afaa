"""How long `semivae inspect` takes, and how much memory: small images, photographs and a long table, all made here.

python -m benchmarks.inspect_speed FOLDER          # makes the data there once, then measures each; prints a table
python -m benchmarks.inspect_speed FOLDER table    # one of them
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

IMAGES, PHOTOGRAPHS, ROWS, COLUMNS = 20_000, 400, 1_000_000, 20


def make_images(folder: Path, count: int, width: int, height: int, ending: str) -> None:
    """Pictures of random patches in ten classes, a fifth of them to test on."""
    generator = np.random.default_rng(0)
    for number in range(count):
        part = "test" if number % 50 < 10 else "train"
        place = folder / part / f"class{number % 10}"
        place.mkdir(parents=True, exist_ok=True)
        patches = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(patches).resize((width, height), Image.Resampling.BICUBIC).save(place / f"{number}.{ending}")


def make_table(file: Path) -> None:
    """Numbers with gaps, some categories, row numbers, and a label that every second row has."""
    generator = np.random.default_rng(0)
    kinds = np.array(["clay", "loam", "sand", ""])
    with file.open("w") as stream:
        stream.write(",".join(["id", "soil", *(f"n{place}" for place in range(COLUMNS - 3)), "label"]) + "\n")
        for start in range(0, ROWS, 10_000):
            numbers = generator.normal(size=(10_000, COLUMNS - 3)).round(4).astype(str)
            numbers[generator.random(numbers.shape) < 0.02] = ""
            soils, labels = kinds[generator.integers(0, 4, 10_000)], generator.integers(0, 3, 10_000)
            for row, cells in enumerate(numbers):
                label = f"kind{labels[row]}" if row % 2 else ""
                stream.write(",".join([str(start + row), soils[row], *cells, label]) + "\n")


CASES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "images": (f"{IMAGES:,} PNG of 32x32", lambda place: make_images(place, IMAGES, 32, 32, "png")),
    "pictures": (f"{IMAGES:,} JPEG of 160x120", lambda place: make_images(place, IMAGES, 160, 120, "jpg")),
    "photos": (f"{PHOTOGRAPHS:,} JPEG of 4000x3000", lambda place: make_images(place, PHOTOGRAPHS, 4000, 3000, "jpg")),
    "table": (f"a .csv of {ROWS:,} x {COLUMNS}", make_table),
}  # fmt: skip


def measure(place: Path) -> tuple[float, float, float]:
    """Seconds on the clock, of all processors, and gigabytes of one `semivae inspect`, started like a user does."""
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "semivae", "inspect", str(place), "--json"], stdout=subprocess.PIPE)
    seconds = time.monotonic() - start
    if done.returncode:
        raise SystemExit(f"{place}: semivae inspect ended with {done.returncode}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("case", nargs="?", choices=CASES)
    asked = parser.parse_args()
    if asked.case is None:  # each in a process of its own, so that the largest memory is its own too
        for case in CASES:
            subprocess.run([sys.executable, "-m", "benchmarks.inspect_speed", str(asked.folder), case], check=True)
        return
    what, make = CASES[asked.case]
    place = asked.folder / ("table.csv" if asked.case == "table" else asked.case)
    if not place.exists():
        asked.folder.mkdir(parents=True, exist_ok=True)
        make(place)
    seconds, worked, memory = measure(place)
    print(f"| {what} | {seconds:.1f} s | {worked:.1f} s | {memory:.2f} GB |", flush=True)


if __name__ == "__main__":
    main()
