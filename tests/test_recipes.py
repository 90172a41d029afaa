"""The shipped recipes: each loads, takes three steps on data of its own shape, and does what it promises."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from typer.testing import CliRunner

import semivae
from semivae.cli import app
from semivae.data.sources import data_root, load_source
from semivae.game.plan import Lesson
from semivae.nets.body_net import BodyNet
from semivae.recipe import read_recipe, shipped_recipes
from semivae.recipe.factors import ConditionalSpec
from semivae.scenario.build import blank_players, resolve
from semivae.scenario.plan import plan_of
from semivae.scenario.shapes import has_shapes

NAMES = sorted(shipped_recipes())
SHAPES = {
    "digits_50labels": (1, 8, 8),
    "mnist_20labels": (1, 28, 28),
    "mnist_100labels": (1, 28, 28),
    "mnist_100labels_painted": (1, 28, 28),
    "mnist_ladder_100labels": (1, 28, 28),
    "mnist_long_tailed": (1, 28, 28),
    "fashion_mnist_1000labels": (1, 28, 28),
    "fashion_mnist_1000labels_painted": (1, 28, 28),
    "cifar10_4000labels": (3, 32, 32),
    "cifar10_4000labels_cpu": (3, 32, 32),
    "cifar10_4000labels_pretrained": (3, 32, 32),
    "cifar10_pictures": (3, 32, 32),
    "svhn_1000labels": (3, 32, 32),
}
# their shapes are those of the data
TEMPLATES = (
    "arrays", "arrays_attributes", "arrays_numbers", "attributes", "folder", "masks", "photos", "photos_tuned",
    "table", "table_attributes", "table_grades", "table_numbers",
)  # fmt: skip
SMALL = {
    "training.steps": 3,
    "training.twin": True,
    "training.precision": "float32",
    "streams.labelled.batch": 4,
    "streams.unlabelled.batch": 4,
    "streams.labels.batch": 4,
}
LIGHT = {"channels": 8, "hidden": 16, "stem": 8, "width": 4}


def narrow(name: str) -> dict[str, object]:
    """Changes of a shipped recipe that make its networks light: as many levels, of few channels each."""
    recipe = read_recipe(name)
    nets = {} if recipe.bottom_up is None else {"bottom_up": recipe.bottom_up}
    nets |= {} if recipe.painter is None else {"painter.net": recipe.painter.net}
    for player, factors in (("decoder", recipe.decoder), ("encoder", recipe.encoder)):
        nets |= {
            f"{player}.{of}.net": factor.net for of, factor in factors.items() if isinstance(factor, ConditionalSpec)
        }
    light: dict[str, object] = {
        f"{place}.{option}": [LIGHT[option]] * len(value) if isinstance(value, tuple) else LIGHT[option]
        for place, net in nets.items()
        for option, value in net.model_dump(include=set(LIGHT), exclude_none=True).items()
    }
    bodies = [place for place, net in nets.items() if hasattr(net, "weights")]
    # random weights need no download
    return light | {f"{place}.weights": "none" for place in bodies} | {f"{place}.size": 32 for place in bodies}


def noise_images(shape: tuple[int, ...], count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.mark.parametrize("name", [name for name in NAMES if {"labelled", "labels"} <= set(read_recipe(name).streams)])
def test_all_three_streams_are_used(name: str) -> None:
    lessons = plan_of(read_recipe(name)).lessons
    assert {lesson.stream for lesson in lessons} == set(read_recipe(name).streams)
    assert Lesson("labelled", "encoder", (), ("y",)) in lessons


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TEMPLATES and has_shapes(read_recipe(name))])
def test_networks_of_the_recipes_own_width_can_be_built(name: str) -> None:
    assert blank_players(read_recipe(name))


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("_painted")])
def test_recipes_with_a_painter_play_the_game_of_those_without(name: str) -> None:
    """So that a finished run of the one gets the painter of the other."""
    ours, theirs = read_recipe(name), read_recipe(name.removesuffix("_painted"))
    assert ours.painter is not None
    same = {"painter": None, "about": ""}
    assert ours.model_copy(update=same) == theirs.model_copy(update=same)


@pytest.mark.parametrize("name", SHAPES)
def test_three_steps_on_data_of_the_recipes_shape(name: str, tmp_path: Path) -> None:
    labels = np.arange(60) % 10
    np.savez(
        tmp_path / "noise.npz",
        x=noise_images(SHAPES[name], 60, 0), y=labels, x_test=noise_images(SHAPES[name], 10, 1), y_test=labels[:10],
    )  # fmt: skip
    source = {"name": "arrays", "path": str(tmp_path / "noise.npz")}
    changes = {**SMALL, **narrow(name), "source": source, "split.labelled": 20, "split.validation": 10}
    streams = read_recipe(name).streams
    changes |= {f"streams.{stream}.batch": 4 for stream in ("pictures", "pairs") if stream in streams}
    if "unlabelled" not in streams:
        del changes["streams.unlabelled.batch"]
    if read_recipe(name).painter is not None:
        changes |= {"painter.steps": 2, "painter.batch": 4}
    run = semivae.train(name, set=changes, out=tmp_path / "run")
    assert run.finished
    assert run.sample(2, y=3)["x"].shape == (2, *SHAPES[name])
    report = run.evaluate()
    assert all(0.0 <= report[which]["error"] <= 1.0 for which in ("last", "selected", "twin"))
    assert all(math.isfinite(report[which]["nll"]) for which in ("last", "selected", "twin"))


def test_arrays_template_on_a_strangers_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", x=noise_images((12, 20, 3), 40, 0), y=np.array(["cat", "dog"] * 20))
    run = semivae.train("arrays", set={**SMALL, **narrow("arrays")}, out=tmp_path / "run", data_root=tmp_path)
    assert run.sample(2, y="dog")["x"].shape == (2, 3, 12, 20)
    assert blank_players(resolve(read_recipe("arrays"), run.dataset())), "at its own width too"


def test_folder_template_on_a_strangers_images(tmp_path: Path) -> None:
    for index, image in enumerate(noise_images((40, 50, 3), 24, 0)):
        folder = tmp_path / "images" / "train" / ("cat" if index % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{index:03}.png")
    changes = {**SMALL, **narrow("folder"), "split.validation": 4}
    run = semivae.train("folder", set=changes, out=tmp_path / "run", data_root=tmp_path)
    assert run.classes == ("cat", "dog")
    assert run.sample(2, y="dog")["x"].shape == (2, 3, 32, 32)
    assert blank_players(resolve(read_recipe("folder"), run.dataset())), "at its own width too"


def test_tuned_photographs_template_on_a_strangers_images(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    for index, image in enumerate(noise_images((40, 50, 3), 24, 0)):
        folder = tmp_path / "images" / "train" / ("cat" if index % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{index:03}.png")
    changes = {**SMALL, **narrow("photos_tuned"), "source.size": 32, "split.validation": 4}
    run = semivae.train("photos_tuned", set=changes, out=tmp_path / "run", data_root=tmp_path)
    assert run.classes == ("cat", "dog")
    assert run.predict(noise_images((40, 50, 3), 3, 1)).shape == (3,)
    net = run.encoder["y"].net
    assert isinstance(net, BodyNet)
    body = net.body
    assert {name.split(".")[2] for name in body.rates if "blocks." in name} == {"5", "6"}, "and the last convolution"
    assert sorted({round(rate, 3) for rate in body.rates.values()}) == [0.243, 0.27, 0.3]
    assert run.export(tmp_path / "classifier.pt2")["largest_difference"] < 1e-4


def test_attributes_template_on_a_strangers_images(tmp_path: Path) -> None:
    """`start` finds the columns of attributes, and what it writes can be trained."""
    (tmp_path / "images").mkdir()
    rows = ["file_name,note,smiling,hat"]
    for index, image in enumerate(noise_images((40, 50, 3), 24, 0)):
        Image.fromarray(image).save(tmp_path / "images" / f"{index:03}.png")
        rows.append(f"{index:03}.png,taken {index},{index % 2},{'' if index % 5 == 0 else index % 3 % 2}")
    (tmp_path / "images" / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    written = tmp_path / "mine.yaml"
    result = CliRunner().invoke(app, ["start", str(tmp_path / "images"), str(written)])
    assert result.exit_code == 0, result.output
    assert "label_column: [smiling, hat]" in written.read_text(encoding="utf-8")
    changes = {**SMALL, **narrow("attributes"), "split.validation": 4}
    for recipe in ("attributes", written):
        run = semivae.train(recipe, set=changes, out=tmp_path / "run", data_root=tmp_path, overwrite=True)
        assert run.classes == ("smiling", "hat")
        assert run.sample(2, y="hat")["x"].shape == (2, 3, 32, 32)


@pytest.mark.parametrize("palette", [True, False])
def test_masks_template_on_a_strangers_images(tmp_path: Path, palette: bool) -> None:
    """As its comments say: with names in a palette, or without it."""
    for index, image in enumerate(noise_images((64, 80, 3), 24, 0)):
        for kind, picture in (("images", image), ("masks", image[..., 0] // 100)):
            folder = tmp_path / "shapes" / "train" / kind
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / f"{index:03}.png")
    (tmp_path / "shapes" / "unlabelled").mkdir()
    Image.fromarray(noise_images((64, 64, 3), 1, 1)[0]).save(tmp_path / "shapes" / "unlabelled" / "new.jpg")
    if palette:
        (tmp_path / "shapes" / "palette.txt").write_text("ground\nthing\nedge\n")
    batches = {f"streams.{name}.batch": 2 for name in read_recipe("masks").streams}
    changes = {"training.steps": 2, "training.twin": False, **batches, **narrow("masks"), "split.validation": 4}
    if not palette:
        source = read_recipe("masks").source.model_dump()
        changes["source"] = {name: value for name, value in source.items() if name != "palette"}
    recipe = read_recipe("masks", changes)
    assert load_source(recipe.source, tmp_path).classes == (("ground", "thing", "edge") if palette else ("0", "1", "2"))
    if palette:
        run = semivae.train(recipe, out=tmp_path / "run", data_root=tmp_path)
        assert run.predict(noise_images((64, 64, 3), 2, 2)).shape == (2, 64, 64)
        assert blank_players(resolve(read_recipe("masks"), run.dataset())), "at its own width too"


def test_svhn_from_files_in_the_official_layout(tmp_path: Path) -> None:
    archive = data_root(None) / "svhn_first1083.npz"
    if not archive.exists():
        archive = Path(__file__).parents[2] / "shared" / "data" / "svhn_first1083.npz"
    if not archive.exists():
        pytest.skip("needs the first SVHN images (SEMIVAE_DATA)")
    arrays = np.load(archive)
    images, labels = arrays["x"], arrays["y"].astype(np.int64)
    (tmp_path / "svhn").mkdir()
    for part, rows in (("train", slice(0, 800)), ("test", slice(800, None))):
        official = {
            "X": images[rows].transpose(1, 2, 3, 0),
            "y": np.where(labels[rows] == 0, 10, labels[rows])[:, None],
        }
        scipy.io.savemat(tmp_path / "svhn" / f"{part}_32x32.mat", official)
    notes: list[str] = []
    run = semivae.train(
        "svhn_1000labels",
        set={**SMALL, **narrow("svhn_1000labels"), "split.labelled": 100, "split.validation": 100},
        out=tmp_path / "run",
        data_root=tmp_path,
        progress=lambda state: notes.append(state.message),
    )
    assert any("train_32x32.mat" in note for note in notes), "another checksum than the official file's is a warning"
    assert run.evaluate()["count"] == 283
    pixels = torch.from_numpy(images[:3])
    assert run.embed(pixels).shape == (3, 8)
    report = run.export(tmp_path / "classifier.pt2")
    assert report["largest_difference"] < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_digits_reach_six_percent_and_beat_their_twin(seed: int, tmp_path: Path) -> None:
    """The main job, whole: about a minute each."""
    report = semivae.train("digits_50labels", set={"split.seed": seed}, out=tmp_path / "run").evaluate()
    assert report["last"]["error"] <= 0.06
    assert report["last"]["error"] < report["twin"]["error"]
