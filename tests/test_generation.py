"""Drawing from a really trained decoder, what may be given to it, and pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from semivae.api import Run
from semivae.errors import RunError
from semivae.game.conditionals import NetworkConditional
from semivae.game.players import Player
from semivae.generative.grids import save_grid
from semivae.generative.sampling import draw
from semivae.nets import NETS
from semivae.recipe.schema import VariableSpec
from semivae.tasks.kinds import CLASSES, MAPS, NOTHING, task_of
from semivae.tasks.user_values import UserValue
from semivae.variables import Variable


def test_samples_hold_every_variable(tiny_run: Run) -> None:
    drawn = tiny_run.sample(12, seed=0)
    assert {name: tuple(value.shape) for name, value in drawn.items()} == {
        "x": (12, 1, 8, 8),
        "y": (12,),
        "h": (12, 16),
    }
    assert drawn["y"].dtype == torch.int64
    assert set(drawn["h"].flatten().tolist()) == {0.0, 1.0}
    assert drawn["x"].min() >= 0 and drawn["x"].max() <= 1


def test_image_is_the_mean_and_noise_draws_pixels(tiny_run: Run) -> None:
    mean, pixels = tiny_run.sample(200, seed=3, y=3), tiny_run.sample(200, seed=3, y=3, noise=True)
    assert torch.equal(mean["h"], pixels["h"])
    assert set(pixels["x"].flatten().tolist()) == {0.0, 1.0}
    # one pixel's mean over 200 images is off by 0.036 at most (one standard deviation); six of them
    assert (mean["x"].mean(dim=0) - pixels["x"].mean(dim=0)).abs().max() < 0.22


def test_seed_repeats_the_draw_and_leaves_the_global_generator_alone(tiny_run: Run) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, other = (tiny_run.sample(6, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["h"], other["h"])
    assert not torch.equal(tiny_run.sample(6)["h"], tiny_run.sample(6)["h"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (3, [3, 3, 3, 3]),
        ("3", [3, 3, 3, 3]),
        (np.int64(3), [3, 3, 3, 3]),
        ([7, 2], [7, 7, 2, 2]),
        ("7, 2", [7, 7, 2, 2]),
        (range(4), [0, 1, 2, 3]),
        (torch.tensor([1, 2, 3, 9]), [1, 2, 3, 9]),
        (np.array(["1", "2"]), [1, 1, 2, 2]),
    ],
)
def test_classes_may_be_given_in_many_forms(tiny_run: Run, given: Any, expected: list[int]) -> None:
    assert tiny_run.sample(4, y=given)["y"].tolist() == expected


def test_number_that_is_another_class_name_is_refused() -> None:
    def parsed(value: Any) -> list[int]:
        variable = VariableSpec(family="categorical", shape=(), classes=3)
        return CLASSES.parse(UserValue("y", value, 2, variable, ("1", "2", "3"))).tolist()

    with pytest.raises(RunError, match="y: 1 could be a class number or the class called '1'"):
        parsed(1)
    assert parsed("1") == [0, 0]
    assert parsed(torch.tensor([1, 2])) == [1, 2]


def test_codes_may_be_given(tiny_run: Run) -> None:
    code = torch.arange(16) % 2
    drawn = tiny_run.sample(3, y=1, h=code)
    assert torch.equal(drawn["h"], code.float().expand(3, 16))
    torch.testing.assert_close(drawn["x"][0], drawn["x"][1])
    assert tiny_run.sample(3, h=1)["h"].min() == 1
    rows = torch.rand(3, 16).round()
    assert torch.equal(tiny_run.sample(3, h=rows)["h"], rows)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"label": 3}, "label: unknown variable; this run has x, y, h"),
        ({"y": 10}, "y: class 10 is unknown; the classes are 0, 1, 2"),
        ({"y": -1}, "y: class -1 is unknown"),
        ({"y": "cat"}, "y: class 'cat' is unknown"),
        ({"y": 1.5}, "y: class 1.5 is unknown"),
        ({"y": True}, "y: class True is unknown"),
        ({"y": [1, 2, 3]}, "y: 3 classes do not divide 4 samples"),
        ({"y": []}, "y: 0 classes do not divide"),
        ({"h": torch.zeros(4)}, r"h: the value has shape \(4,\); give one number, or shape \(16,\) or \(4, 16\)"),
        ({"h": 2}, "h: the values of a Bernoulli variable must lie between 0 and 1"),
        ({"h": float("nan")}, "h: the values must be finite"),
        ({"h": "many"}, "h: 'many' is not a number"),
        ({"h": []}, r"h: the value has shape \(0,\); give one number"),
        ({"x": torch.zeros(1, 8, 8)}, "x cannot be given without [yh]: the decoder draws [yh] first"),
    ],
)
def test_what_cannot_be_given_is_refused(tiny_run: Run, given: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        tiny_run.sample(4, **given)


def test_image_may_be_given_with_all_its_parents(tiny_run: Run) -> None:
    image = torch.zeros(1, 8, 8)
    assert torch.equal(tiny_run.sample(4, x=image, y=1, h=0)["x"], image.expand(4, 1, 8, 8))


def test_prior_known_by_samples_only_must_be_given(tiny_run: Run) -> None:
    run, decoder = tiny_run, Player([tiny_run.decoder["h"], tiny_run.decoder["x"]])
    recipe = run.recipe.model_copy(update={"streams": {}})
    without = Run(run.path, recipe, decoder, run.encoder, run.facts, "last", run.device)
    assert without.sample(2, y=5)["x"].shape == (2, 1, 8, 8)
    with pytest.raises(RunError, match=r"no prior of y to draw from, and no stream shows y .* as y=VALUE"):
        without.sample(2)


def test_classes_without_a_prior_come_from_the_label_only_stream(tiny_run: Run) -> None:
    run, decoder = tiny_run, Player([tiny_run.decoder["h"], tiny_run.decoder["x"]])
    without = Run(run.path, run.recipe, decoder, run.encoder, run.facts, "last", run.device)
    drawn = without.sample(3000, seed=0)["y"]
    counts = torch.bincount(drawn, minlength=10)
    assert (counts - 300).abs().max() < 100  # balanced digits; 6 standard deviations
    assert torch.equal(drawn, without.sample(3000, seed=0)["y"])


def test_missing_prior_is_named_where_other_codes_lie_between(tiny_run: Run) -> None:
    """In y -> z -> x it is y that has to be given, not z."""
    y, z = Variable("y", "categorical", (), 10), Variable("z", "bernoulli", (4,))
    x = Variable("x", "bernoulli", (1, 8, 8))
    mlp = NETS["mlp"]
    decoder = Player(
        [NetworkConditional(z, (y,), mlp(None, 10, (4,))), NetworkConditional(x, (z,), mlp(None, 4, (1, 8, 8)))]
    )
    recipe = tiny_run.recipe.model_copy(update={"streams": {}})
    run = Run(tiny_run.path, recipe, decoder, tiny_run.encoder, tiny_run.facts, "last", torch.device("cpu"))
    assert run.sample(2, y=5)["x"].shape == (2, 1, 8, 8)
    with pytest.raises(RunError, match="no prior of y to draw from"):
        run.sample(2)


def test_categorical_codes_of_several_places_may_be_given() -> None:
    code = VariableSpec(family="categorical", shape=(2,), classes=4)
    assert task_of("c", code) is NOTHING
    assert NOTHING.parse(UserValue("c", 1, 3, code)).tolist() == [[1, 1]] * 3
    assert NOTHING.parse(UserValue("c", [1, 3], 3, code)).tolist() == [[1, 3]] * 3
    for wrong in (4, -1, 0.5):
        with pytest.raises(RunError, match="c: a number is not a class; the classes are 0 to 3"):
            NOTHING.parse(UserValue("c", wrong, 3, code))


def test_places_of_a_map_may_be_void() -> None:
    maps = VariableSpec(family="categorical", shape=(1, 2), classes=4)
    assert MAPS.parse(UserValue("s", [[-1, 3]], 2, maps)).tolist() == [[[-1, 3]]] * 2
    with pytest.raises(
        RunError, match="s: a number is not a class; the classes are 0 to 3, and -1 stands for an unknown pixel"
    ):
        MAPS.parse(UserValue("s", [[-2, 3]], 2, maps))


def test_variable_may_be_called_like_an_option(tiny_run: Run) -> None:
    with pytest.raises(RunError, match="seed: unknown variable"):
        draw(tiny_run, 2, {"seed": 1}, seed=0)


def test_counts_and_checkpoints_without_samples_are_refused(tiny_run: Run) -> None:
    with pytest.raises(RunError, match="cannot draw 0 samples"):
        tiny_run.sample(0)
    with pytest.raises(RunError, match=r"cannot draw 2.5 samples"):
        tiny_run.sample(2.5)  # type: ignore[arg-type]
    with pytest.raises(RunError, match="seeds lie in 0 to"):
        tiny_run.sample(2, seed=2**63)
    with pytest.raises(RunError, match="the supervised twin has no decoder"):
        tiny_run.at("twin").sample(4)


def test_grid_is_a_picture_with_the_images_row_by_row(tmp_path: Path) -> None:
    shades = torch.linspace(0, 1, 6).reshape(6, 1, 1, 1).expand(6, 1, 8, 8)
    path = save_grid(shades, tmp_path / "grid.png", columns=3)
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("L"))
    side = 32 + 2  # 8 pixels enlarged 4 times, 2 between
    assert pixels.shape == (2 * side + 2, 3 * side + 2)
    centres = [pixels[row * side + 18, column * side + 18] for row in range(2) for column in range(3)]
    assert centres == [0, 51, 102, 153, 204, 255]
    assert [file.name for file in tmp_path.iterdir()] == ["grid.png"]


def test_colour_images_make_a_jpeg(tmp_path: Path) -> None:
    with Image.open(save_grid(torch.rand(5, 3, 32, 32), tmp_path / "grid.jpg")) as picture:
        assert picture.mode == "RGB" and picture.size == (3 * 34 + 2, 2 * 34 + 2)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the size of files as Linux does")
def test_a_picture_that_does_not_fit_on_the_disk_leaves_nothing(tmp_path: Path) -> None:
    import resource  # which other systems lack

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # Python ignores the signal of it
    try:
        with pytest.raises(RunError, match=r"s\.png cannot be written: File too large"):
            save_grid(torch.rand(16, 3, 28, 28), tmp_path / "s.png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_never_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "grid.png"
    path.write_text("mine")
    with pytest.raises(RunError, match="exists; choose another name"):
        save_grid(torch.rand(4, 1, 8, 8), path)
    assert path.read_text() == "mine"
    save_grid(torch.rand(4, 1, 8, 8), path, overwrite=True)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("taken/grid.png", (4, 1, 8, 8), "taken is a file, not a folder"),
        ("grid.gif", (4, 1, 8, 8), "pictures end in .png, .jpg, .jpeg"),
        ("grid", (4, 1, 8, 8), "pictures end in"),
        ("grid.png", (4, 7), "only images"),
        ("grid.png", (4, 2, 8, 8), "only images"),
        ("grid.png", (0, 1, 8, 8), "only images"),
    ],
)
def test_what_makes_no_picture_is_refused(tmp_path: Path, name: str, shape: tuple[int, ...], message: str) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(RunError, match=message):
        save_grid(torch.zeros(shape), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
