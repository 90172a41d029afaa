"""A segmentation from its training to its files: scores by hand, then one tiny run through every command."""

from __future__ import annotations

import io
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

import semivae
from benchmarks.segmentation.__main__ import app as benchmark
from semivae.api import Run
from semivae.classification import Classifier
from semivae.classification.calibration import Calibration, refuse_few_validation_images
from semivae.cli import app
from semivae.cli.kinds.map_files import mask_names
from semivae.data.formats.palettes import Palette
from semivae.errors import DataError, DataWarning, RecipeError, RunError
from semivae.export.encoder import check
from semivae.export.formats import READERS, WRITERS, EncoderPart, Format
from semivae.game.conditionals import NetworkConditional
from semivae.game.plan import Lesson
from semivae.generative.imputation import impute
from semivae.nets import Unet
from semivae.recipe import read_recipe
from semivae.runs.palettes import run_palette
from semivae.scenario.build import build_players
from semivae.scenario.plan import plan_of
from semivae.tasks.map_pictures import colours_of, mask_png
from semivae.tasks.map_scores import scores_of
from semivae.training.progress import Progress
from semivae.variables import VOID, Variable

SIDE = 16


def shapes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Grey noise with a bright square (class 1) and a dark bar (class 2), and where they are."""
    random = np.random.default_rng(seed)
    maps = np.zeros((count, SIDE, SIDE), np.uint8)
    for each in maps:
        top, left = random.integers(0, SIDE - 6, 2)
        each[top : top + 6, left : left + 6] = 1
        each[random.integers(0, SIDE - 2) :][:2] = 2
    images = np.array([128, 250, 10], np.uint8)[maps][..., None].repeat(3, axis=3)
    return (images + random.integers(0, 5, images.shape)).clip(0, 255).astype(np.uint8), maps


CHANGES: dict[str, object] = {
    "source": {
        "name": "arrays", "path": "shapes.npz", "classes": ["ground", "square", "bar"], "void": 255,
        "keys": {"x": "images", "s": "maps", "x_test": "test_images", "s_test": "test_maps"},
    },
    "split": {"labelled": 8, "validation": 8},
    "variables.x.shape": [3, SIDE, SIDE],
    "variables.s.shape": [SIDE, SIDE],
    "variables.s.classes": 3,
    "variables.l.shape": [4],
    "decoder.x.net": {"name": "unet", "channels": [8, 16], "hidden": 16},
    "encoder.s.net": {"name": "unet", "channels": [8, 16], "hidden": 16},
    "encoder.l.net": {"name": "conv", "channels": [8, 8], "hidden": 16},
    "streams.labelled.batch": 8,
    "streams.unlabelled.batch": 4,
    "streams.pairs.batch": 4,
    "streams.pictures.batch": 4,
    "streams.masks.batch": 4,
    "streams.unlabelled.views.threshold": 0.5,
    "training": {
        "steps": 40, "learning_rate": 5e-3, "validate_every": 20, "precision": "float32", "twin": True,
        "ema_decay": 0.9,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    images, maps = shapes(24, 0)
    maps[:, 0] = 255
    test_images, test_maps = shapes(6, 1)
    np.savez(folder / "shapes.npz", images=images, maps=maps, test_images=test_images, test_maps=test_maps)
    for row, image in enumerate(test_images[:3]):
        Image.fromarray(image).save(folder / f"image{row}.png")
        Image.fromarray(test_maps[row]).save(folder / f"mask{row}.png")
    return folder


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "shapes"
    return semivae.train("faces_masks", set=CHANGES, out=folder, data_root=data, device="cpu")


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


# Scores --------------------------------------------------------------------------------------------------------------


def test_scores_by_hand() -> None:
    """Four places, one of them void: predicted 0 0 1 (1), true 0 1 1 void."""
    p = torch.tensor([[0.9, 0.6, 0.2, 0.0], [0.1, 0.4, 0.8, 1.0]]).view(1, 2, 2, 2)
    found = scores_of([(p, torch.tensor([[[0, 1], [1, VOID]]]))], ("a", "b"))
    assert found["confusion"] == [[1, 0], [1, 1]]
    assert found["per_class"] == {"a": 0.5, "b": 0.5} and found["mean_iou"] == 0.5
    assert found["pixel_accuracy"] == pytest.approx(2 / 3) and found["error"] == pytest.approx(1 / 3)
    assert found["nll"] == pytest.approx(-np.log([0.9, 0.4, 0.8]).mean())
    assert found["brier"] == pytest.approx(np.mean([2 * 0.1**2, 2 * 0.6**2, 2 * 0.2**2]))
    assert found["ece"] == pytest.approx((0.1 + 0.6 + 0.2) / 3)


def test_a_class_that_nobody_has_does_not_count_and_parts_add_up() -> None:
    random = torch.Generator().manual_seed(0)
    maps = torch.randint(0, 2, (6, 4, 4), generator=random)
    p = torch.rand(6, 3, 4, 4, generator=random)
    p[:, 2] = 0
    p = p / p.sum(dim=1, keepdim=True)
    found = scores_of([(p, maps)], ("a", "b", "c"))
    assert found["per_class"]["c"] is None
    assert found["mean_iou"] == pytest.approx((found["per_class"]["a"] + found["per_class"]["b"]) / 2)
    low, high = found["mean_iou_interval"]
    assert low < found["mean_iou"] < high
    assert scores_of([(p[:1], maps[:1])], ("a", "b", "c"))["mean_iou_interval"] is None  # one says nothing of others
    parted = scores_of([(p[:2], maps[:2]), (p[2:], maps[2:])], ("a", "b", "c"))
    assert all(parted[key] == pytest.approx(found[key]) for key in ("mean_iou", "nll", "brier", "ece"))


# A run ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["faces_masks", "faces_masks_128", "celebamask_hq", "masks"])
def test_every_stream_of_the_recipes_teaches(name: str) -> None:
    lessons = plan_of(read_recipe(name)).lessons
    assert Lesson("labelled", "encoder", (), ("s",)) in lessons
    assert Lesson("pairs", "decoder", ("l",), ("x",)) in lessons
    assert not any(lesson.stream == "labelled" and lesson.learner == "decoder" for lesson in lessons)
    assert Lesson("unlabelled", "encoder", ("s",), ("s",), self_training=True) in lessons
    painted = ("l",) if name == "celebamask_hq" else ("s", "l")
    assert Lesson("masks", "encoder", ("l", "x"), painted) in lessons


def test_faces_at_128_are_the_same_game_and_can_be_played(tmp_path: Path) -> None:
    small, large = read_recipe("faces_masks"), read_recipe("faces_masks_128")
    assert (large.views, large.streams, large.split) == (small.views, small.streams, small.split)
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for name, count in (
        ("multipose01_train", 38),
        ("multipose01_test", 2),
        ("frontal02_train", 1),
        ("frontal02_test", 1),
    ):
        arrays[f"{name}_x"] = random.integers(0, 256, (count, 128, 128, 3), dtype=np.uint8)
        arrays[f"{name}_m"] = random.integers(0, 6, (count, 128, 128), dtype=np.uint8)
    np.savez(tmp_path / "fasseg_128.npz", **arrays)
    assert build_players(large), "its networks fit its images"
    narrow = {"decoder.x.net.channels": 3, "encoder.s.net.channels": 5, "encoder.l.net.channels": 4}
    changes: dict[str, object] = {"encoder.l.net.stem": 4}
    changes |= {f"streams.{name}.batch": 2 for name in large.streams}
    changes |= {key: [4] * levels for key, levels in narrow.items()}

    def stop(state: Progress) -> None:
        if state.step == 0 and not state.about_data and not state.message:
            signal.raise_signal(signal.SIGINT)  # after one step, before a validation, which paints 512 faces

    with pytest.raises(KeyboardInterrupt):
        semivae.train(
            "faces_masks_128", set=changes, out=tmp_path / "run", data_root=tmp_path, device="cpu", progress=stop
        )
    run = semivae.load(tmp_path / "run", device="cpu")
    assert run.facts.step == 1 and run.predict(arrays["multipose01_test_x"]).shape == (2, 128, 128)


def test_what_speaks_of_single_classes_is_refused() -> None:
    for change, message in (
        ({"streams.unlabelled.views.align": True}, "only single classes can be aligned, but s is a map"),
        (
            {"streams.unlabelled.views.information": 0.5, "streams.unlabelled.views.cutmix": 0},
            "the mutual-information loss needs a single class, but s is a map",
        ),
        ({"streams.unlabelled.vote": {}}, "votes on single classes only, but s is a map"),
    ):
        with pytest.raises(RecipeError, match=message):
            plan_of(read_recipe("faces_masks", change))


def test_evaluate_measures_model_and_twin(run: Run, data: Path) -> None:
    report = json.loads(command("evaluate", run.path, "--data-root", data, "--json").stdout)
    assert report["count"] == 6
    assert report["last"]["mean_iou"] > 0.6, "bright, grey and dark are easily told apart"
    assert set(report["twin"]["per_class"]) == {"ground", "square", "bar"}
    shown = command("evaluate", run.path, "--data-root", data).stdout
    assert "mean IoU" in shown and "supervised twin" in shown and "square" in shown
    assert report["painted"]["judge"] == "its supervised twin" and 0.3 < report["painted"]["agreement"] <= 1
    assert run.evaluate(judge=run)["painted"]["judge"] == str(run.path)
    refused = command("evaluate", run.path, "--data-root", data, "--vote")
    assert refused.exit_code == 1 and "the decoder votes on single classes only, but s is a map" in refused.stderr
    np.save(data / "images.npy", np.zeros((4, 3, SIDE, SIDE), np.uint8))
    refused = command("suggest", run.path, data / "images.npy", "-n", 2)
    assert refused.exit_code == 1 and "one feature vector per image, but s is a map; leave it out" in refused.stderr


def test_the_temperature_of_maps_has_the_least_nll_on_known_validation_places(run: Run, data: Path) -> None:
    report = json.loads(
        command("evaluate", run.path, "--data-root", data, "--calibrate", "--json", "--device", "cpu").stdout
    )
    calibrated = report["calibrated"]
    assert calibrated["calibrated_on"] == 8 and calibrated["temperature"] != 1.0
    assert calibrated["mean_iou"] == report["last"]["mean_iou"] and calibrated["nll"] != report["last"]["nll"]

    part = run.split().validation
    images, maps = (run.dataset().train[name][part] for name in ("x", "s"))
    known = maps != VOID

    def nll(temperature: float) -> float:
        p = Classifier(run, Calibration(temperature)).probabilities(images).movedim(1, -1)[known]
        return float(-p[torch.arange(len(p)), maps[known].long()].double().log().mean())

    chosen = run.classifier(calibrate=True).calibration
    assert chosen.nll_before == pytest.approx(nll(1.0), rel=1e-4)
    assert chosen.nll == pytest.approx(nll(chosen.temperature), rel=1e-4)
    for change in (0.9, 1.1):
        assert nll(chosen.temperature * change) > nll(chosen.temperature)
    shown = command("evaluate", run.path, "--data-root", data, "--calibrate").stdout
    assert "model, calibrated" in shown and f"temperature {chosen.temperature:.3g}: least NLL on 8 validation" in shown


def test_maps_cannot_be_calibrated_on_nothing(run: Run, data: Path, tmp_path: Path) -> None:
    short = {"split": {"labelled": 8, "validation": 7}, "training.steps": 1, "training.twin": False}
    few = semivae.train("faces_masks", set=CHANGES | short, out=tmp_path / "few", data_root=data, device="cpu")
    with pytest.raises(RunError, match="keeps 7 images for validation, and a calibration needs 8 or more"):
        few.classifier(calibrate=True)
    for labelled, unlabelled, advice in (
        (8, 10, r"train with --set split\.validation=17, or go without calibration and vote"),
        (8, 0, "its data have 15 labelled images, too few for that, so go without calibration and vote"),
    ):
        with pytest.raises(RunError, match=advice):
            refuse_few_validation_images(few, (labelled, unlabelled, 7))
    unread = Run.load(few.path, device="cpu", data_root=tmp_path / "no data")  # the answer needs no data
    with pytest.raises(RunError, match="keeps 7 images for validation"):
        unread.classifier(calibrate=True)
    void = Run.load(shutil.copytree(run.path, tmp_path / "void"), device="cpu", data_root=data)
    (void.path / "calibration.json").unlink(missing_ok=True)
    validation = void.split().validation
    void.dataset().train["s"][validation] = VOID
    with pytest.raises(RunError, match="void everywhere"):
        void.classifier(calibrate=True)
    for options in ({"vote": True}, {"prior": "uniform"}):
        with pytest.raises(RunError, match=r"class.*s is a map"):
            run.classifier(**options)


def test_masks_can_be_learnt_on_a_pretrained_body(data: Path, tmp_path: Path) -> None:
    body = {"name": "torchvision", "model": "shufflenet_v2_x0_5", "weights": "none", "size": 32}
    net = {"name": "pretrained_unet", "body": body, "width": 4, "hidden": 8}
    changes = {**CHANGES, "encoder.s.net": net, "training": {"steps": 2}}
    folder = tmp_path / "run"
    trained = semivae.train("faces_masks", set=changes, out=folder, data_root=data, device="cpu")
    kept = {name for name, value in trained.encoder.named_parameters() if "body.network." in name}
    opened = semivae.load(folder, device="cpu")
    assert kept and opened.predict([data / "image0.png"]).shape == (1, SIDE, SIDE)
    assert opened.embed([data / "image0.png"]).shape == (1, 8)


def test_predict_writes_masks_and_overlays(run: Run, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    images = tmp_path / "images"
    images.mkdir()
    for row in range(3):
        (images / f"image{row}.png").write_bytes((data / f"image{row}.png").read_bytes())
    assert command("predict", run.path, images, "--out", out, "--device", "cpu").exit_code == 0  # where `run` is
    with Image.open(out / "masks" / "image1.png") as mask, Image.open(out / "overlays" / "image1.png") as overlay:
        assert mask.mode == "P" and overlay.mode == "RGB" and overlay.size == (SIDE, SIDE)
        pixels = np.asarray(Image.open(images / "image1.png")).transpose(2, 0, 1)
        assert np.array_equal(np.asarray(mask), run.predict(pixels)[0])
        probabilities = Classifier(run).probabilities(run.preprocess(pixels))[0]
    with Image.open(out / "confidence" / "image1.png") as confidence:
        assert np.array_equal(np.asarray(confidence), (probabilities.amax(0) * 255).round().byte().numpy())
    assert (out / "palette.txt").read_text().splitlines()[1].startswith("square ")
    calibrated = command(
        "predict",
        run.path,
        images,
        "--out",
        tmp_path / "calibrated",
        "--calibrate",
        "--data-root",
        data,
        "--device",
        "cpu",
    )
    temperature = run.classifier(calibrate=True).calibration.temperature
    assert f"temperature {temperature:.3g}" in calibrated.stdout
    probabilities = Classifier(run, Calibration(temperature)).probabilities(run.preprocess(pixels))[0]
    with Image.open(tmp_path / "calibrated" / "confidence" / "image1.png") as confidence:
        assert np.array_equal(np.asarray(confidence), (probabilities.amax(0) * 255).round().byte().numpy())
    again = command("predict", run.path, images, "--out", out)
    assert again.exit_code == 1 and "not empty" in again.stderr
    assert command("predict", run.path, images, "--out", out, "--overwrite").exit_code == 0
    assert "folder" in command("predict", run.path, images).stderr


def test_masks_have_the_size_of_their_images(run: Run, data: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    with Image.open(data / "image0.png") as image:
        wide = Image.new("RGB", (8 * SIDE, 4 * SIDE))
        wide.paste(image.resize((4 * SIDE, 4 * SIDE), Image.Resampling.NEAREST), (2 * SIDE, 0))
        wide.save(images / "wide.png")
        image.save(images / "own.png")
    result = command("predict", run.path, images, "--out", tmp_path / "out", "--device", "cpu")
    assert "of 2 images 1 was cropped; masks are void, 255, outside" in result.stdout
    assert "note: 1 of 2 image files is cropped by more than 20%, wide.png by 50% of its area" in result.stderr
    masks = {name: np.asarray(Image.open(tmp_path / "out" / "masks" / f"{name}.png")) for name in ("wide", "own")}
    assert masks["own"].shape == (SIDE, SIDE) and masks["wide"].shape == (4 * SIDE, 8 * SIDE)
    assert (masks["wide"][:, : 2 * SIDE] == 255).all() and (masks["wide"][:, 6 * SIDE :] == 255).all()
    middle = masks["wide"][:, 2 * SIDE : 6 * SIDE]
    assert (middle == np.kron(masks["own"], np.ones((4, 4), np.uint8))).mean() > 0.8  # but for the edges
    with Image.open(tmp_path / "out" / "confidence" / "wide.png") as sure:
        assert sure.size == wide.size and np.asarray(sure)[:, 0].max() == 0 < np.asarray(sure)[:, 4 * SIDE].min()
    legend = (tmp_path / "out" / "legend.csv").read_text().splitlines()
    assert legend[0] == "number,class,red,green,blue" and legend[2].startswith("1,square,") and len(legend) == 5
    assert legend[-1] == "255,void,224,224,224"
    with Image.open(tmp_path / "out" / "masks" / "own.png") as mask:
        assert mask.getpalette()[3:6] == [int(level) for level in legend[2].split(",")[2:]]  # type: ignore[index]
    report = json.loads(
        command("predict", run.path, images, "--out", tmp_path / "more", "--device", "cpu", "--json").stdout
    )
    assert report["cropped_count"] == 1 and len(report["notes"]) == 1


def test_broken_images_are_named_beside_the_masks(run: Run, data: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.png").write_bytes((data / "image0.png").read_bytes())
    (images / "b.png").write_text("<html>")
    command("predict", run.path, images, "--out", tmp_path / "out", "--skip-unreadable", "--device", "cpu")
    assert (tmp_path / "out" / "unreadable.csv").read_text().startswith('name,reason\nb.png,"not a PNG, JPEG')
    assert [path.name for path in (tmp_path / "out" / "masks").iterdir()] == ["a.png"]


def test_sample_paints_a_given_mask_or_draws_one(run: Run, data: Path, tmp_path: Path) -> None:
    given = ["--given", f"s={data / 'mask0.png'}", "-n", 3, "--seed", 1]
    assert command("sample", run.path, *given, "--out", tmp_path / "a.npz").exit_code == 0
    with np.load(tmp_path / "a.npz") as arrays:
        assert np.array_equal(arrays["s"][2], np.asarray(Image.open(data / "mask0.png")))
        assert arrays["x"].shape == (3, 3, SIDE, SIDE) and len(np.unique(arrays["l"], axis=0)) > 1
    assert command("sample", run.path, *given, "--out", tmp_path / "a.png").exit_code == 0
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > picture.height, "each mask beside its image"
    free = run.sample(5, seed=0)
    maps = np.load(data / "shapes.npz")["maps"].astype(np.int64)
    maps[maps == 255] = VOID
    assert all(any(np.array_equal(drawn, known) for known in maps) for drawn in free["s"].numpy())
    with pytest.raises(DataError, match=r"a{200}\.\.\. cannot be looked up"):
        run.sample(1, s="a" * 3000)
    with pytest.raises(RunError, match=r"there is no mask file .*none.png"):
        run.sample(1, s="none.png")
    with pytest.raises(RunError, match=r"image0.png is not a mask for this run"):
        run.sample(1, s=str(data / "image0.png"))
    with pytest.raises(RunError, match="2 masks do not divide 3 samples"):
        run.sample(3, s=[str(data / "mask0.png"), str(data / "mask1.png")])


def test_a_run_keeps_the_palette_that_it_was_trained_with(data: Path, tmp_path: Path) -> None:
    with np.load(data / "shapes.npz") as arrays:
        for part, images, maps in (("train", "images", "maps"), ("test", "test_images", "test_maps")):
            for row, (image, numbers) in enumerate(zip(arrays[images], arrays[maps], strict=True)):
                for kind, pixels in (("images", image), ("masks", numbers)):
                    place = tmp_path / "faces" / part / kind / f"{row}.png"
                    place.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(pixels).save(place)
    palette = tmp_path / "faces" / "palette.txt"
    palette.write_text("ground 0 0 0\nsquare 255 0 0\nbar 0 0 255\n")
    source = {"name": "masks", "path": "faces", "size": SIDE, "palette": "palette.txt", "void": 255}
    changes = CHANGES | {"source": source, "training": {"steps": 1, "twin": False}}
    run = semivae.train("faces_masks", set=changes, out=tmp_path / "run", data_root=tmp_path, device="cpu")
    before = colours_of(run_palette(run))
    palette.write_text("ground 0 0 0\nsquare 0 0 255\nbar 255 0 0\nextra 9 9 9\n")
    assert np.array_equal(colours_of(run_palette(run)), before) and before[1].tolist() == [255, 0, 0]


def test_index_masks_hold_255_classes_and_void() -> None:
    palette = Palette(tuple(str(number) for number in range(300)))
    with Image.open(io.BytesIO(mask_png(np.array([[254, VOID]]), palette))) as mask:
        assert np.asarray(mask).tolist() == [[254, 255]]
    with pytest.raises(RunError, match="class 255 cannot be written to an index mask"):
        mask_png(np.array([[255]]), palette)


def test_exported_files_fit_pictures_and_say_so(run: Run, data: Path, tmp_path: Path) -> None:
    report = run.export(tmp_path / "model.pt2", with_preprocessing=True)
    classes, (_, height, width) = len(run.classes), run.inputs.shape
    assert report["output"]["shape"] == ["n", classes, height, width]
    picture = np.array(Image.open(data / "image0.png"))
    larger = picture.repeat(2, 0).repeat(3, 1)[None]
    found = torch.export.load(tmp_path / "model.pt2").module()(torch.from_numpy(larger))
    with pytest.warns(DataWarning, match="cropped by 33% of their area"):
        expected = run.classifier().probabilities(larger)
    torch.testing.assert_close(found.detach(), expected, atol=1e-5, rtol=1e-4)


def test_a_card_of_masks_names_their_scores(run: Run) -> None:
    text, scores = run.card(name="shapes"), run.evaluate()["last"]
    assert "pipeline_tag: image-segmentation" in text and f"| this model | {scores['mean_iou']:.2%} [" in text


@pytest.mark.parametrize("ending", [pytest.param("onnx", marks=pytest.mark.slow), "pt2"])
def test_exported_files_take_images_of_other_sizes(run: Run, ending: str, tmp_path: Path) -> None:
    report = run.export(tmp_path / f"model.{ending}", calibrate=True)
    assert report["largest_difference"] < 1e-4
    assert report["input"]["shape"] == ["n", 3, "2 rows", "2 columns"] and report["output"]["shape"][1] == 3
    assert report["temperature"] == run.classifier(calibrate=True).calibration.temperature != 1.0
    larger = torch.rand(2, 3, 2 * SIDE, SIDE + 2)
    factor = run.encoder["s"]
    with torch.no_grad():
        expected = (factor.parameters_of({"x": larger}) / report["temperature"]).softmax(dim=1)
    if ending == "onnx":
        runtime = pytest.importorskip("onnxruntime")
        found = torch.from_numpy(
            runtime.InferenceSession(tmp_path / "model.onnx").run(None, {"images": larger.numpy()})[0]
        )
    else:
        found = torch.export.load(tmp_path / "model.pt2").module()(larger)
    assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("ending", ["onnx", "pt2"])
def test_a_side_with_one_place_on_the_coarsest_grid_stays_as_it_is(ending: Format, tmp_path: Path) -> None:
    """Two rows are one place on the coarse grid, and stay; the columns are free."""
    torch.manual_seed(0)
    image, label = Variable("x", "discretized_logistic", (3, 2, 4)), Variable("s", "categorical", (2, 4), 3)
    factor = NetworkConditional(label, (image,), Unet((3, 2, 4), 0, (3, 2, 4), channels=(4, 4), hidden=4))
    for parameter in factor.parameters():  # a fresh head is nearly zero and would hide mistakes
        torch.nn.init.normal_(parameter, std=0.1)
    model = EncoderPart(factor, "x", "classifier").eval()
    images, wider = torch.rand(4, 3, 2, 4), torch.rand(3, 3, 2, 10)
    assert model.free_sides(images) == (3,)
    WRITERS[ending](model, images, tmp_path / f"model.{ending}", {})
    exported = READERS[ending](tmp_path / f"model.{ending}", model)
    assert max(check(exported, each, model(each).detach()) for each in (images, wider)) < 1e-5


def test_seeds_are_compared_by_mean_iou(data: Path, tmp_path: Path) -> None:
    changes = [f"{key}={json.dumps(value)}" for key, value in CHANGES.items()]
    options = [word for change in changes for word in ("--set", change)] + ["--set", "training.steps=1", "--no-twin"]
    result = command(
        "train", "faces_masks", *options, "--data-root", data, "--out", tmp_path / "runs", "--seeds", "0,1"
    )  # fmt: skip
    assert result.exit_code == 0 and "Mean IoU per split seed" in result.stdout


def test_diagnosis_counts_places_and_leaves_void_ones_out(run: Run) -> None:
    report = run.diagnose(samples=20)
    assert report["validation"]["count"] == 8
    for found in (*report["validation"]["readers"].values(), *report["samples"]["readers"].values()):
        low, high = found["interval"]
        assert 0.0 <= low <= high <= 1.0
    error = report["validation"]["readers"]["its own encoder"]["error"]
    part = run.split().validation
    images, maps = (run.dataset().train[name][part] for name in ("x", "s"))
    known = maps != VOID
    assert error == pytest.approx(float((torch.from_numpy(run.predict(images)) != maps)[known].float().mean()))


# Imputation ----------------------------------------------------------------------------------------------------------


def test_known_places_of_a_map_are_held_and_the_others_drawn(run: Run) -> None:
    images = run.preprocess(run.dataset().test["x"][:2]).cpu()
    half = run.dataset().test["s"][:2].long()
    half[:, SIDE // 2 :] = VOID
    nothing = torch.zeros_like(images, dtype=torch.bool)
    found = impute(run, images, nothing, {"s": half}, draws=3, rounds=2)
    assert found.labels is not None and found.labels.shape == (2, 3, SIDE, SIDE)
    assert torch.equal(found.labels[:, :, : SIDE // 2], half[:, None, : SIDE // 2].expand(2, 3, SIDE // 2, SIDE))
    assert found.labels.min() >= 0  # what was void has a class in every draw
    assert torch.equal(found.draws, images[:, None].expand(2, 3, *images.shape[1:]))
    painted = impute(run, images, ~nothing, {"s": half}, draws=2, rounds=2)  # no pixel known: half a map alone
    assert painted.spread.max() > 0 and not torch.equal(painted.mean, images)


def test_impute_command_finishes_a_half_drawn_mask(run: Run, data: Path, tmp_path: Path) -> None:
    with Image.open(data / "mask0.png") as drawn:
        numbers = np.array(drawn)
    numbers[SIDE // 2 :] = 255
    Image.fromarray(numbers).save(tmp_path / "half.png")
    Image.fromarray(np.full((SIDE, SIDE), 255, np.uint8)).save(tmp_path / "missing.png")
    arguments = (
        "impute",
        run.path,
        data / "image0.png",
        "--mask",
        tmp_path / "missing.png",
        "--rounds",
        2,
        "--draws",
        2,
    )
    result = command(*arguments, "--given", f"s={tmp_path / 'half.png'}", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "out" / "masks" / "image0.png") as finished:
        assert np.array_equal(np.array(finished)[: SIDE // 2], numbers[: SIDE // 2])
        assert np.array(finished).max() < 3
    with Image.open(
        tmp_path / "out" / "imputed.png"
    ) as picture:  # known part, mean, spread, 2 draws, each beside its map
        assert picture.width > 5 * 2 * SIDE
    assert "everything as missing" in command(*arguments, "--out", tmp_path / "other").stderr


def test_images_that_differ_in_their_endings_alone_get_masks_of_their_own() -> None:
    assert mask_names(["b/a.jpg", "c.png"]) == ["b/a.png", "c.png"]
    assert mask_names(["a.jpg", "a.png"]) == ["a.jpg.png", "a.png.png"]


def test_chains_start_from_masks_of_the_data_where_the_decoder_has_no_prior_of_them(run: Run, tmp_path: Path) -> None:
    result = command("chain", run.path, "--out", tmp_path / "out", "--rounds", 1, "-n", 2, "--json")
    assert result.exit_code == 0, result.output
    assert [chain["start"] for chain in json.loads(result.stdout)["chains"]] == ["random", "data", "model"]


def test_chains_without_any_start_are_refused_before_anything_is_written(run: Run, tmp_path: Path) -> None:
    alone = tmp_path / "run"
    shutil.copytree(run.path, alone)
    recipe = YAML().load(alone / "recipe.yaml")
    del recipe["streams"]["masks"]
    YAML().dump(recipe, alone / "recipe.yaml")
    result = command("chain", alone, "--out", tmp_path / "out", "--rounds", 1, "-n", 2)
    assert "no stream shows s without x" in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()


def test_folders_for_masks_are_asked_for_not_tables(run: Run, data: Path) -> None:
    shown = command("predict", run.path, data, "--out", "masks.csv").stderr
    assert "give a folder" in " ".join(shown.replace("│", " ").split())


# Benchmark -----------------------------------------------------------------------------------------------------------


def test_the_benchmark_says_what_the_runs_say(run: Run, data: Path, tmp_path: Path) -> None:
    arguments = [str(run.path), str(run.path), "--ceiling", str(run.path), "--data-root", str(data)]
    outputs = ["--out", str(tmp_path / "page"), "--picture", str(tmp_path / "rows.png")]
    result = CliRunner().invoke(benchmark, [*arguments, *outputs, "--device", "cpu", "--note", "Trained on a boat."])
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "rows.png") as picture:
        width, height = picture.size
    assert width - 2 * 9 == 2 * (height - 2 * 5)  # eight columns, four rows, and their margins
    report = run.evaluate()
    whole, twin = (100 * report[name]["mean_iou"] for name in ("last", "twin"))
    page = (tmp_path / "page.md").read_text()
    both = f"| {whole:.2f}% ± 0.00 ({whole:.2f}, {whole:.2f}) | {twin:.2f}% ± 0.00 ({twin:.2f}, {twin:.2f}) |"
    assert f"| **mean IoU** {both}" in page
    assert f"| **mean IoU** | {whole:.2f}% | {twin:.2f}% |" in page
    assert f"Gain in mean IoU: {whole - twin:.2f} points" in page
    assert "## 8 pairs, split seeds 0, 0" in page and "- Trained on a boat.\n" in page
    painted = json.loads((tmp_path / "page.json").read_text())["runs"][0]["painted"]
    assert painted["own twin"] == painted["twin of all pairs"] == report["painted"]["agreement"]


def test_the_benchmark_does_without_a_run_with_all_pairs(run: Run, data: Path, tmp_path: Path) -> None:
    arguments = [str(run.path), "--data-root", str(data), "--out", str(tmp_path / "page")]
    result = CliRunner().invoke(benchmark, arguments)
    assert result.exit_code == 0, result.output
    page = (tmp_path / "page.md").read_text()
    assert "## 8 pairs, split seeds 0" in page and "## All" not in page and "own twin" in page


def test_the_benchmark_overwrites_nothing_else(run: Run, tmp_path: Path) -> None:
    (tmp_path / "page.json").write_text("{}")
    result = CliRunner().invoke(benchmark, [str(run.path), "--ceiling", str(run.path), "--out", str(tmp_path / "page")])
    assert result.exit_code == 1 and "choose another place with --out" in result.output
    assert (tmp_path / "page.json").read_text() == "{}"
