"""Two checkouts bit for bit: every shipped recipe trained for a few steps by each, and what both wrote compared.

    python -m benchmarks.same_steps OLD NEW --data-root DATA --cache DIR
    python -m benchmarks.same_steps OLD NEW --recipes digits_50labels,table --steps 20
    python -m benchmarks.same_steps OLD NEW --intended "mnist_*=a view draws its numbers at once"

A change that moves code but means to change no number must leave every recipe "equal". Only public doors are used
(`semivae.train` and the files of a run's folder), and OLD's recipes are given to both, so that modules may move. Each
checkout trains in a process of its own, on the CPU, with one thread. Small made data serve the recipes whose data are
large or the user's own; recipes whose data are missing are skipped. `--cache` keeps what OLD wrote. The exit status is
1 if anything differs that is not stated as intended, or is stated and equal.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.made_data import lay_out_data

Changes = Mapping[str, object]

FOLDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "cifar10": "cifar-10-batches-py", "svhn": "svhn"}
SMALL_CIFAR10: dict[str, object] = {"split.labelled": 100, "split.validation": 50, "training.steps": 3}
CHANGES: dict[str, dict[str, object]] = {
    "cifar10_4000labels_cpu": SMALL_CIFAR10,
    "table_grades": {"variables.y.order": ["kind0", "kind1", "kind2"]},  # of the made table
    "cifar10_4000labels": SMALL_CIFAR10 | {"streams.unlabelled.batch": 32, "streams.pictures.batch": 16},
}
MORE_CASES: dict[tuple[str, str], dict[str, object]] = {
    ("digits_50labels", "bfloat16"): {"training.precision": "bfloat16"},
    ("mnist_reverse", "elbo"): {"training.objective": "elbo"},
    ("mnist_ladder", "elbo, leave_one_out"): {"training.objective": "elbo", "training.estimator": "leave_one_out"},
}
THRESHOLD = 0.2  # of ten classes: after few steps some images are as sure, others are not
WORKER = """
import json, sys
import torch, semivae
torch.set_num_threads(1)
print(json.dumps({"package": semivae.__file__}), flush=True)
for job in json.load(sys.stdin):
    error = ""
    try:
        semivae.train(job["recipe"], set=job["changes"], out=job["out"], data_root=job["data_root"], device="cpu")
    except Exception as failure:
        error = f"{type(failure).__name__}: {failure}"
    print(json.dumps({"name": job["name"], "error": error}), flush=True)
"""


@dataclass(frozen=True)
class Case:
    """A recipe's file with changes, under a name of its own."""

    name: str
    recipe: Path
    changes: Changes
    missing: str = ""  # data that are not there


def cases_of(recipes: Path, chosen: list[str], steps: int, data: Path) -> list[Case]:
    """The recipes in a folder, or those `chosen` among them, and `MORE_CASES` of them."""
    cases, paths = [], sorted(recipes.glob("*.yaml"))
    if unknown := sorted(set(chosen) - {path.stem for path in paths}):
        raise typer.BadParameter(f"{recipes} holds no recipe {', '.join(unknown)}")
    if not paths:
        raise typer.BadParameter(f"{recipes} holds no recipes; OLD is a checkout of the repository")
    for path in paths:
        if chosen and path.stem not in chosen:
            continue
        document = YAML(typ="safe").load(path)
        missing, changes = missing_data(document, data), changes_of(document, path.stem, steps)
        cases.append(Case(path.stem, path, changes, missing))
        for (recipe, what), more in MORE_CASES.items():
            if recipe == path.stem:
                cases.append(Case(f"{recipe} ({what})", path, {**changes, **more}, missing))
    return cases


def missing_data(recipe: Mapping[str, Any], data: Path) -> str:
    """The file or folder under the data root that a recipe reads and that is not there; empty if nothing lacks."""
    source = recipe["source"]
    place = str(source.get("path") or FOLDERS.get(source["name"], ""))
    if source["name"] == "celebamask_hq":
        place = place or "CelebAMask-HQ"
    return "" if (data / place).exists() else place


def changes_of(recipe: Mapping[str, Any], name: str, steps: int) -> dict[str, object]:
    """So few steps that the run is short, and so low a threshold that labels of views are taught at all."""
    changes: dict[str, object] = {"training.steps": steps, "training.precision": "float32", "training.warmup": 2}
    for stream, spec in recipe["streams"].items():
        views = spec.get("views")
        if isinstance(views, dict) and views.get("threshold", 1) > 0:
            changes[f"streams.{stream}.views.threshold"] = THRESHOLD
    changes |= CHANGES.get(name, {})
    return changes | dict.fromkeys(("training.validate_every", "training.checkpoint_every"), changes["training.steps"])


# Training ------------------------------------------------------------------------------------------------------------


def train_all(checkout: Path, cases: list[Case], out: Path, data: Path, console: Console) -> None:
    """Trains each case in out/NAME with a checkout's package, in one process; out/NAME/error.txt says what failed."""
    jobs = [
        {
            "name": case.name,
            "recipe": str(case.recipe),
            "changes": dict(case.changes),
            "out": str(out / case.name / "run"),
            "data_root": str(data),
        }
        for case in cases
    ]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    program = subprocess.Popen(
        [sys.executable, "-c", WORKER],
        env={**os.environ, **threads, "PYTHONPATH": str(checkout)},
        cwd=data,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with program as process:
        assert process.stdin is not None and process.stdout is not None
        with process.stdin:
            json.dump(jobs, process.stdin)
        for line in process.stdout:
            answer = json.loads(line)
            if "package" in answer:
                refuse_another_package(Path(answer["package"]), checkout)
                continue
            folder = out / answer["name"]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "error.txt").write_text(answer["error"], encoding="utf-8")
            console.print(f"  {answer['name']}{': ' if answer['error'] else ''}{answer['error']}", markup=False)
    if process.returncode:
        raise typer.Exit(process.returncode)


def refuse_another_package(package: Path, checkout: Path) -> None:
    if not package.is_relative_to(checkout):
        raise typer.BadParameter(f"{checkout} holds no package semivae; {package} was imported")


def train_old(checkout: Path, cases: list[Case], cache: Path, data: Path, console: Console) -> dict[str, Path]:
    """Where OLD's result of each case lies; what the cache has from the same code and changes is not trained again."""
    folders = {case.name: cache / key_of(checkout, case) for case in cases}
    absent = [case for case in cases if not (folders[case.name] / case.name / "error.txt").exists()]
    console.print(f"{checkout}: {len(absent)} to train, {len(cases) - len(absent)} in the cache")
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        train_all(checkout, absent, Path(scratch), data, console)
        for case in absent:
            shutil.rmtree(folders[case.name], ignore_errors=True)
            folders[case.name].mkdir(parents=True)
            shutil.move(Path(scratch) / case.name, folders[case.name])
    return {name: folder / name for name, folder in folders.items()}


def key_of(checkout: Path, case: Case) -> str:
    """A name for all that decides a result: the package's code, the recipe, the changes, torch and the processor."""
    digest = hashlib.sha256()
    for path in [*sorted((checkout / "semivae").rglob("*.py")), case.recipe, Path(__file__).with_name("made_data.py")]:
        digest.update(str(path.relative_to(path.parents[1])).encode() + path.read_bytes())
    setting = (dict(case.changes), torch.__version__, platform.machine(), torch.backends.cpu.get_cpu_capability())
    digest.update(json.dumps(setting, sort_keys=True).encode())
    return digest.hexdigest()[:16]


# Comparing -----------------------------------------------------------------------------------------------------------


def differences(old: Path, new: Path) -> Iterator[str]:
    """What differs between two results, the origin before its consequences: error, split, losses, tensors."""
    errors = [(folder / "error.txt").read_text(encoding="utf-8") for folder in (old, new)]
    if any(errors):
        if errors[0] != errors[1]:
            yield f"OLD: {errors[0] or 'trained'}; NEW: {errors[1] or 'trained'}"
        return
    old, new = old / "run", new / "run"
    yield from split_differences(old, new)
    yield from metric_differences(old, new)
    for name in ("last", "selected", "twin"):
        paths = [folder / f"{name}.safetensors" for folder in (old, new)]
        if paths[0].exists() != paths[1].exists():
            yield f"{name}.safetensors: only {'OLD' if paths[0].exists() else 'NEW'} has it"
        elif paths[0].exists():
            yield from (f"{name}: {line}" for line in tensor_differences(*(load_file(path) for path in paths)))


def split_differences(old: Path, new: Path) -> Iterator[str]:
    before, now = (json.loads((folder / "split.json").read_text(encoding="utf-8")) for folder in (old, new))
    for key in ("dataset_sha256", "labelled", "validation"):
        if before.get(key) != now.get(key):
            yield f"split.json: {key} differs"


def metric_differences(old: Path, new: Path) -> Iterator[str]:
    """Differing losses of a validation, and other numbers that both hold; not times, nor how warnings are worded."""
    before, now = metrics(old), metrics(new)
    if before.keys() != now.keys():
        yield f"metrics.jsonl: rows {list(before)}, now {list(now)}"
        return
    for (phase, step), row in before.items():
        where, other = f"metrics.jsonl: {phase}, step {step}", now[phase, step]
        for key in sorted({*row["losses"], *other["losses"]}):
            one, two = row["losses"].get(key), other["losses"].get(key)
            if one != two:
                yield f"{where}: loss {key} was {one}, now {two}"
        for key in sorted((row.keys() & other.keys()) - {"seconds", "warnings", "losses"}):
            if row[key] != other[key]:
                yield f"{where}: {key} was {row[key]}, now {other[key]}"


def metrics(run: Path) -> dict[tuple[str, int], dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return {(row["phase"], row["step"]): row for row in map(json.loads, lines)}


def tensor_differences(old: Mapping[str, Tensor], new: Mapping[str, Tensor]) -> Iterator[str]:
    """Tensors that one side lacks, or whose type, shape or bits differ."""
    for name in sorted(old.keys() ^ new.keys()):
        yield f"only {'OLD' if name in old else 'NEW'} has {name}"
    for name in sorted(old.keys() & new.keys()):
        one, two = old[name], new[name]
        if (one.dtype, one.shape) != (two.dtype, two.shape):
            yield f"{name} was {one.dtype} {list(one.shape)}, now {two.dtype} {list(two.shape)}"
        elif not torch.equal(bits(one), bits(two)):
            apart = (one.double() - two.double()).abs()
            count = int((apart != 0).sum())
            yield f"{name}: {count:,} of {one.numel():,} values differ, by up to {apart.max().item():.3g}"


def bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def idle_terms(run: Path) -> list[str]:
    """Loss terms that stayed zero, so that their part of the method was hardly compared."""
    rows = metrics(run).values() if (run / "metrics.jsonl").exists() else ()
    return sorted({key for row in rows for key, value in row["losses"].items() if value == 0.0})


# The command ---------------------------------------------------------------------------------------------------------


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__, rich_markup_mode=None)


@app.command()
def compare(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A checkout of semivae.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another one.")],
    recipes: Annotated[str, typer.Option("--recipes", metavar="NAME,...", help="Default: all of OLD's.")] = "",
    steps: Annotated[int, typer.Option("--steps", min=2, help="Of each phase; fewer of the largest recipes.")] = 5,
    data_root: Annotated[Path, typer.Option("--data-root", envvar="SEMIVAE_DATA", help="MNIST/raw and so on.")] = Path(
        "data"
    ),
    cache: Annotated[Path | None, typer.Option("--cache", metavar="DIR", help="Where OLD's results are kept.")] = None,
    intended: Annotated[
        list[str] | None,
        typer.Option("--intended", metavar="PATTERN=REASON", help="Recipes that must differ, and why. Repeatable."),
    ] = None,
) -> None:
    """Train the recipes for a few steps with two checkouts, and compare what both wrote bit for bit."""
    old, new, console = old.resolve(), new.resolve(), Console()
    reasons = reasons_of(intended or ())
    with tempfile.TemporaryDirectory() as scratch:
        data, work = Path(scratch) / "data", Path(scratch) / "new"
        lay_out_data(data, data_root)
        cases = cases_of(old / "recipes", [name for name in recipes.split(",") if name], steps, data)
        ready = [case for case in cases if not case.missing]
        kept = (cache or Path(scratch) / "old").resolve()
        kept.mkdir(parents=True, exist_ok=True)
        before = train_old(old, ready, kept, data, console)
        console.print(f"{new}: {len(ready)} to train")
        train_all(new, ready, work, data, console)
        found = {case.name: list(differences(before[case.name], work / case.name)) for case in ready}
        console.print(table(cases, found, before, reasons))
    if any(bool(lines) != bool(reason_for(name, reasons)) for name, lines in found.items()):
        raise typer.Exit(1)


def reasons_of(intended: Sequence[str]) -> dict[str, str]:
    """The reasons of stated differences, by the pattern of the recipes' names."""
    pairs = [text.partition("=") for text in intended]
    for pattern, _, reason in pairs:
        if not pattern or not reason.strip():
            raise typer.BadParameter("--intended needs PATTERN=REASON, such as 'mnist_*=views draw at once'")
    return {pattern: reason.strip() for pattern, _, reason in pairs}


def reason_for(name: str, reasons: Mapping[str, str]) -> str:
    """Why a case is to differ; empty if it is to be equal."""
    return next((reason for pattern, reason in reasons.items() if fnmatch(name, pattern)), "")


def table(
    cases: list[Case], found: Mapping[str, list[str]], before: Mapping[str, Path], reasons: Mapping[str, str]
) -> Table:
    result = Table("recipe", "steps", "result", "idle loss terms")
    for case in cases:
        if case.missing:
            result.add_row(case.name, "", f"skipped: the data root has no {case.missing}", "")
            continue
        failed = (before[case.name] / "error.txt").read_text(encoding="utf-8")
        answer = f"both fail: {failed}" if failed else "equal"
        if lines := found[case.name]:
            answer = lines[0] + (f" (and {len(lines) - 1:,} more)" if len(lines) > 1 else "")
        if reason := reason_for(case.name, reasons):
            answer = f"intended, {reason}: {answer}" if found[case.name] else f"{answer}, though to differ: {reason}"
        idle = ", ".join(idle_terms(before[case.name] / "run"))
        result.add_row(case.name, str(case.changes["training.steps"]), answer, idle)
    return result


if __name__ == "__main__":
    app()
