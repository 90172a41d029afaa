"""Exported files with their preprocessing inside, and what the others say of theirs, by the clients of the docs."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import safetensors
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import semivae
from semivae.api import Run
from semivae.classification.conformal import Penalty
from semivae.classification.trust import SetThreshold, Validated, sets_of
from semivae.data.formats.preprocessing import Preprocessing, fitted_picture
from semivae.errors import ExportError
from semivae.export.resampling import PictureFitting
from semivae.recipe.folder_source import Fit

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

PAGE = Path(__file__).parents[1] / "docs" / "exported-files.md"
CLIENTS = dict(
    zip(("onnx", "pt2", "sets", "table"), re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL), strict=True)
)
# the pictures are meant to be awkward
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*((is|are) cropped by more than 20%|ha(s|ve) transparent places):semivae.errors.DataWarning"
)
KINDS = ("cat", "dog")
CHANGES: dict[str, object] = {
    "source": {"name": "folder", "path": "own", "size": [12, 8], "channels": 3, "fit": "pad", "background": "black"},
    "split.labelled": "all", "split.validation": 4, "variables.x.shape": [3, 12, 8], "variables.y.classes": 2,
    "training.steps": 15, "training.twin": False,
}  # fmt: skip
sides = st.integers(1, 90)


def run_client(client: str, folder: Path, *arguments: Path) -> list[list[str]]:
    """The words of each line that a client of the docs prints, where no semivae can be imported."""
    block = folder / "block" / "semivae"
    block.mkdir(parents=True, exist_ok=True)
    (block / "__init__.py").write_text("raise ImportError('a client needs no semivae')")
    script = folder / "client.py"
    script.write_text(client)
    done = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, cwd=folder,
        env=os.environ | {"PYTHONPATH": str(block.parent), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def run_here(client: str, folder: Path, *arguments: Path) -> list[list[str]]:
    """As `run_client`, in this process: nothing that is new to it need be imported."""
    (folder / "client.py").write_text(client)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        patch.setattr(sys, "argv", ["client.py", *map(str, arguments)])
        patch.setitem(sys.modules, "semivae", None)  # whose import raises an error then
        runpy.run_path(str(folder / "client.py"), run_name="__main__")
    return [line.split() for line in printed.getvalue().splitlines()]


# Pictures ------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(sides, sides),
    st.tuples(sides, sides),
    st.sampled_from(get_args(Fit)),
    st.sampled_from([1, 3]),
    st.integers(0, 9),
)
def test_pictures_are_resized_as_pillow_does_byte_for_byte(
    size: tuple[int, int], target: tuple[int, int], fit: Fit, channels: int, seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, channels)).astype(np.uint8)
    how = Preprocessing(channels, *target, fit, "black" if seed % 2 else "white")
    picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    expected = fitted_picture(picture, target[::-1], fit, (how.level,) * channels, Image.Resampling.BICUBIC)
    found = PictureFitting(how)(torch.from_numpy(pixels)[None]) * 255
    assert np.array_equal(found[0].round().permute(1, 2, 0).numpy().reshape(*target, -1),
                          np.asarray(expected, np.float32).reshape(*target, -1))  # fmt: skip


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of colour pictures of other sizes and ratios than its own."""
    root = tmp_path_factory.mktemp("data")
    for number, kind in enumerate(KINDS):
        for part, rows in (("train", range(12)), ("test", range(12, 15))):
            folder = root / "own" / part / kind
            folder.mkdir(parents=True)
            for row in rows:
                picture(number, row, (20, 30 - row)).save(folder / f"{row}.png")
    return semivae.train("digits_50labels", set=CHANGES, out=root / "run", data_root=root, device="cpu")


def picture(number: int, row: int, size: tuple[int, int]) -> Image.Image:
    pixels = np.random.default_rng(100 * number + row).integers(0, 100, (6, 4, 3)).astype(np.uint8)
    pixels[..., number] += 120
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What a user may have: other sizes, grey, a palette, transparency, a turned photograph, a large one."""
    folder = tmp_path_factory.mktemp("pictures")
    turned = Image.Exif()
    turned[0x0112] = 6
    clear = picture(0, 2, (30, 31)).convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize((30, 31)))
    picture(0, 0, (17, 90)).save(folder / "a.png")
    picture(1, 1, (8, 12)).convert("L").save(folder / "b.png")
    clear.save(folder / "c.png")
    picture(1, 3, (40, 25)).save(folder / "d.jpg", exif=turned)
    picture(0, 4, (400, 300)).save(folder / "e.jpg")
    picture(1, 5, (50, 20)).quantize(16).save(folder / "f.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def exported(own: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of the run's files with preprocessing and sets, and what was said of each."""
    folder = tmp_path_factory.mktemp("exported")
    options: dict[str, Any] = {"with_preprocessing": True, "coverage": 0.7}
    return folder, {ending: own.export(folder / f"model.{ending}", **options) for ending in ("onnx", "pt2")}


@pytest.mark.parametrize("ending", ["onnx", "pt2"])
def test_clients_of_the_docs_answer_like_the_run(
    own: Run, exported: tuple[Path, dict[str, Any]], pictures: list[Path], tmp_path: Path, ending: str
) -> None:
    folder, report = exported[0], exported[1][ending]
    assert report["input"] == {"name": "images", "dtype": "uint8", "shape": ["n", "height", "width", 3]}
    assert report["largest_difference"] < 1e-5
    lines = run_client(CLIENTS[ending], tmp_path, folder / f"model.{ending}", *pictures)
    assert [line[0] for line in lines] == [str(path) for path in pictures]
    assert [line[1] for line in lines] == own.predict(list(pictures), names=True).tolist()
    expected = own.classifier().probabilities(list(pictures)).max(1).values
    np.testing.assert_allclose([float(line[2]) for line in lines], expected, atol=1e-5)


def test_the_docs_client_of_sets_gives_the_runs_own_sets(tiny_run: Run, tmp_path: Path) -> None:
    tiny_run = semivae.load(shutil.copytree(tiny_run.path, tmp_path / "run"), device="cpu")  # it keeps a calibration
    report = tiny_run.export(tmp_path / "model.onnx", with_preprocessing=True, calibrate=True, coverage=0.9)
    assert report["sets"]["score"] == "APS, randomised" and "penalty" not in report["sets"]
    images = tiny_run.dataset().test["x"][:40]
    places = [tmp_path / f"{number}.png" for number in range(len(images))]
    for place, image in zip(places, images, strict=True):
        Image.fromarray(np.asarray(image)[0]).save(place)
    lines = run_here(CLIENTS["sets"], tmp_path, tmp_path / "model.onnx", *places)
    expected = tiny_run.predict_sets(images, coverage=0.9, calibrate=True, names=True)
    assert [sorted(line[1:]) for line in lines] == [sorted(names) for names in expected]
    assert len({len(names) for names in expected}) > 1, "all sets are of one size, which tells little"


@pytest.mark.parametrize("penalty", [Penalty(), Penalty(0.1, 2)], ids=["adaptive", "regularised"])
def test_the_docs_rule_of_sets_is_that_of_the_run(penalty: Penalty) -> None:
    random = np.random.default_rng(0)
    probabilities, u = random.dirichlet(np.ones(6), 50), random.random(50)
    threshold = SetThreshold(0.9, 0.8, 99, (0.8, 0.95), penalty)
    assert ("0.1 for each rank beyond 2, counted from 1" in threshold.words) == bool(penalty.weight)
    rule = re.search(r"^penalty = .*?\n\n(?=for )", CLIENTS["sets"], re.DOTALL | re.MULTILINE)
    assert rule is not None
    names: dict[str, Any] = {"numpy": np, "sets": threshold.facts(), "classes": list(range(6))}
    exec(rule[0], names)
    expected = sets_of(threshold, np.log(probabilities), u)
    found = [names["plausible"](row, number) for row, number in zip(probabilities, u, strict=True)]
    assert [sorted(classes) for classes in found] == [row.nonzero()[0].tolist() for row in expected]


def test_regularised_sets_reach_the_metadata(tiny_run: Run, tmp_path: Path) -> None:
    tiny_run.export(tmp_path / "w.safetensors", coverage=0.7, sets="raps")
    with safetensors.safe_open(tmp_path / "w.safetensors", "pt") as file:
        sets = json.loads(file.metadata()["sets"])
    expected = Validated.of(tiny_run.classifier()).sets(0.7, "raps")
    assert sets == json.loads(json.dumps(expected.facts() | {"words": expected.words}))
    assert sets["count"] == 160  # a fifth of the 200 validation images chose the penalty: these are no adaptive scores


def test_sets_of_colour_pictures_follow_the_metadata_of_pt2(
    own: Run, exported: tuple[Path, dict[str, Any]], pictures: list[Path], tmp_path: Path
) -> None:
    kept = {"sets.txt": ""}
    torch.export.load(exported[0] / "model.pt2", extra_files=kept)
    sets = json.loads(kept["sets.txt"])
    assert sets["coverage"] == 0.7 and sets["count"] == 4 and f"at most {sets['threshold']:.6g}" in sets["words"]
    mine = [tmp_path / "own.png", *pictures]
    picture(0, 7, (8, 12)).save(mine[0])  # of the run's own size: the same number u
    lines = run_here(CLIENTS["sets"], tmp_path, exported[0] / "model.onnx", *mine)
    assert sorted(lines[0][1:]) == sorted(own.predict_sets([mine[0]], coverage=0.7, names=True)[0])
    assert [line[0] for line in lines] == [str(path) for path in mine]


@pytest.mark.slow
def test_grey_runs_take_grey_pictures(tiny_run: Run, pictures: list[Path], tmp_path: Path) -> None:
    tiny_run.export(tmp_path / "model.onnx", with_preprocessing=True)
    lines = run_client(CLIENTS["onnx"], tmp_path, tmp_path / "model.onnx", *pictures)
    expected = tiny_run.classifier().probabilities(list(pictures)).max(1).values
    np.testing.assert_allclose([float(line[2]) for line in lines], expected, atol=1e-5)


@pytest.mark.slow
def test_features_take_pictures_too(own: Run, pictures: list[Path], tmp_path: Path) -> None:
    own.export(tmp_path / "features.pt2", part="features", with_preprocessing=True)
    module = torch.export.load(tmp_path / "features.pt2").module()
    pixels = torch.from_numpy(np.array(Image.open(pictures[0])))[None]
    np.testing.assert_allclose(module(pixels).detach(), own.embed(pictures[0]), atol=1e-5)


def test_a_file_without_the_option_says_how_pictures_are_prepared(
    own: Run, pictures: list[Path], tmp_path: Path
) -> None:
    """Whoever follows the metadata gets the run's probabilities."""
    report = own.export(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    how = json.loads(session.get_modelmeta().custom_metadata_map["preprocessing"])
    assert how == report["preprocessing"] and not how["inside"]
    expected = {"channels": 3, "colours": "RGB", "size": [12, 8], "fit": "pad", "background": "black", "divide_by": 255,
                "mean": [0, 0, 0], "deviation": [1, 1, 1], "threshold": None, "white": None}  # fmt: skip
    assert expected.items() <= how.items()
    assert "lies within this size" in how["words"] and "float32 [n, 3, 12, 8] in [0, 1]" in how["words"]
    image = Image.open(pictures[0])
    scale = min(8 / image.width, 12 / image.height)
    small = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    canvas = Image.new("RGB", (8, 12), how["background"])
    canvas.paste(small, (round((8 - small.width) / 2), round((12 - small.height) / 2)))
    values = np.asarray(canvas, np.float32).transpose(2, 0, 1)[None] / 255
    (found,) = session.run(None, {"images": values})
    np.testing.assert_allclose(found, own.classifier().probabilities(pictures[0]), atol=1e-5)


def test_weights_say_it_too_but_cannot_hold_it(own: Run, tmp_path: Path) -> None:
    own.export(tmp_path / "weights.safetensors")
    with safetensors.safe_open(tmp_path / "weights.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["preprocessing"])["fit"] == "pad"
    with pytest.raises(ExportError, match=r"holds weights alone, no preprocessing; write \.onnx or \.pt2"):
        own.export(tmp_path / "more.safetensors", with_preprocessing=True)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


# Tables --------------------------------------------------------------------------------------------------------------

ROWS = [["length", "region", "weight", "kind"]] + [
    [
        f"{10 + number * 5 + row % 3}",
        ("north", "south", "west")[(row + number) % 3],
        "" if row % 4 == 0 else f"{row}.5",
        kind,
    ]
    for row in range(12)
    for number, kind in enumerate(KINDS)
]


@pytest.fixture(scope="module")
def table_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("table")
    with (root / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows(ROWS)
    changes: dict[str, Any] = {"source": {"name": "table", "path": "t.csv", "label": "kind"}, "training.steps": 15,
                               "training.twin": False}  # fmt: skip
    return semivae.train("table", set=changes, out=root / "run", data_root=root, device="cpu")


def test_the_client_for_tables_answers_like_the_run(table_run: Run, tmp_path: Path) -> None:
    cells = [["weight", "region", "more", "length"], ["1.5", "south", "a", "11"], ["", " west ", "b", "19.25"],
             ["-2", "", "c", ""], ["3", "nowhere", "d", "12"]]  # fmt: skip
    with (tmp_path / "new.csv").open("w", newline="") as file:
        csv.writer(file).writerows(cells)
    report = table_run.export(tmp_path / "model.onnx", with_preprocessing=True)
    assert report["input"] == {"name": "rows", "dtype": "float64", "shape": ["n", 3]}
    lines = run_client(CLIENTS["table"], tmp_path, tmp_path / "model.onnx", tmp_path / "new.csv")
    with pytest.warns(semivae.errors.DataWarning):
        expected = table_run.classifier().probabilities(tmp_path / "new.csv")
    assert [line[0] for line in lines] == [table_run.classes[number] for number in expected.argmax(1)]
    np.testing.assert_allclose([float(line[1]) for line in lines], expected.max(1).values, atol=1e-5)


def test_without_preprocessing_the_input_is_called_rows_too(table_run: Run, tmp_path: Path) -> None:
    report = table_run.export(tmp_path / "model.onnx")
    assert report["input"] == {"name": "rows", "dtype": "float32", "shape": ["n", 6]}
    (given,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").get_inputs()
    assert given.name == "rows"


def test_rows_in_torch_and_what_a_file_says_of_them(table_run: Run, tmp_path: Path) -> None:
    table_run.export(tmp_path / "model.pt2", with_preprocessing=True)
    about = {"preprocessing.txt": ""}
    module = torch.export.load(tmp_path / "model.pt2", extra_files=about).module()
    found = module(torch.tensor([[12.0, 1.0, 4.5]], dtype=torch.float64))
    columns = json.loads(about["preprocessing.txt"])["columns"]
    assert [column["name"] for column in columns] == ["length", "region", "weight"]
    assert columns[1]["categories"] == ["north", "south", "west"] and columns[2]["may_miss"]
    length, weight = (
        (value - columns[place]["mean"]) / columns[place]["deviation"] for place, value in ((0, 12), (2, 4.5))
    )
    row = np.array([[length, 0, 1, 0, weight, 0]], np.float32)
    np.testing.assert_allclose(found.detach(), table_run.classifier().probabilities(row), atol=1e-5)


def test_rows_of_arrays_have_nothing_to_prepare(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    np.savez(tmp_path / "a.npz", x=x, y=(x[:, 0] > 0).astype(int))
    changes: dict[str, Any] = {
        "source": {"name": "arrays", "path": "a.npz"},
        "training.steps": 3,
        "training.twin": False,
    }
    run = semivae.train("table", set=changes, out=tmp_path / "run", data_root=tmp_path, device="cpu")
    with pytest.raises(ExportError, match="such rows are used as they are; leave out the preprocessing"):
        run.export(tmp_path / "model.onnx", with_preprocessing=True)
    assert "nothing is done to them" in run.export(tmp_path / "model.safetensors")["preprocessing"]["words"]
