"""Runs of earlier versions, kept in tests/data: they open, answer as they did then, and train on to the same end.

Another processor or another torch adds up in another order, so numbers are compared with a tolerance; on the machine
that wrote them the weights must be equal bit for bit. Where runs end that are trained on was written anew
(`make_run.py --ends`) when training changed on purpose: Muon's precision, the order of draws within a step, the layout
of grey images in memory, the product that places of views are computed with.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import semivae
from tests.data.make_run import RUNS, described, losses, machine, resumed, weights

HERE = Path(__file__).parent / "data"
KEPT = [(path.parent, name) for path in sorted(HERE.glob("run_*/expected.json")) for name in RUNS]
TOLERANCE = 1e-4  # torch without vector instructions and oneDNN with SSE4.1 alone were 1.4e-5 away at most


@pytest.fixture(scope="module", params=KEPT, ids=lambda kept: f"{kept[0].name}-{kept[1]}")
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A copy of a version's folder, which tests may change, and the name of one of its runs."""
    version, name = request.param
    copy = tmp_path_factory.mktemp("kept") / version.name
    shutil.copytree(version / name, copy / name)
    shutil.copytree(version / "data", copy / "data")
    shutil.copy(version / "expected.json", copy)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield copy, name
    torch.set_num_threads(threads)


def expected(version: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((version / "expected.json").read_text(encoding="utf-8"))
    return content


def checksums(files: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {which: file["sha256"] for which, file in files.items()}


def assert_near(found: Any, written: Any, tolerance: float, where: str = "") -> None:
    """Equal keys and lengths, and numbers that differ by at most the tolerance, relative where they are above 1."""
    if isinstance(written, dict):
        assert found.keys() >= written.keys(), where
        for key, value in written.items():
            assert_near(found[key], value, tolerance, f"{where}.{key}")
    elif isinstance(written, list):
        assert len(found) == len(written), where
        for number, value in enumerate(written):
            assert_near(found[number], value, tolerance, f"{where}[{number}]")
    elif isinstance(written, float):
        assert found == pytest.approx(written, abs=tolerance, rel=tolerance), where


def test_opens_and_answers_as_then(kept: tuple[Path, str]) -> None:
    version, name = kept
    files = {path.name: path.read_bytes() for path in (version / name).iterdir()}
    found = described(version / name, name, version / "data")
    assert_near(found, expected(version)["runs"][name]["stopped"], TOLERANCE)
    assert {path.name: path.read_bytes() for path in (version / name).iterdir()} == files  # asking changes nothing


def test_trains_on_to_the_same_end(kept: tuple[Path, str], tmp_path: Path) -> None:
    version, name = kept
    written = expected(version)
    end = resumed(version / name, name, version / "data", tmp_path / name)
    assert semivae.load(end, device="cpu").finished
    found, then = weights(end), written["runs"][name]["weights"]
    if written["machine"] == machine():
        assert checksums(found) == checksums(then)
    for which, file in then.items():
        assert_near(found[which]["norms"], file["norms"], TOLERANCE, which)
    assert_near(described(end, name, version / "data"), written["runs"][name]["resumed"], TOLERANCE)
    assert list(losses(end)) == list(written["runs"][name]["losses"])
    assert_near(losses(end), written["runs"][name]["losses"], TOLERANCE)


def test_the_kept_calibration_is_used_and_not_chosen_again(kept: tuple[Path, str], tmp_path: Path) -> None:
    version, name = kept
    if not RUNS[name].calibrated:
        pytest.skip("no calibration is kept")
    copy = Path(shutil.copytree(version / name, tmp_path / name))
    entries = json.loads((copy / "calibration.json").read_text(encoding="utf-8"))
    (copy / "calibration.json").write_text(json.dumps([{**entries[0], "temperature": 2.5}]))
    run = semivae.load(copy, data_root=version / "data", device="cpu")
    assert run.evaluate(calibrate=True)["calibrated"]["temperature"] == 2.5
