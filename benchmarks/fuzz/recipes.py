"""Recipes, `--set` and `--given`: what people write by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from benchmarks.fuzz.damage import PIECES, edited, signs
from benchmarks.fuzz.outcomes import command

if TYPE_CHECKING:
    from semivae.api import Run

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = Path(__file__).parents[2] / "tests" / "data" / "recipes"


class Recipes:
    """YAML files of recipes with edits, through `semivae check`, and `semivae show` now and then."""

    name = "recipes"

    @cached_property
    def texts(self) -> list[str]:
        paths = [*sorted(RECIPES.glob("*.yaml")), *sorted(SMALL.glob("*.yaml"))]
        return [path.read_text(encoding="utf-8") for path in paths]

    def make(self, draw: Random, folder: Path) -> Callable[[], None]:
        path = folder / "recipe.yaml"
        text = edited(draw, draw.choice(self.texts))
        path.write_bytes(text.encode(draw.choice(["utf-8"] * 9 + ["utf-16"]), errors="replace"))
        words = ["show", str(path), "--data-root", str(folder)] if draw.random() < 0.05 else ["check", str(path)]
        return lambda: command(words)


class Changes:
    """`--set KEY=VALUE` of small recipes, through `semivae check`."""

    name = "--set"

    @cached_property
    def keys(self) -> list[str]:
        from semivae.recipe.parsing import parse_value

        return [key for path in sorted(SMALL.glob("*.yaml")) for key in keys_of(parse_value(path.read_text()))]

    def make(self, draw: Random, folder: Path) -> Callable[[], None]:
        recipe = draw.choice(("classes", "table", "masks", "ladder"))
        words = ["check", str(SMALL / f"{recipe}.yaml")]
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            key = draw.choice(self.keys)
            key = edited(draw, key, 1) if draw.random() < 0.3 else key
            words += ["--set", f"{key}{'=' if draw.random() < 0.98 else ''}{value(draw)}"]
        (folder / "words.txt").write_text(repr(words), encoding="utf-8")
        return lambda: command(words)


def keys_of(section: Any, above: str = "") -> list[str]:
    """The dotted names of all keys in nested sections."""
    if not isinstance(section, dict):
        return []
    found = [f"{above}{key}" for key in section]
    return found + [name for key, below in section.items() for name in keys_of(below, f"{above}{key}.")]


def value(draw: Random) -> str:
    """A value as somebody writes it on a command line."""
    match draw.randrange(8):
        case 0:
            return draw.choice(PIECES)
        case 1:
            return signs(draw, 12)
        case 2 | 6 | 7:
            return str(draw.choice((0, 1, 1, 2, 3, 0.5, 0.5, -1, 1e-9, 1e308, 10**9, 10**18, 10**40, -(2**63))))
        case 3:
            return f"[{', '.join(value(draw) for _ in range(draw.randrange(4)))}]"
        case 4:
            return f"{{{draw.choice(('name', 'given', 'weight', 'x'))}: {value(draw)}}}"
        case _:
            return edited(draw, draw.choice(("mlp", "conv", "learned", "[x, y]", "{name: mlp, hidden: [8]}", "0.1")), 2)


class GivenValues:
    """`--given NAME=VALUE` of small runs, read as the commands do, through `Run.sample`."""

    name = "--given"

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = runs

    def make(self, draw: Random, folder: Path) -> Callable[[], None]:
        run = draw.choice(self.runs)
        texts = []
        for _ in range(draw.choice((1, 1, 1, 2))):
            name = draw.choice([*run.recipe.variables, edited(draw, "y", 1)])
            texts.append(f"{name}{'=' if draw.random() < 0.98 else ''}{self._value(draw)}")
        (folder / "words.txt").write_text(repr((str(run.path), texts)), encoding="utf-8")
        return lambda: given(run, texts)

    def _value(self, draw: Random) -> str:
        if draw.random() < 0.5:
            return value(draw)
        number = str(draw.choice((0, 1, 2, 3, 9, 10, -1, 0.5, "kind1", "true", "null", "01")))
        return number if draw.random() < 0.5 else f"[{', '.join([number] * draw.choice((1, 2, 4, 8)))}]"


def given(run: Run, texts: Sequence[str]) -> None:
    """Draws two samples with values from the command line. Raises as `outcomes.command`."""
    import typer

    from semivae.cli.opening import given_values
    from semivae.errors import SemivaeError

    try:
        values = given_values(texts)
    except typer.BadParameter as error:  # a usage error with a message and status 2
        raise SemivaeError(str(error)) from None
    from semivae.generative.sampling import draw

    drawn = draw(run, 2, values, noise=False, seed=0)
    assert all(len(each) == 2 for each in drawn.values()), {name: each.shape for name, each in drawn.items()}
