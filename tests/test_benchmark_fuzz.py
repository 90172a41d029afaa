"""Random inputs: what counts as a fault, that a process which dies is noticed, and a few inputs of each kind."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

import benchmarks.fuzz.outcomes as outcomes
from benchmarks.fuzz.__main__ import Job, done, made
from benchmarks.fuzz.outcomes import Kind, command, outcome_of
from benchmarks.fuzz.pictures import Masks, Pictures
from benchmarks.fuzz.recipes import Changes, Recipes
from benchmarks.fuzz.tables import Arrays, Tables
from semivae.errors import DataError, DataWarning, RecipeError


def raising(error: Exception) -> Callable[[], None]:
    def action() -> None:
        raise error

    return action


@pytest.mark.parametrize(
    ("action", "word"),
    [
        (lambda: None, "accepted"),
        (lambda: warnings.warn("look at your data", DataWarning, stacklevel=1), "accepted"),
        (raising(DataError("no such file")), "refused"),
        (raising(DataError(" ")), "no message"),
        (raising(DataError("x" * 30_000)), "endless message"),
        (raising(ValueError("bad")), "ValueError"),
        (lambda: warnings.warn("something of NumPy", RuntimeWarning, stacklevel=1), "stray warning"),
        (lambda: command(["recipes"]), "accepted"),
        (lambda: command(["check", "no_such_recipe"]), "refused"),
    ],
)
def test_outcomes(action: Callable[[], None], word: str) -> None:
    assert outcome_of(action).word == word


def test_statuses_of_commands() -> None:
    with pytest.raises(RecipeError, match="no_such_recipe"):
        command(["check", "no_such_recipe"])
    with pytest.raises(RecipeError, match="No such option"):
        command(["recipes", "--nothing"])


def test_what_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> None:
        while True:
            pass

    monkeypatch.setattr(outcomes, "SECONDS", 0.05)
    assert outcome_of(endless).word == "too slow"


class Deadly:
    """A kind of which the third input kills its process and the fifth is a fault."""

    name = "deadly"

    def make(self, draw: Random, folder: Path) -> Callable[[], None]:
        (folder / "input.txt").write_text(str(draw.random()))
        number = NUMBERS[draw.getstate()]
        if number == 2:
            return lambda: os._exit(9)
        return raising(KeyError("x")) if number == 4 else lambda: None


def state(number: int) -> object:
    draw = Random(f"7 deadly {number}")
    draw.random()
    return draw.getstate()


NUMBERS = {state(number): number for number in range(6)}


def test_a_process_that_dies_is_a_fault_and_the_others_go_on(tmp_path: Path) -> None:
    counts = done(Job(Deadly(), 7, range(6)), tmp_path)
    assert counts == {"accepted": 4, "refused": 0, "faults": 2}
    assert {path.name for path in tmp_path.iterdir()} == {"deadly-7-2", "deadly-7-4"}
    assert (tmp_path / "deadly-7-2" / "input.txt").exists()
    assert (tmp_path / "deadly-7-2" / "fault.txt").read_text().startswith("crash\nthe process ended with 9")
    assert (tmp_path / "deadly-7-4" / "fault.txt").read_text().startswith("KeyError\nTraceback")


@pytest.mark.parametrize(
    ("kind", "count"), [(Pictures(), 60), (Masks(), 20), (Tables(), 60), (Arrays(), 60), (Recipes(), 6), (Changes(), 4)]
)
def test_a_few_inputs_of_each_kind(kind: Kind, count: int) -> None:
    """The same ones in every run; the long runs are in `benchmarks/fuzz.md`."""
    words = set()
    for number in range(count):
        with made(kind, 0, number) as (_, outcome):
            assert not outcome.is_fault, f"{kind.name} {number}: {outcome.word}\n{outcome.detail}"
            words.add(outcome.word)
    assert words <= {"accepted", "refused"}


def test_an_input_is_a_function_of_its_number() -> None:
    contents = []
    for number in (5, 5, 6):
        with made(Tables(), 0, number) as (folder, _):
            contents.append((folder / "table.csv").read_bytes())
    assert contents[0] == contents[1] != contents[2]
