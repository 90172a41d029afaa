"""Pictures beside features: painted, read, compared, filled in and scored, whatever size the classifier sees."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import semivae
from semivae.cli import app
from semivae.data.inputs.examples import Examples
from semivae.errors import RecipeError, RunError
from semivae.generative.chain import STARTS, one_round, run_chains
from semivae.generative.features import FeatureSpace, quality
from semivae.generative.imputation import _as_painted, impute
from semivae.generative.likelihood import picture_scores
from semivae.recipe import read_recipe
from semivae.reports.diagnosis import OF_PICTURES, OWN, TWIN
from semivae.scenario.plan import painter_plan, plan_of, roles_of
from tests.test_features import RECIPE, colours

PICTURES = RECIPE.replace(
    "  f: {family", "  x: {family: discretized_logistic, complete_with: mean}\n  f: {family"
).replace("h: uniform,", "h: uniform, x: {given: [y, h], net: {name: mlp, hidden: [16]}},")
PAINTED = (
    PICTURES.replace(
        "training: {steps: 30",
        "  pictures: {observe: [f, x], batch: 16}\ntraining: {twin: true, learning_rate: 0.01, steps: 100",
    )
    + """
painter:
  net: {name: unet, channels: [8], modulate_down: true}
  flow: {steps: 3, guidance: 2, guides: [y]}
  steps: 100
  warmup: 10
  learning_rate: 5e-3
  ema_decay: 0.95
  batch: 8
"""
)


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colours(tmp_path_factory.mktemp("data"), 40, 12)


@pytest.fixture(scope="module")
def run(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> semivae.Run:
    recipe = written(tmp_path_factory.mktemp("recipe"), PAINTED)
    torch.manual_seed(0)  # of the network with random weights
    return semivae.train(recipe, out=tmp_path_factory.mktemp("runs") / "r", data_root=data_root, device="cpu")


def written(folder: Path, text: str) -> Path:
    path = folder / "colours.yaml"
    path.write_text(text)
    return path


def redness(pictures: torch.Tensor) -> torch.Tensor:
    """How much more red than blue each picture [n, 3, height, width] is."""
    return (pictures[:, 0] - pictures[:, 2]).mean(dim=(1, 2))


def test_what_is_shown_is_the_picture_beside_features_that_the_decoder_draws(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, PAINTED))
    assert (roles_of(recipe).image, roles_of(recipe).shown) == ("f", "x")
    (lesson,) = painter_plan(recipe).lessons
    assert (lesson.stream, lesson.draws, lesson.scores) == ("pictures", ("y", "h"), ("x",))
    alone = read_recipe(written(tmp_path, RECIPE))
    assert (roles_of(alone).shown, roles_of(alone).pictures) == ("f", None)


def test_a_picture_that_nobody_draws_is_not_asked_for(tmp_path: Path) -> None:
    text = RECIPE.replace("  f: {family", "  x: {family: bernoulli}\n  f: {family").replace(
        "labels: {observe", "more: {observe: [f, x], batch: 4}\n  labels: {observe"
    )
    with pytest.raises(RecipeError, match=r"streams.more.observe: .* x"):
        plan_of(read_recipe(written(tmp_path, text)))


def test_samples_are_the_painters_pictures_beside_the_decoders_features(run: semivae.Run) -> None:
    assert run.painter is not None and run.painter.flow.target.name == "x"
    drawn = run.sample(16, y=["blue", "red"], seed=0)
    assert drawn["x"].shape == (16, 3, 8, 8) and drawn["f"].shape == (16, *(run.recipe.variables["f"].shape or ()))
    assert redness(drawn["x"])[8:].min() > redness(drawn["x"])[:8].max()
    parents = {name: drawn[name] for name in ("y", "h")}
    assert torch.equal(drawn["f"], run.decoder["f"](parents).mean)
    assert not torch.allclose(drawn["x"], run.decoder["x"](parents).mean)
    noisy = run.sample(16, y=["blue", "red"], seed=0, noise=True)
    assert torch.equal(noisy["h"], drawn["h"]) and not torch.equal(noisy["f"], drawn["f"])


def test_pictures_of_any_size_become_what_the_encoder_sees(run: semivae.Run, data_root: Path) -> None:
    files = sorted((data_root / "colours" / "test").rglob("*.png"))
    seen = [np.asarray(Image.open(file).resize((40, 32), Image.Resampling.BICUBIC))[:, 4:36] for file in files]
    pictures = torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(run.of_pictures(pictures), run.read(files)[0], rtol=0.05, atol=0.05)
    assert run.of_pictures(pictures[:2, :, :8, :8]).shape == (2, *(run.recipe.variables["f"].shape or ()))


def test_a_diagnosis_says_how_pictures_are_read(run: semivae.Run) -> None:
    readers = run.diagnose(samples=100)["samples"]["readers"]
    looking = [OF_PICTURES.format(reader=name) for name in (OWN, TWIN)]
    assert list(readers) == [OWN, TWIN, *looking]
    assert readers[looking[0]]["read_as_intended"] > 0.9


def test_an_independent_reader_may_start_from_pixels(run: semivae.Run, data_root: Path, tmp_path: Path) -> None:
    pixels = {
        "source": {"name": "folder", "path": "colours", "size": 8},
        "split": {"labelled": 8},
        "variables": {"x": {"family": "bernoulli"}, "y": {"family": "categorical"}},
        "decoder": {"y": "uniform", "x": {"given": ["y"], "net": {"name": "mlp", "hidden": [8]}}},
        "encoder": {"y": {"given": ["x"], "net": {"name": "mlp", "hidden": [8]}}},
        "streams": {"labelled": {"observe": ["x", "y"], "batch": 8}},
        "training": {"steps": 30},
    }
    path = tmp_path / "pixels.yaml"
    path.write_text(json.dumps(pixels))
    reader = semivae.train(path, out=tmp_path / "pixels", data_root=data_root, device="cpu")
    readers = run.diagnose(reader=reader, samples=100)["samples"]["readers"]
    assert readers[f"reader {reader.path}"]["read_as_intended"] > 0.9
    found = quality(run, FeatureSpace.of(reader, run), 10, seed=0)
    assert found["random_code"]["frechet"] > found["training_images"]["frechet"] > 0


def test_distances_in_the_runs_own_features_compare_pictures(run: semivae.Run) -> None:
    found = quality(run, FeatureSpace.of(run, run), 10, seed=0)
    assert found["random_code"]["frechet"] > 0
    pictures = run.dataset().test["x"][:4]
    expected = run.of_pictures(pictures / 255)
    torch.testing.assert_close(run.of_pictures(run.shown_inputs.values(pictures)), expected)


def test_chains_show_pictures(run: semivae.Run) -> None:
    for start in STARTS:
        states = list(run_chains(run, start, 3, (0, 1), seed=0))
        assert all(state.images.shape == (3, 3, 8, 8) for state in states)
    (first,) = run_chains(run, "data", 3, (0,), seed=0)
    test = run.dataset().test["x"] / 255
    assert all(any(torch.equal(image, one) for one in test) for image in first.images)


def test_a_hole_is_filled_with_what_the_rest_is_of(run: semivae.Run, data_root: Path) -> None:
    files = [data_root / "colours" / "test" / name / "00.png" for name in ("blue", "red")]
    pictures = run.canvas.values(run.canvas.read(files).values)
    assert pictures.shape == (2, 3, 32, 32)
    missing = torch.zeros_like(pictures, dtype=torch.bool)
    missing[..., 20:] = True
    found = impute(run, pictures, missing, draws=2, rounds=3)
    for draw in found.draws.unbind(1):
        assert torch.equal(draw[..., :20], pictures[..., :20])
        filled = redness(draw[..., 20:])
        assert filled[1] > filled[0] + 0.2
    assert found.labels is not None and found.labels.shape == (2, 2)
    with pytest.raises(RunError, match="x cannot be given here"):
        impute(run, pictures, missing, {"x": 0.5}, draws=1, rounds=1)


def test_a_small_pixel_is_missing_where_any_of_its_parts_is(run: semivae.Run) -> None:
    images = torch.zeros(1, 3, 32, 32)
    images[..., 4:8, :4] = 1.0
    missing = torch.zeros_like(images, dtype=torch.bool)
    missing[..., 31, 5] = True
    small, holes = _as_painted(run, images, missing)
    assert small[0, 0].nonzero().tolist() == [[1, 0]] and small.max() == 1.0
    assert holes[0, 0].nonzero().tolist() == [[7, 1]]


def test_a_picture_is_scored_by_the_codes_of_its_features(run: semivae.Run) -> None:
    """With one draw, and a label that leaves no doubt, the score is the decoder's of that label and drawn codes."""
    test = run.dataset().test
    rows = [int(torch.nonzero(test["y"] == number)[0]) for number in (0, 1)]
    of_features, pictures = test["f"][rows], test["x"][rows]
    own, other = (
        picture_scores(run, Examples({"f": of_features, "x": seen}), 64, seed=0)
        for seen in (pictures, pictures.flip(0))
    )
    assert (own > other + 100).all()
    torch.manual_seed(0)
    sample = run.encoder.complete({"f": of_features.float()}, sampled=True)
    expected = run.decoder.log_prob({**sample, "x": pictures / 255}, ["x"])["x"]
    found = picture_scores(run, Examples({"f": of_features, "x": pictures}), 1, seed=0)
    torch.testing.assert_close(torch.from_numpy(found), expected.double(), rtol=1e-5, atol=1e-2)


def test_pictures_unlike_their_kind_are_novel(run: semivae.Run, data_root: Path, tmp_path: Path) -> None:
    for number in range(20):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 30, 3)).astype(np.uint8)
        pixels[..., 1] = 255
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    found = run.novelty(tmp_path)
    assert found.report["pictures"]["auroc"] > 0.95
    assert found.scores.pictures is not None and found.scores.pictures.shape == (20,)


def test_commands_show_and_write_pictures(run: semivae.Run, data_root: Path, tmp_path: Path) -> None:
    red = str(data_root / "colours" / "test" / "red")
    mask = tmp_path / "mask.png"
    Image.fromarray(np.tile(np.array([0] * 20 + [255] * 10, np.uint8), (24, 1))).save(mask)
    for command in (
        ["sample", "-n", "4", "--out", str(tmp_path / "drawn.png")],
        ["impute", red, "--mask", str(mask), "--out", str(tmp_path / "filled"), "--draws", "1", "--rounds", "1"],
        ["novelty", red, "--out", str(tmp_path / "novel.csv")],
        ["report", "--out", str(tmp_path / "report.html")],
        ["chain", "--out", str(tmp_path / "chain"), "-n", "4", "--rounds", "1", "--features", str(run.path)],
    ):
        options = [] if command[0] == "report" else ["--data-root", str(data_root)]
        done = CliRunner().invoke(app, [command[0], str(run.path), *command[1:], *options])
        assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "filled" / "imputed.png") as filled:
        assert filled.size[1] > 32
    assert "pictures,pictures_p" in (tmp_path / "novel.csv").read_text()
    assert "looking at the pictures" in (tmp_path / "report.html").read_text()
    assert len(list((tmp_path / "chain").glob("*.png"))) > 3


FROM_FEATURES = (
    PAINTED[: PAINTED.index("painter:")]
    .replace(" x: {given: [y, h], net: {name: mlp, hidden: [16]}},", "")
    .replace("f: {given: [y, h], net: {name: mlp, hidden: [16]}}}", "f: {given: [y], net: {name: mlp, hidden: []}},")
    .replace("\nencoder:", " x: {given: [y, f], net: {name: mlp, hidden: [16]}}}\nencoder:")
    .replace("  h: {family: bernoulli, shape: [4]}\n", "")
    .replace(" h: uniform,", "")
    .replace(", h: {given: [f, y], net: {name: mlp, hidden: [16]}}", "")
)


def test_pictures_may_be_painted_from_their_features(data_root: Path, tmp_path: Path) -> None:
    """As in the template `photos`: what is read, filled in or followed then has the picture's own features."""
    run = semivae.train(written(tmp_path, FROM_FEATURES), out=tmp_path / "run", data_root=data_root, device="cpu")
    images = run.shown_inputs.values(run.dataset().test["x"])[:12]
    missing = torch.zeros_like(images, dtype=torch.bool)
    missing[..., 4:8, 4:8] = True
    found = impute(run, images, missing, draws=2, rounds=3).mean
    assert torch.equal(found[~missing], images[~missing])
    assert (redness(found) * redness(images) > 0).all()
    rounds = list(run_chains(run, "data", 6, (0, 2), 0))
    assert rounds[-1].images.shape == (6, *images.shape[1:])
    features = run.dataset().test["f"][:6].float()
    drawn, looked = one_round(run, features, looks=True)
    with torch.no_grad():
        labels = run.encoder.complete({"f": features})["y"]
        expected = run.decoder["x"].picture({"f": drawn, "y": labels})  # with the features that were drawn
        each = [
            run.decoder.log_prob({"f": features, "x": images[:6], "y": torch.full((6,), y)}, ["x"])["x"] for y in (0, 1)
        ]
    assert looked is not None
    torch.testing.assert_close(looked.images, run.shown_inputs.as_shown(expected))
    scores = torch.from_numpy(picture_scores(run, Examples({"f": features, "x": images[:6]}), 64, seed=0))
    low, high = torch.stack(each).double().aminmax(dim=0)  # a mean of p over codes, of which y is the only one
    assert ((low - 0.5 <= scores) & (scores <= high + 0.5)).all()  # in float32; a sum is log 64 = 4.2 nats higher
    assert run.sample(2, y="red", seed=0)["x"].shape == (2, *images.shape[1:])
