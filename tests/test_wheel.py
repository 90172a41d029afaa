"""The wheel: what it holds, and that an installed semivae works in an empty folder, without the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


class Installed(NamedTuple):
    """A virtual environment with semivae from the wheel: its command, and where its packages lie."""

    command: Path
    packages: Path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as for a release: first the source distribution, then the wheel from that alone."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """semivae's wheel in a virtual environment of its own; torch and the rest are those of the running one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    install = ("-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    subprocess.run([sys.executable, *install], check=True, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    borrowed = [place for place in sys.path if Path(place).name in ("site-packages", "dist-packages")]
    (packages / "borrowed.pth").write_text("\n".join(borrowed) + "\n")  # the .pth files in them do not count
    return Installed(folder / "bin" / "semivae", packages)


def run(installed: Installed, *words: str, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "SEMIVAE_DATA")}
    done = subprocess.run([installed.command, *words], capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def contents(folder: Path) -> Mapping[str, tuple[int, int]]:
    """Size and time of every file."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def test_the_wheel_holds_the_package_its_recipes_and_its_licence_alone(wheel: Path) -> None:
    names = [PurePosixPath(name) for name in zipfile.ZipFile(wheel).namelist()]
    package = {str(name) for name in names if name.parts[0] == "semivae"}
    info = {str(PurePosixPath(*name.parts[1:])) for name in names if name.parts[0] != "semivae"}
    assert info == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "semivae").rglob("*.py")}
    recipes = {f"semivae/recipes/{path.name}" for path in (ROOT / "recipes").glob("*.yaml")}
    assert recipes
    templates = {str(path.relative_to(ROOT)) for path in (ROOT / "semivae/page/templates").rglob("*.*")}
    assert {"semivae/page/templates/page.html", "semivae/page/templates/style.css"} <= templates
    assert package == modules | recipes | templates | {"semivae/py.typed"}


def test_an_installed_semivae_trains_from_an_empty_folder(installed: Installed, tmp_path: Path) -> None:
    before = contents(installed.packages)
    listed = json.loads(run(installed, "recipes", "--json", cwd=tmp_path))["recipes"]
    assert {recipe["name"] for recipe in listed} == {path.stem for path in (ROOT / "recipes").glob("*.yaml")}

    steps = ("--set", "training.steps=10", "--device", "cpu", "--json")
    report = json.loads(run(installed, "train", "digits_50labels", *steps, cwd=tmp_path))
    assert 0.0 <= report["last"]["error"] <= 1.0
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["digits_50labels"]

    run(installed, "sample", "runs/digits_50labels", "-n", "4", "--out", "samples.png", "--device", "cpu", cwd=tmp_path)
    assert contents(installed.packages) == before


def test_the_installed_package_is_the_one_that_ran(installed: Installed, tmp_path: Path) -> None:
    """Else the tests above would say nothing about the wheel."""
    program = "import semivae; print(semivae.__file__)"
    python = str(installed.command.with_name("python"))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert Path(done.stdout.strip()).is_relative_to(installed.packages)
