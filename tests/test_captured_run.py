"""Runs whose steps are captured, on a CPU (`tests.graphs`): validations, checkpoints, resume, twin and painter."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import semivae
from semivae.parallel.cut import Cut
from semivae.training import captured, phase
from semivae.training.captured import Graph
from semivae.training.cuda_graph import graphs_of
from semivae.training.progress import Progress
from tests.graphs import RecordedGraph, as_on_a_gpu
from tests.test_painter import GAME, PAINTER

LESSONS = """
views:
  weak: {shift: 0.06}
  strong: {shift: 0.12, noise: 0.1}
"""
PAIR = "observe: [x], batch: 8, views: {weak: weak, strong: strong, threshold: 0.2, ramp: 0.9}"
SETTINGS: dict[str, object] = {
    "training.steps": 16,
    "training.warmup": 3,
    "training.validate_every": 5,
    "training.checkpoint_every": 6,
    "training.precision": "float32",
    "painter.steps": 8,
}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    text = GAME.replace("observe: [x], batch: 8", PAIR) + LESSONS + PAINTER
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[RecordedGraph]:
    """Lets runs capture their steps on the CPU; holds the graphs that were made."""
    as_on_a_gpu(monkeypatch)
    made: list[RecordedGraph] = []

    def of_a_cpu(device: torch.device, generators: Sequence[torch.Generator], parts: int) -> Callable[[], Graph]:
        def make() -> Graph:
            made.append(RecordedGraph(generators))
            return made[-1]

        return make

    monkeypatch.setattr(phase, "graphs_of", of_a_cpu)
    return made


def train(recipe: Path, out: Path, capture: bool = True, **options: Any) -> list[str]:
    """Trains, with what a run says beside its figures."""
    said: list[str] = []
    stop = options.pop("stop", None)

    def heard(state: Progress) -> None:
        said.extend([state.message] * bool(state.message))
        if stop is not None and (state.phase, state.step) == stop:
            raise KeyboardInterrupt

    changes = {**SETTINGS, "training.capture": capture}
    semivae.train(recipe, set=changes, out=out, device="cpu", progress=heard, **options)
    return said


def same(one: Path, other: Path) -> bool:
    """Whether two runs hold the same bits and were measured alike."""
    for name in ("last", "selected", "twin", "painter"):
        ours, theirs = load_file(one / f"{name}.safetensors"), load_file(other / f"{name}.safetensors")
        if ours.keys() != theirs.keys() or not all(torch.equal(ours[key], theirs[key]) for key in ours):
            return False
    return figures(one) == figures(other)


def figures(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_a_run_of_replays_is_the_run_of_its_steps(
    recipe: Path, tmp_path: Path, graphs: list[RecordedGraph], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is interrupted in the middle of replays, and goes on: model, twin and painter, bit for bit."""
    assert not any("captured" in text for text in train(recipe, tmp_path / "replayed"))
    recorded = [graph for graph in graphs if graph.operations]
    assert len(recorded) >= 3, "the three phases"
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "resumed", stop=("model", 10))
    train(recipe, tmp_path / "resumed", resume=True)
    assert same(tmp_path / "replayed", tmp_path / "resumed")
    monkeypatch.setattr(captured, "REHEARSALS", 1000)
    train(recipe, tmp_path / "rehearsed")
    assert same(tmp_path / "replayed", tmp_path / "rehearsed")


def test_a_run_that_captured_goes_on_without(recipe: Path, tmp_path: Path, graphs: list[RecordedGraph]) -> None:
    """And the other way round: checkpoints are the same, and their moments and counts serve either."""
    for first in (True, False):
        out = tmp_path / f"{first}"
        with pytest.raises(KeyboardInterrupt):
            train(recipe, out, first, stop=("model", 10))
        train(recipe, out, not first, resume=True)
    train(recipe, tmp_path / "plain", False)
    counts = [
        load_file(out / "last.safetensors") for out in (tmp_path / "True", tmp_path / "False", tmp_path / "plain")
    ]
    for key, value in counts[2].items():
        if key.endswith(("n_averaged", ".step")):
            assert torch.equal(counts[0][key], value) and torch.equal(counts[1][key], value)
        elif value.is_floating_point():
            torch.testing.assert_close(counts[0][key], value, rtol=0.02, atol=0.02)
            torch.testing.assert_close(counts[1][key], value, rtol=0.02, atol=0.02)


def test_a_cpu_says_once_that_it_captures_nothing(recipe: Path, tmp_path: Path) -> None:
    said = train(recipe, tmp_path / "asked")
    assert said.count("training.capture: steps are not captured as a graph: the device cpu has no graphs") == 1
    train(recipe, tmp_path / "plain", False)
    assert same(tmp_path / "asked", tmp_path / "plain")


def test_several_parts_of_a_batch_are_not_captured() -> None:
    reason = graphs_of(torch.device("cuda"), [], Cut(shards=2).count)
    assert isinstance(reason, str) and "2 parts" in reason
    assert callable(graphs_of(torch.device("cuda"), [], 1))
