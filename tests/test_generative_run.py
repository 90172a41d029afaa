"""Likelihood, consistency, chains and imputation of really trained runs, and the commands for them."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

import semivae
from semivae.api import Run
from semivae.cli import app
from semivae.cli.opening import given_values
from semivae.errors import DataError, RunError
from semivae.generative.chain import run_chains, usual_rounds
from semivae.generative.codes import draw_codes
from semivae.generative.features import FeatureSpace, quality
from semivae.generative.imputation import impute, missing_of
from semivae.generative.likelihood import consistency, likelihood
from semivae.recipe import change_recipe
from semivae.runs.folder import write_recipe


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Digits with three bits, black and white: all 80 codes can be summed over."""
    changes = {
        "source.binarize": 0.5,
        "variables.h.shape": [3],
        "training.steps": 20,
        "training.validate_every": 20,
        "training.twin": False,
    }
    return semivae.train("digits_50labels", set=changes, out=tmp_path_factory.mktemp("runs") / "small", device="cpu")


def exact_log_likelihood(run: Run, images: torch.Tensor) -> torch.Tensor:
    """log p(x) of each image, summed over all labels and bits."""
    codes = list(itertools.product(range(10), *[(0.0, 1.0)] * 3))
    y, h = torch.tensor([code[0] for code in codes]), torch.tensor([code[1:] for code in codes])
    found = []
    for image in images:
        sample = {"x": image.expand(80, 1, 8, 8), "y": y, "h": h}
        log_p = torch.stack(list(run.decoder.log_prob(sample, ["x", "y", "h"]).values())).sum(0)
        found.append(log_p.logsumexp(0))
    return torch.stack(found)


@pytest.mark.parametrize("completes", ["sample", "mode"])
def test_bounds_lie_below_the_exact_likelihood_and_close_in(small_run: Run, tmp_path: Path, completes: str) -> None:
    if completes != "sample":  # importance weights are of draws, however the game completes
        folder = shutil.copytree(small_run.path, tmp_path / "copy")
        write_recipe(folder, change_recipe(small_run.recipe, {"variables.y.complete_with": completes}))
        small_run = Run.load(folder, device="cpu")
    images = small_run.dataset().test["x"][:6]
    exact = exact_log_likelihood(small_run, images.float() / 255).mean().item()
    few, many = (likelihood(small_run, images, draws, seed=0) for draws in (4, 2000))
    assert few["elbo"] < exact
    # one bound of few draws can be too high by luck, the mean of 20 cannot
    assert np.mean([likelihood(small_run, images, 4, seed=seed)["bound"] for seed in range(20)]) < exact
    assert abs(many["bound"] - exact) < 0.2, "with 2,000 draws of 80 codes nearly nothing is missing"
    assert many["bits_per_dimension"] == pytest.approx(-many["bound"] / 64 / np.log(2))
    assert set(many["rate"]) == {"y", "h"}
    assert few["elbo"] == pytest.approx(-few["reconstruction"] - sum(few["rate"].values()), abs=1e-3)


def test_consistency_of_an_encoder_that_ignores_images(small_run: Run) -> None:
    found = consistency(small_run, 100, seed=0)
    assert set(found) == {"y", "h"}
    for entry in found.values():
        assert 0.0 <= entry["read_back"] <= 1.0 and np.isfinite(entry["surprise"])
    assert consistency(small_run, 100, seed=0) == found


def test_rounds_that_are_looked_at() -> None:
    assert usual_rounds(1) == (0, 1)
    assert usual_rounds(30) == (0, 1, 2, 5, 10, 20, 30)
    assert usual_rounds(1000) == (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@pytest.mark.parametrize("start", ["random", "data", "model"])
def test_chains_repeat_and_hold_what_they_promise(small_run: Run, start: str) -> None:
    one, other = (list(run_chains(small_run, start, 7, (0, 1, 3), seed=1)) for _ in range(2))  # type: ignore[arg-type]
    assert [state.number for state in one] == [0, 1, 3]
    assert all(torch.equal(a.images, b.images) for a, b in zip(one, other, strict=True))
    for state in one:
        assert state.images.shape == (7, 1, 8, 8)
        assert set(state.images.unique().tolist()) <= {0.0, 1.0}, "black and white data, black and white pictures"
    assert one[0].counts == [] and len(one[2].counts) == 10 and sum(one[2].counts) == 7
    assert set(one[2].bits) == {"h"} and not one[0].bits


def test_looking_does_not_change_a_chain(small_run: Run) -> None:
    with_look = list(run_chains(small_run, "random", 5, (1, 2, 3), seed=0))[-1]
    without = list(run_chains(small_run, "random", 5, (3,), seed=0))[-1]
    assert torch.equal(with_look.images, without.images)


def test_quality_names_its_features_and_its_floor(small_run: Run, tiny_run: Run) -> None:
    report = quality(small_run, FeatureSpace.of(tiny_run, small_run), 100, seed=0)
    assert str(tiny_run.path) in report["features"] and "not Inception" in report["features"]
    assert report["training_images"]["frechet"] < report["random_code"]["frechet"]
    assert report["training_images"]["recall"] > report["random_code"]["recall"]


def test_twins_have_nothing_to_generate(tiny_run: Run) -> None:
    twin = tiny_run.at("twin")
    for attempt in (
        lambda: list(run_chains(twin, "random", 2, (1,), seed=0)),
        lambda: likelihood(twin, torch.zeros(2, 1, 8, 8), 2, 0),
        lambda: consistency(twin, 2, 0),
        lambda: impute(twin, torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 8, 8) > 0),
    ):
        with pytest.raises(RunError, match="the supervised twin has no decoder"):
            attempt()


# Imputation ----------------------------------------------------------------------------------------------------------


def half_missing(count: int) -> torch.Tensor:
    missing = torch.zeros(count, 1, 8, 8, dtype=torch.bool)
    missing[..., 4:, :] = True
    return missing


def test_what_is_known_stays_and_what_is_missing_varies(small_run: Run) -> None:
    images, missing = torch.rand(3, 1, 8, 8).round(), half_missing(3)
    result = impute(small_run, images, missing, draws=16, rounds=3)
    assert result.draws.shape == (3, 16, 1, 8, 8)
    assert torch.equal(result.draws[..., :4, :], images[:, None, :, :4].expand(3, 16, 1, 4, 8))
    assert result.spread[..., :4, :].max() == 0 and result.spread[..., 4:, :].max() > 0
    torch.testing.assert_close(result.mean, result.draws.mean(1))
    assert result.labels is not None and result.labels.shape == (3, 16)
    assert result.label_shares(10).shape == (3, 10)
    torch.testing.assert_close(result.label_shares(10).sum(1), torch.ones(3))
    assert impute(small_run, images, missing, draws=1, rounds=1).spread.max() == 0


def test_a_known_label_is_held(small_run: Run) -> None:
    result = impute(small_run, torch.zeros(2, 1, 8, 8), half_missing(2), {"y": [3, 7]}, draws=4, rounds=2)
    assert result.labels is not None and result.labels.tolist() == [[3] * 4, [7] * 4]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"x": 0}, "x cannot be given here: it is what is imputed"),
        ({"h": 0}, "h cannot be given without y, which the encoder draws before it"),
        ({"y": 11}, "y: class 11 is unknown"),
    ],
)
def test_values_that_cannot_be_held(small_run: Run, given: dict[str, object], message: str) -> None:
    with pytest.raises(RunError, match=message):
        impute(small_run, torch.zeros(2, 1, 8, 8), half_missing(2), given)


def test_masks_that_do_not_fit(small_run: Run) -> None:
    assert missing_of(small_run, torch.tensor([[[[1.0] * 8] * 4 + [[0.0] * 8] * 4]]), 3).shape == (3, 1, 8, 8)
    for masks, message in (
        (torch.ones(2, 1, 8, 8), "2 masks for 3 images"),
        (torch.ones(1, 1, 9, 8), r"a mask has shape \[1, 9, 8\]"),
        (torch.ones(1, 1, 8, 8), "marks everything as missing"),
        (torch.zeros(1, 1, 8, 8), "marks nothing as missing"),
    ):
        with pytest.raises(DataError, match=message):
            missing_of(small_run, masks, 3)


# Commands ------------------------------------------------------------------------------------------------------------


def test_chain_command_leaves_pictures_curves_and_numbers(small_run: Run, tiny_run: Run, tmp_path: Path) -> None:
    out = tmp_path / "chain"
    arguments = ["chain", small_run.path, "--rounds", 2, "-n", 20, "--features", tiny_run.path, "--out", out]
    result = command(*arguments, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads((out / "chain.json").read_text())
    assert json.loads(result.stdout) == report | {"out": str(out)}
    assert [chain["start"] for chain in report["chains"]] == ["random", "data", "model"]
    for chain in report["chains"]:
        assert [row["round"] for row in chain["curve"]] == [0, 1, 2]
        assert all(row["frechet"] >= 0 and sum(row["labels"]) == pytest.approx(1.0) for row in chain["curve"])
    assert {"data_round00002.png", "frechet.svg", "bits.svg"} <= {path.name for path in out.iterdir()}
    again = command(*arguments)
    assert again.exit_code == 1 and "exists and is not empty" in again.stderr
    assert command(*arguments, "--overwrite", "--start", "data").exit_code == 0


def test_likelihood_and_quality_commands(small_run: Run, tiny_run: Run) -> None:
    result = command("likelihood", small_run.path, "--draws", 2, "-n", 20)
    assert result.exit_code == 0 and "log p(x) at least" in result.stdout and "read back" in result.stdout
    report = json.loads(command("likelihood", small_run.path, "--draws", 2, "-n", 20, "--json").stdout)
    assert report["count"] == 20 and set(report["consistency"]) == {"y", "h"}
    result = command("quality", small_run.path, "--features", tiny_run.path, "-n", 50)
    assert result.exit_code == 0 and "not Inception's" in result.stdout


def test_what_is_missing_has_the_shape_of_the_images(small_run: Run) -> None:
    for masks in (half_missing(3), half_missing(2)[:, :, :, :4]):
        with pytest.raises(DataError, match=r"missing has the shape \(.*\) and the images \(2, 1, 8, 8\); give"):
            impute(small_run, torch.zeros(2, 1, 8, 8), masks)


def test_impute_command(small_run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8))
    mask = np.zeros((8, 8), dtype=np.uint8)
    mask[:, :3] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    out = tmp_path / "filled"
    arguments = ["impute", small_run.path, tmp_path / "images.npy", "--mask", tmp_path / "mask.png", "--out", out]
    result = command(*arguments, "--draws", 3, "--rounds", 2, "--given", "y=3")
    assert result.exit_code == 0, result.output
    with np.load(out / "imputed.npz") as arrays:
        assert arrays["draws"].shape == (3, 3, 1, 8, 8) and arrays["labels"].argmax(1).tolist() == [3, 3, 3]
    with Image.open(out / "imputed.png") as picture:
        assert picture.width > picture.height > 32
    assert "choose another folder" in command(*arguments).stderr
    np.save(tmp_path / "masks.npy", np.ones((2, 8, 8), dtype=np.float32))
    wrong = command(*arguments[:4], tmp_path / "masks.npy", "--out", tmp_path / "other")
    assert wrong.exit_code == 1 and "2 masks for 3 images" in wrong.stderr


def test_masks_in_a_folder_are_those_of_their_images_names(small_run: Run, tmp_path: Path) -> None:
    for folder, names in (("images", "ab"), ("masks", "bac")):
        (tmp_path / folder).mkdir()
        for column, name in enumerate(names):
            pixels = np.zeros((8, 8), dtype=np.uint8)
            pixels[:, 3 + column] = 255  # inner columns, which vary
            Image.fromarray(pixels).save(tmp_path / folder / f"{name}.png")
    arguments = ["impute", small_run.path, tmp_path / "images", "--mask", tmp_path / "masks", "--out", tmp_path / "out"]
    result = command(*arguments, "--draws", 8, "--rounds", 2)
    assert result.exit_code == 0, result.output
    with np.load(tmp_path / "out" / "imputed.npz") as arrays:
        changed = arrays["spread"].any(axis=(1, 2))  # of each image, columns that vary over the draws
    assert changed.nonzero()[0].tolist() == [0, 1] and changed.nonzero()[1].tolist() == [4, 3]
    (tmp_path / "masks" / "a.png").unlink()
    wrong = command(*arguments, "--overwrite")
    assert wrong.exit_code == 1 and "no mask for a; give one mask for all images" in " ".join(wrong.stderr.split())


def test_codes_name_classes_whose_numbers_are_other_classes_names(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", x=random.random((60, 1, 8, 8)), y=np.arange(60) % 3 + 1)
    changes = {"source": {"name": "arrays", "path": "d.npz"}, "split": {"labelled": 9, "validation": 0}}
    changes |= {"variables.x.shape": [1, 8, 8], "training": {"steps": 1}, "variables.y.classes": 3}
    run = semivae.train("digits_50labels", set=changes, out=tmp_path / "run", data_root=tmp_path, device="cpu")
    assert run.classes == ("1", "2", "3")
    codes = draw_codes(run, torch.rand(40, 1, 8, 8), seed=0)
    assert set(codes["y"]) <= {"1", "2", "3"} and codes["h"].dtype == np.uint8


def test_codes_are_draws_whatever_completes_their_variable(tmp_path: Path) -> None:
    changes = {"variables.h.complete_with": "mean", "training.steps": 1, "training.twin": False}
    run = semivae.train("digits_50labels", set=changes, out=tmp_path / "run", device="cpu")
    codes = draw_codes(run, torch.rand(64, 1, 8, 8), seed=0)["h"]  # untrained: bits are nearly fair
    assert 0.2 < codes.mean() < 0.8


@pytest.mark.parametrize(
    ("text", "value"),
    [("y=3", 3), ("y=01", "01"), ("y=[01, 2,null]", ["01", 2, "null"]), ("y=null", "null"), ("h=[0, 0.5]", [0, 0.5]),
     ("y=1e3", "1e3"), ("y=[1.50, 1.5]", ["1.50", 1.5])],
)  # fmt: skip
def test_a_class_is_given_as_it_is_written(text: str, value: object) -> None:
    assert list(given_values([text]).values()) == [value]


@pytest.mark.parametrize("name", ["impute", "chain"])
def test_a_folder_that_cannot_be_made_is_told(small_run: Run, tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "images.npy", np.zeros((1, 8, 8), dtype=np.uint8))
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(tmp_path / "mask.png")
    (tmp_path / "file").write_text("x")
    more = [tmp_path / "images.npy", "--mask", tmp_path / "mask.png"] if name == "impute" else ["-n", 2]
    result = command(name, small_run.path, *more, "--rounds", 1, "--out", tmp_path / "file" / "a" / "b")
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result.output
    assert (tmp_path / "file").read_text() == "x"


def test_codes_of_one_run_are_the_prior_of_another(tiny_run: Run, tmp_path: Path) -> None:
    out = tmp_path / "digits_codes.npz"
    report = json.loads(command("codes", tiny_run.path, "--out", out, "--seed", 1, "--json").stdout)
    with np.load(out) as arrays:
        assert arrays["y"].shape == (report["count"],) and arrays["h"].shape == (report["count"], 16)
        assert set(np.unique(arrays["h"])) <= {0, 1} and arrays["y"].max() < 10
    changes = {"training.steps": 2, "training.validate_every": 1}
    run = semivae.train("digits_code_prior", set=changes, out=tmp_path / "run", data_root=tmp_path, device="cpu")
    assert run.finished and set(run.decoder.conditionals) == {"x"}
    with pytest.raises(RunError, match="known by samples only"):
        likelihood(run, torch.zeros(2, 1, 8, 8), 2, seed=0)
    with np.load(out) as arrays:
        rows = {(int(y), *h.astype(int)) for y, h in zip(arrays["y"], arrays["h"], strict=True)}
    for given in ({}, {"y": 3}, {"y": [0, 3]}):  # what is drawn are rows of the file, whole
        drawn = run.sample(40, seed=0, **given)
        assert {(int(y), *h.int().tolist()) for y, h in zip(drawn["y"], drawn["h"], strict=True)} <= rows
    assert drawn["y"].tolist() == [0] * 20 + [3] * 20
    assert next(run_chains(run, "model", 4, [0], seed=0)).images.shape == (4, 1, 8, 8)
    assert set(consistency(run, 20, seed=0)) == {"y", "h"}
    with np.load(out) as arrays:
        kept = arrays["y"] != 3
        np.savez(out, y=arrays["y"][kept], h=arrays["h"][kept])
    with pytest.raises(RunError, match="stream codes has no values for y=3; give another class"):
        run.sample(1, y=3)
    assert "exists; choose another name" in command("codes", tiny_run.path, "--out", out).stderr
