"""The speed benchmark: the plain loop trains the recipe's network, everybody keeps own draws, the page renders."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.speed.examples import Examples, made_examples, read_examples
from benchmarks.speed.ours import Ours
from benchmarks.speed.page import add_entries, page
from benchmarks.speed.peers import COMPARISONS, Peers, compare
from benchmarks.speed.plain import Plain, transforms
from benchmarks.speed.share import EnoughError, Measured
from benchmarks.speed.time_to_error import Curve, reached, time_to_error
from benchmarks.speed.turns import alternate, ratio
from benchmarks.speed.usb import Usb
from semivae.errors import RunError


@pytest.fixture(scope="module")
def digits() -> Examples:
    small = {"split.validation": 100, "streams.unlabelled.batch": 48, "training.steps": 40}
    return read_examples("digits_50labels", Path(), small)


def test_both_train_the_recipes_network_from_the_same_weights(digits: Examples) -> None:
    ours, plain = Ours(digits), Plain(digits)
    own = dict(ours.phase.game.encoder["y"].named_parameters())
    others = dict(plain.network.named_parameters())
    assert own.keys() == others.keys()
    assert all(torch.equal(own[name], others[name]) for name in own)
    assert ours.turn(1) == plain.turn(1) == sum(digits.batches)
    assert not all(torch.equal(own[name], others[name]) for name in own)


def test_the_plain_loop_learns(digits: Examples) -> None:
    torch.manual_seed(0)
    plain = Plain(digits, "adamw")
    before = plain.error()
    plain.turn(40)
    assert before > 0.7  # of 10 classes, with 50 labels and 40 steps; a training of the labels alone gets below 0.4 too
    assert plain.error() < 0.4


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)], ids=["characters", "photographs"])
def test_views_keep_shape_and_scale_and_only_photographs_are_flipped(shape: tuple[int, int, int]) -> None:
    weak, strong, plain = transforms(shape)
    image = torch.randint(0, 256, shape, dtype=torch.uint8)
    for view in (weak, strong, plain):
        seen = view(image)
        assert seen.shape == shape and seen.dtype == torch.float32 and -2.0 <= seen.min() <= seen.max() <= 2.0
    assert ("RandomHorizontalFlip" in repr(weak)) == ("RandomHorizontalFlip" in repr(strong)) == (shape[0] == 3)


class Counting:
    """Takes turns, draws numbers, and learns a little in each step."""

    def __init__(self, rate: float = 0.0, seeds: bool = False) -> None:
        self.rate, self.seeds, self.steps, self.drawn = rate, seeds, 0, list[float]()

    def turn(self, steps: int) -> int:
        if self.seeds:
            torch.manual_seed(0)  # as our steps do
        self.steps += steps
        self.drawn += torch.rand(steps).tolist()
        return steps * 10

    def error(self) -> float:
        return max(1.0 - self.rate * self.steps, 0.0)


def test_nobodys_seeds_change_what_others_draw() -> None:
    alone, beside, seeding = Counting(), Counting(), Counting(seeds=True)
    alternate({"alone": alone}, rounds=3, steps=2)
    alternate({"seeding": seeding, "beside": beside}, rounds=3, steps=2)
    assert alone.drawn == beside.drawn
    assert len(set(beside.drawn)) == 7 > len(set(seeding.drawn))


def test_ratios_are_taken_round_by_round() -> None:
    ours, theirs = ([{"processor": time} for time in times] for times in ((1.0, 3.0, 8.0), (1.0, 4.0, 4.0)))
    assert ratio(ours, theirs) == {"median": 1.0, "least": 0.75, "most": 2.0}


def test_a_learner_stops_at_the_error_or_at_its_last_step() -> None:
    fast, slow = Counting(0.1), Counting(0.01)
    told: list[dict[str, Curve]] = []
    curves = time_to_error({"fast": fast, "slow": slow}, 0.55, steps=20, every=3, tell=told.append)
    assert [row["steps"] for row in curves["fast"]] == [3, 6]
    assert [row["steps"] for row in curves["slow"]] == [3, 6, 9, 12, 15, 18, 20]
    assert reached(curves["slow"], 0.55) is None and fast.steps == 6 and slow.steps == 20
    first = reached(curves["fast"], 0.55)
    assert first is not None and first["steps"] == 6
    assert len(told) == 7


def test_a_learner_gives_up_long_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr("time.process_time", lambda: float(next(clock)))  # a turn takes one second
    curves = time_to_error({"slow": Counting(0.01), "fast": Counting(0.1)}, 0.55, steps=100, every=3, patience=2.0)
    assert [row["steps"] for row in curves["fast"]] == [3, 6]
    assert [row["steps"] for row in curves["slow"]] == [
        3,
        6,
        9,
        12,
        15,
    ]  # at five seconds, after twice two and one more


def test_who_cannot_take_part_is_named_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match="is no checkout of USB"):
        Usb(tmp_path, made_examples("cifar10_4000labels_cpu", 200))
    made = {"ours": Counting, "USB's FixMatch": lambda: Usb(tmp_path, made_examples("cifar10_4000labels_cpu", 200))}
    monkeypatch.setitem(COMPARISONS, "made", (lambda peers: made, 2))
    found = compare("made", Peers(tmp_path), rounds=2)
    assert list(found["seconds"]) == ["ours"]
    assert "is no checkout of USB" in found["missing"]["USB's FixMatch"]


def entry(name: str, **content: Any) -> dict[str, Any]:
    machine = {"cpu": "one", "cores": 2, "threads": 1, "instructions": [], "gpu": None}
    return {"name": name, "date": "2026-11-28T12:00:00", "machine": machine, "versions": {"torch": "2"}, **content}


def test_the_page_shows_ratios_times_and_who_was_left_out(tmp_path: Path) -> None:
    rounds = [{"processor": 1e-3, "wall": 2e-3}, {"processor": 1e-3, "wall": 2e-3}]
    seconds = {"ours": rounds, "theirs": [{key: 4 * value for key, value in each.items()} for each in rounds]}
    steps = entry("photographs", about="Of 8 images.", steps=2, seconds=seconds, missing={"USB": "no folder"})
    rows = ((50, 9.0, 10.0, 0.05), (100, 18.0, 20.0, 0.01))
    curve = [dict(zip(("steps", "processor", "wall", "error"), row, strict=True)) for row in rows]
    errors = entry("mnist", about="The same.", target=0.02, curves={"ours": curve, "theirs": curve[:1]})
    out = tmp_path / "speed"
    add_entries(out, "steps", [steps])
    add_entries(out, "steps", [steps])  # in the place of the former
    add_entries(out, "errors", [errors])
    text = out.with_name("speed.md").read_text()
    assert text.count("**Photographs.**") == 1
    assert "| theirs | 4,000 | 0.25 [0.25, 0.25] |" in text
    assert "Not measured: USB. no folder." in text
    assert "| ours | 100 | 18 | 1.00% | 100 |" in text
    assert "| theirs | not in 50 | more than 9 | 5.00% | 50 |" in text
    assert "one, 2 core(s)" in text
    assert page({}).startswith("# Speed")


def test_the_share_of_the_rate_counts_a_step_once_and_times_those_that_follow() -> None:
    """A step of one product of 8x4 and 4x6 matrices: 2 * 8 * 4 * 6 operations."""
    phase: Any = SimpleNamespace(step=0, spec=SimpleNamespace(steps=10, precision="float32"))
    taken: list[int] = []

    def step(phase: Any) -> None:
        taken.append(phase.step)
        torch.ones(8, 4) @ torch.ones(4, 6)

    measured = Measured(at=0.6, steps=2)
    with pytest.raises(EnoughError):
        for _ in range(10):
            measured.take(phase, step)
    assert taken == [6] * 5 and measured.operations == 384
    assert len(measured.seconds) == len(measured.products) == 2 and min(measured.seconds) > 0.0
    assert measured.row("tiny").startswith("| tiny | float32 | 0.0 |")
