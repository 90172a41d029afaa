"""Features of pictures: computed once and kept, stopped and gone on with, played on, and served of new pictures."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import semivae
from semivae.classification.posterior import embed
from semivae.data.dataset import Dataset, class_label
from semivae.data.features import extraction
from semivae.data.features import store as store_module
from semivae.data.features.attaching import feature_network, feature_preprocessing, with_features
from semivae.data.features.extraction import Job, extract
from semivae.data.features.network import FeatureNetwork, in_chunks
from semivae.data.features.pictures import ArrayPictures, pictures_of
from semivae.data.features.store import PLAIN, Store, draw_of
from semivae.data.formats import image_files
from semivae.data.formats.mapped_arrays import created_array, opened_array, refuse_full_disk
from semivae.data.formats.preprocessing import Preprocessing
from semivae.data.inputs import features as features_module
from semivae.data.inputs import images as images_module
from semivae.data.inputs.features import Features
from semivae.data.sources import load_source
from semivae.data.views import View
from semivae.errors import DataError, RecipeError, RunError
from semivae.game.plan import Lesson
from semivae.recipe import Recipe, change_recipe, read_recipe
from semivae.recipe.schema import ViewSpec
from semivae.scenario.build import build_players, build_scenario, resolve
from semivae.scenario.plan import plan_of
from semivae.tasks.splitting import make_split
from semivae.training.progress import Progress
from semivae.variables import drawn_name

CPU = torch.device("cpu")
RECIPE = """
source: {name: folder, path: colours, size: 8}
split: {labelled: 8, validation: 8}
features:
  f: {net: {name: torchvision, model: shufflenet_v2_x0_5, weights: none}, size: 32, draws: {weak: 2, strong: 3}}
variables:
  f: {family: gaussian}
  y: {family: categorical}
  h: {family: bernoulli, shape: [4]}
decoder: {y: learned, h: uniform, f: {given: [y, h], net: {name: mlp, hidden: [16]}}}
encoder: {y: {given: [f], net: {name: mlp, hidden: [16]}}, h: {given: [f, y], net: {name: mlp, hidden: [16]}}}
views: {weak: {crop: 0.7, flip: true}, strong: {crop: 0.35, brightness: 0.4}}
streams:
  labelled: {observe: [f, y], batch: 16, views: weak}
  unlabelled: {observe: [f], batch: 16, views: {weak: weak, strong: strong, temperature: 0.5, threshold: 0}}
  labels: {observe: [y], batch: 16, values: hidden}
training: {steps: 30, validate_every: 10}
"""


def colours(root: Path, per_class: int = 20, tested: int = 5) -> Path:
    """A folder of red and blue noise, 24 x 30 pixels, from which any network can tell two classes."""
    numbers = np.random.default_rng(0)
    for part, count in (("train", per_class), ("test", tested)):
        for name, colour in (("blue", (40, 40, 200)), ("red", (200, 40, 40))):
            folder = root / "colours" / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = np.clip(np.array(colour) + numbers.integers(-40, 40, (24, 30, 3)), 0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index:02}.png")
    return root


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colours(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data with their features, to be copied."""
    root = colours(tmp_path_factory.mktemp("extracted"))
    attached(read(tmp_path_factory.mktemp("recipe")), root)
    return root


@pytest.fixture(scope="module")
def run(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> semivae.Run:
    folder = tmp_path_factory.mktemp("runs") / "colours"
    return semivae.train(recipe_of(tmp_path_factory.mktemp("recipe")), out=folder, data_root=data_root, device="cpu")


def recipe_of(folder: Path, text: str = RECIPE) -> Path:
    path = folder / "colours.yaml"
    path.write_text(text)
    return path


def read(folder: Path, old: str = "", new: str = "") -> Recipe:
    assert old in RECIPE
    return read_recipe(recipe_of(folder, RECIPE.replace(old, new)))


def attached(recipe: Recipe, root: Path, seed: int = 0) -> tuple[Dataset, list[str]]:
    """The data with features by a network with random weights of a seed, and what was said meanwhile."""
    torch.manual_seed(seed)
    networks = {name: feature_network(name, spec, root) for name, spec in recipe.features.items()}
    said: list[str] = []
    return with_features(load_source(recipe.source, root), recipe, root, CPU, networks, said.append), said


def test_features_are_those_of_every_picture_at_the_networks_size(data_root: Path, tmp_path: Path) -> None:
    recipe = read(tmp_path)
    torch.manual_seed(0)
    network = feature_network("f", recipe.features["f"], data_root)
    dataset = load_source(recipe.source, data_root)
    found = with_features(dataset, recipe, data_root, CPU, {"f": network}, lambda _: None)
    how = feature_preprocessing(recipe.features["f"], recipe.source, 3)
    for part, sample in (("train", found.train), ("test", found.test)):
        assert dataset.files is not None
        files = [data_root / "colours" / name for name in dataset.files.names[part]]
        pixels = np.stack([np.asarray(Image.open(file).resize((40, 32), Image.Resampling.BICUBIC)) for file in files])
        seen = torch.from_numpy(pixels[:, :, 4:36]).permute(0, 3, 1, 2)  # crop: the shorter side decides
        expected = network((seen / 255).contiguous())
        # float16 on disk, perhaps bfloat16 in the network, and Pillow's own way to crop and scale in one
        assert (sample["f"].float() - expected).abs().mean() < 0.1
        assert sample["f"].float().std() > 0.5
        assert len(sample["f"]) == len(sample["y"])
    assert how.shape == (3, 32, 32)
    assert abs(found.train["f"].float().mean()) < 0.02  # standardised by these very pictures
    assert found.train["f"].float().std(0, correction=0).median() == pytest.approx(1, abs=0.1)  # some are constant


def test_a_second_time_features_are_read_and_nothing_is_computed(data_root: Path, tmp_path: Path) -> None:
    recipe = read(tmp_path)
    first, _ = attached(recipe, data_root)
    again, said = attached(recipe, data_root)
    assert said == []
    assert torch.equal(first.train["f"], again.train["f"])
    assert first.digest == again.digest == load_source(recipe.source, data_root).digest  # splits do not depend on them


@pytest.mark.parametrize("name", ["plain.npy", "scale.safetensors", "draw"])
def test_stored_features_that_are_damaged_are_named(extracted: Path, tmp_path: Path, name: str) -> None:
    recipe, root = read(tmp_path), Path(shutil.copytree(extracted, tmp_path / "data"))
    folder = next((root / "features").iterdir())
    place = next(folder.glob("strong-*-1.npy")) if name == "draw" else folder / name
    whole = place.read_bytes()
    place.write_bytes(whole[: len(whole) // 2])  # as a copy that was stopped
    with pytest.raises(DataError, match=rf"{place.name} is damaged .*; delete this folder, and it is computed again"):
        attached(recipe, root)
    if name == "plain.npy":  # of other pictures
        np.save(place, np.zeros((3, 5), np.float16))
        with pytest.raises(DataError, match=r"plain.npy is damaged \(\[3, 5\] of torch.float16\)"):
            attached(recipe, root)


@pytest.mark.parametrize("name", ["plain.npy", "strong-*-1.npy", "scale.safetensors"])
def test_one_changed_bit_of_stored_features_is_found(
    extracted: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, root = read(tmp_path), Path(shutil.copytree(extracted, tmp_path / "data"))
    folder = next((root / "features").iterdir())
    place = next(folder.glob(name))
    content = bytearray(place.read_bytes())
    content[-1] ^= 1  # the array is whole, and all its numbers are finite
    place.write_bytes(content)
    with pytest.raises(DataError, match=rf"{place.name} is damaged \(it has not the checksum .*; delete this folder"):
        attached(recipe, root)
    content[-1] ^= 1
    place.write_bytes(content)
    attached(recipe, root)
    monkeypatch.setattr(store_module, "file_digest", lambda path: pytest.fail(f"{path} is hashed a second time"))
    attached(recipe, root)
    place.with_name(f"{place.name}.sha256").unlink()  # as of an earlier version
    attached(recipe, root)


def test_a_record_of_progress_does_not_count_without_its_arrays(extracted: Path, tmp_path: Path) -> None:
    recipe, root = read(tmp_path), Path(shutil.copytree(extracted, tmp_path / "data"))
    expected, _ = attached(recipe, root)
    folder = next((root / "features").iterdir())
    names = sorted(path.stem for path in folder.glob("*.npy"))
    kept = expected.train["f"].clone()
    for path in folder.glob("*.npy"):
        path.unlink()
    order = ["plain", *(name for name in names if name.startswith("weak")), *(n for n in names if n[:2] == "st")]
    (folder / "progress.json").write_text(json.dumps({"passes": order, "chunks": 1}))
    assert torch.equal(attached(recipe, root)[0].train["f"], kept)


def test_other_weights_sizes_and_views_are_other_features(data_root: Path, tmp_path: Path) -> None:
    attached(read(tmp_path), data_root)
    before = {path.name for path in (data_root / "features").iterdir()}
    assert attached(read(tmp_path), data_root, seed=1)[1] != []
    assert attached(read(tmp_path, "size: 32", "size: 40"), data_root)[1] != []
    assert attached(read(tmp_path, "size: 32", "mirror: true, size: 32"), data_root)[1] != []
    assert len({path.name for path in (data_root / "features").iterdir()} - before) == 3
    said = attached(read(tmp_path, "strong: {crop: 0.35", "strong: {crop: 0.5"), data_root)[1]
    assert "3 times" in said[0]  # the three draws of the strong view alone


def test_draws_differ_and_are_the_same_every_time(data_root: Path, tmp_path: Path) -> None:
    one, _ = attached(read(tmp_path), data_root)
    other, _ = attached(read(tmp_path), colours(tmp_path / "elsewhere"))
    assert [len(draws) for draws in one.draws["f"].values()] == [2, 3]
    for view, draws in one.draws["f"].items():
        assert all(torch.equal(a, b) for a, b in zip(draws, other.draws["f"][view], strict=True))
        assert all(len(each) == len(one.train["f"]) for each in draws)
        assert not torch.equal(draws[0], draws[1])


def test_a_record_of_progress_that_cannot_be_right_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of other passes, of more chunks than there are, and of fewer than none."""
    monkeypatch.setattr(extraction, "AT_A_TIME", 16)  # so that there are four chunks
    recipe, root = read(tmp_path), colours(tmp_path / "data")
    kept = attached(recipe, root)[0].train["f"].clone()
    folder = next((root / "features").iterdir())
    finished = sorted(folder.glob("*.npy"))
    names = [path.stem for path in finished]
    passes = [name for start in ("plain", "weak", "strong") for name in names if name.startswith(start)]
    for recorded, chunks in ((passes[:-1], 1), (passes, 5), (passes, -1)):
        for path in finished:  # as two extractions leave them that take turns: whole in size, and nothing in them
            np.save(path.with_suffix(".writing.npy"), np.zeros_like(np.load(path)))
            path.unlink()
        (folder / "progress.json").write_text(json.dumps({"passes": recorded, "chunks": chunks}))
        assert torch.equal(attached(recipe, root)[0].train["f"], kept), chunks


class Stopping(ArrayPictures):
    """Pictures of which a reader stops the extraction at some row."""

    stop_at = 10**9

    def __init__(self, arrays: list[torch.Tensor], preprocessing: Preprocessing) -> None:
        super().__init__(arrays, preprocessing)
        self.reads: list[int] = []

    def read(self, rows: range) -> torch.Tensor:
        self.reads.append(rows.start)
        if rows.start >= self.stop_at and len(rows) > 1:
            raise KeyboardInterrupt
        return super().read(rows)


def job_of(pictures: Stopping, network: FeatureNetwork) -> Job:
    passes = [PLAIN, draw_of("weak", ViewSpec(crop=0.5), 0)]
    return Job("features", network, pictures, 150, passes, CPU)


def test_a_stopped_extraction_goes_on_to_the_same_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "EVERY", 0.0)  # record after every chunk
    torch.manual_seed(0)
    network = feature_network("f", read(tmp_path).features["f"], tmp_path)
    images = torch.randint(256, (200, 3, 16, 16), dtype=torch.uint8)
    pictures = Stopping([images], Preprocessing(3, 32, 32))
    whole, stopped = Store(tmp_path, "whole", {}), Store(tmp_path, "stopped", {})
    extract(job_of(pictures, network), whole, lambda _: None)
    network.fitted = False
    pictures.stop_at = 128
    with pytest.raises(KeyboardInterrupt):
        extract(job_of(pictures, network), stopped, lambda _: None)
    assert not stopped.has(PLAIN)
    pictures.stop_at = 10**9
    pictures.reads.clear()
    extract(job_of(pictures, network), stopped, lambda _: None)
    assert min(pictures.reads) == 128  # what was done is not done again
    for one in job_of(pictures, network).passes:
        assert torch.equal(opened_array(whole.path(one)), opened_array(stopped.path(one)))


def test_arrays_in_memory_are_scaled_to_the_networks_size_like_new_pictures(tmp_path: Path) -> None:
    images = torch.randint(256, (70, 3, 12, 12), dtype=torch.uint8)
    recipe = read(tmp_path)
    torch.manual_seed(0)
    network = feature_network("f", recipe.features["f"], tmp_path)
    train = {"x": images, "y": torch.arange(70) % 2}
    test = {name: values[:3] for name, values in train.items()}
    dataset = Dataset("arrays", class_label(("a", "b")), train, test)
    found = with_features(dataset, recipe, tmp_path, CPU, {"f": network}, lambda _: None)
    served = Features(network, Preprocessing(3, 32, 32), CPU).read(images.numpy())
    torch.testing.assert_close(found.train["f"].float(), served.values, rtol=1e-2, atol=2e-2)
    torch.testing.assert_close(found.test["f"], found.train["f"][:3], rtol=1e-2, atol=5e-2)


def test_streams_show_another_stored_draw_at_each_step_and_the_same_one_again(data_root: Path, tmp_path: Path) -> None:
    recipe = read(tmp_path)
    dataset, _ = attached(recipe, data_root)
    split = make_split(dataset, recipe.split)
    streams = build_scenario(recipe, dataset, split, CPU, data_root).streams
    again = build_scenario(recipe, dataset, split, CPU, data_root).streams
    rows = {tuple(row.tolist()): number for number, row in enumerate(dataset.train["f"].float())}
    counts: dict[str, list[int]] = {"weak": [0, 0], "strong": [0, 0, 0]}
    for step in range(20):
        batch, same = (each["unlabelled"].batch(step) for each in (streams, again))
        assert set(batch) == {"f", drawn_name("f", "weak"), drawn_name("f", "strong")}
        for name, values in batch.items():
            assert torch.equal(values, same[name])
        for place, row in enumerate(batch["f"]):
            number = rows[tuple(row.tolist())]
            for view, times in counts.items():
                stored = [draw[number].float() for draw in dataset.draws["f"][view]]
                shown = batch[drawn_name("f", view)][place]
                times[next(which for which, draw in enumerate(stored) if torch.equal(draw, shown))] += 1
    # 320 choices, evenly: each count is binomial, 6 deviations off in less than 1 of 10^8 runs
    assert all(abs(count - 160) < 54 for count in counts["weak"])
    assert all(abs(count - 320 / 3) < 51 for count in counts["strong"])


def test_a_game_is_played_on_the_draws_of_its_views(data_root: Path, tmp_path: Path) -> None:
    recipe = read(tmp_path)
    dataset, _ = attached(recipe, data_root)
    scenario = build_scenario(recipe, dataset, make_split(dataset, recipe.split), CPU, data_root)
    batches = {name: stream.batch(0) for name, stream in scenario.streams.items()}
    step = scenario.game.begin(batches, {name: 16 for name in batches}, 0.5, torch.Generator())
    assert torch.equal(step.augmented["labelled"]["f"], batches["labelled"]["f.weak"])
    assert torch.equal(step.augmented["unlabelled"]["f"], batches["unlabelled"]["f"])  # the decoder's: as it is
    views, generator = scenario.game.views["unlabelled"], torch.Generator()
    stack = views.together(batches["unlabelled"])
    assert views.weak is not None and views.strong is not None
    assert torch.equal(views.weak(stack, generator), batches["unlabelled"]["f.weak"])
    assert torch.equal(views.strong(stack, generator), batches["unlabelled"]["f.strong"])
    assert torch.equal(views.plain(stack), batches["unlabelled"]["f"])
    losses = scenario.game.loss(("encoder",), step)
    assert torch.isfinite(losses.total)


def test_a_run_learns_on_features_and_serves_new_pictures_as_it_was_tested(run: semivae.Run, data_root: Path) -> None:
    report = run.evaluate()
    assert report["last"]["error"] < 0.2
    dataset = run.dataset()
    tested = run.classifier().probabilities(dataset.test["f"])
    served = run.classifier().probabilities(run.read(data_root / "colours" / "test")[0])
    np.testing.assert_allclose(served, tested, atol=0.03)
    assert run.predict(data_root / "colours" / "test" / "red", names=True).tolist() == ["red"] * 5
    one = Image.open(data_root / "colours" / "test" / "red" / "00.png")
    assert run.predict(one, names=True).tolist() == ["red"]


def test_features_of_many_files_are_made_piece_by_piece(
    run: semivae.Run, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = data_root / "colours" / "test"
    at_once, found = run.embed(pictures), run.predict(pictures, names=True)
    monkeypatch.setattr("semivae.data.inputs.pieces.PIECE", 4)
    assert run.pieces(pictures) is not None
    np.testing.assert_allclose(run.embed(pictures), at_once, atol=0.05)  # bfloat16, in batches of other sizes
    assert (run.predict(pictures, names=True) == found).all()


def test_a_run_needs_no_file_but_its_own(run: semivae.Run, data_root: Path, tmp_path: Path) -> None:
    pictures = data_root / "colours" / "test"
    elsewhere = semivae.load(run.path, data_root=tmp_path, device="cpu")
    assert elsewhere.predict(pictures).tolist() == run.predict(pictures).tolist()
    assert not (tmp_path / "features").exists()


def test_a_run_is_resumed_to_the_same_end_with_the_features_it_keeps(data_root: Path, tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path)
    torch.manual_seed(3)
    whole = semivae.train(recipe, out=tmp_path / "whole", data_root=data_root, device="cpu")

    def stop(progress: Progress) -> None:
        if progress.step == 10:
            raise KeyboardInterrupt

    torch.manual_seed(3)
    with pytest.raises(KeyboardInterrupt):
        semivae.train(
            recipe,
            out=tmp_path / "stopped",
            data_root=data_root,
            device="cpu",
            progress=stop,
            set={"training.checkpoint_every": 10},
        )
    torch.manual_seed(4)  # a body with random weights would be another one
    resumed = semivae.train(
        recipe,
        out=tmp_path / "stopped",
        data_root=data_root,
        device="cpu",
        resume=True,
        set={"training.checkpoint_every": 10},
    )
    for name, value in whole.encoder.state_dict().items():
        assert torch.equal(value, resumed.encoder.state_dict()[name]), name


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "  f: {family: gaussian}\n",
            "  g: {family: gaussian}\n",
            "no variable is called f; add f: {family: gaussian}",
        ),
        (
            "f: {family: gaussian}",
            "f: {family: bernoulli}",
            "features are real numbers, so f is gaussian, not bernoulli",
        ),
        ("draws: {weak: 2, strong: 3}", "draws: {weak: 2}", "no draws of strong are kept; add features.f.draws"),
        ("draws: {weak: 2", "draws: {weka: 2, weak: 2", "no view is called weka; did you mean weak"),
        ("temperature: 0.5", "cutmix: 0.5", "boxes are of pictures, and f is features; remove cutmix"),
        ("temperature: 0.5", "information: 0.5", "needs two draws at a time, and one is stored; remove information"),
        ("  f: {net", "  x: {net", "data call their pictures x; give the features another name"),
        ("size: 32,", "sise: 32,", "did you mean size"),
        ("name: torchvision", "name: torchvison", "torchvision"),
    ],
)
def test_recipes_that_cannot_be(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message.replace("{", r"\{").replace("(", r"\(")):
        read(tmp_path, old, new)


def test_an_encoder_starts_from_features_alone(tmp_path: Path) -> None:
    text = RECIPE.replace("y: {given: [f]", "y: {given: [f, x]").replace(
        "  f: {family", "  x: {family: bernoulli}\n  f: {family"
    )
    with pytest.raises(
        RecipeError, match="the encoder starts from f and from x; with features it starts from them alone"
    ):
        read_recipe(recipe_of(tmp_path, text))


def test_weights_that_are_not_there(data_root: Path, tmp_path: Path) -> None:
    recipe = read(tmp_path, "weights: none", "weights: gone.safetensors")
    with pytest.raises(RecipeError, match=r"features.f.net: .*gone.safetensors: there is no such file"):
        feature_network("f", recipe.features["f"], data_root)


def test_a_disk_that_is_too_small_is_refused_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(tmp_path)._replace(free=2**27 + 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: full)
    with pytest.raises(DataError, match=r"features take .* are free there; free some, ask for fewer draws"):
        attached(read(tmp_path), colours(tmp_path / "data"))


def test_an_array_that_is_not_written_yet_takes_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil.disk_usage(tmp_path)._replace(free=2**27 + 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: full)
    begun = tmp_path / "begun.npy"
    created_array(begun, (10**6,), np.float16)[0].flush()
    with pytest.raises(DataError, match="rows take 2 MB"):
        refuse_full_disk(tmp_path, 2 * 10**6, [begun], "rows take", "or fewer")
    begun.write_bytes(b"1" * 2 * 10**6)  # now it is
    refuse_full_disk(tmp_path, 2 * 10**6, [begun], "rows take", "or fewer")


def test_a_table_has_no_features(tmp_path: Path) -> None:
    rows = torch.rand(10, 4)
    dataset = Dataset("rows", class_label(("a", "b")), {"x": rows, "y": torch.arange(10) % 2}, {})
    with (
        pytest.raises(DataError, match="features are made of pictures, but rows holds rows of a table"),
        pictures_of(dataset, Preprocessing(3, 32, 32)),
    ):
        pass


def test_damaged_features_are_told(run: semivae.Run, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run.path, tmp_path / "copy"))
    (copy / "features.safetensors").write_bytes(b"nothing")
    with pytest.raises(RunError, match=r"features.safetensors: is missing or damaged"):
        semivae.load(copy, device="cpu").predict(torch.rand(1, 3, 32, 32))


def test_one_changed_bit_of_a_runs_network_is_found(run: semivae.Run, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run.path, tmp_path / "copy"))
    content = bytearray((copy / "features.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "features.safetensors").write_bytes(content)
    with pytest.raises(RunError, match=r"features.safetensors: is damaged: its content does not have the checksum"):
        semivae.load(copy, device="cpu").predict(torch.rand(1, 3, 32, 32))


def test_a_crop_shows_a_part_of_the_image_at_the_whole_size() -> None:
    across = torch.linspace(0, 1, 64).expand(400, 3, 64, 64)
    images = across.clone()
    images[:, 1] = across[:, 1].transpose(1, 2)
    seen = View(ViewSpec(crop=0.25))(images, torch.Generator().manual_seed(0))
    sides = [seen[:, channel].flatten(1).amax(1) - seen[:, channel].flatten(1).amin(1) for channel in (0, 1)]
    area = sides[0] * sides[1]
    assert 0.2 < area.min() < 0.35 and area.max() <= 1.0 + 1e-4
    assert abs(float(area.mean()) - 0.61) < 0.06  # uniform in [0.25, 1], less half a pixel on each side
    assert ((sides[0] / sides[1]) < 1.4).all() and ((sides[1] / sides[0]) < 1.4).all()
    assert seen.amin() >= 0 and seen.amax() <= 1
    low = seen[:, 0].flatten(1).amin(1)
    assert low.min() < 0.05 and low.max() > 0.3  # it lies at any place


def test_features_of_many_pictures_are_those_of_each(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = feature_network("f", read(tmp_path).features["f"], tmp_path)
    images = torch.rand(70, 3, 32, 32)
    alone = torch.cat([in_chunks(network, image[None], CPU) for image in images[:3]])
    torch.testing.assert_close(in_chunks(network, images, CPU)[:3], alone, rtol=0, atol=0.02 * float(alone.std()))


@pytest.mark.parametrize("part", ["classifier", pytest.param("features", marks=pytest.mark.slow)])
def test_an_exported_file_takes_pictures(run: semivae.Run, tmp_path: Path, part: str) -> None:
    told = run.export(tmp_path / "colours.pt2", part=part)
    assert told["input"]["shape"] == ["n", 3, 32, 32]
    assert told["checked_with"] == "training images"
    images = torch.rand(3, 3, 32, 32)
    exported = torch.export.load(tmp_path / "colours.pt2").module()(images)
    features = in_chunks(run.feature_networks["f"], images, CPU)
    expected = embed(run, features) if part == "features" else run.classifier().probabilities(features)
    expected = np.asarray(expected)  # perhaps in bfloat16
    assert np.abs(exported.detach().numpy() - expected).mean() < 0.05 * np.abs(expected).mean()


@pytest.mark.slow
def test_an_exported_file_takes_pictures_of_any_size(run: semivae.Run, data_root: Path, tmp_path: Path) -> None:
    run.export(tmp_path / "colours.pt2", with_preprocessing=True)
    picture = data_root / "colours" / "test" / "red" / "00.png"
    raw = torch.from_numpy(np.asarray(Image.open(picture))[None].copy())
    exported = torch.export.load(tmp_path / "colours.pt2").module()(raw)
    np.testing.assert_allclose(
        exported.detach().numpy(), run.classifier().probabilities(run.read(picture)[0]), atol=0.05
    )


def test_a_recipe_is_shown_without_any_extraction(tmp_path: Path) -> None:
    root = colours(tmp_path / "fresh", per_class=6)
    recipe = read(tmp_path)
    resolved = resolve(recipe, load_source(recipe.source, root))
    assert resolved.variables["f"].shape == (1024,)
    assert not (root / "features").exists()


def test_the_template_for_photographs_paints_them_and_is_reported(data_root: Path, tmp_path: Path) -> None:
    changes: dict[str, object] = {
        "source": {"name": "folder", "path": "colours", "size": 16},
        "split": {"labelled": 8, "validation": 20},
        "features.f": {"net": {"name": "torchvision", "model": "shufflenet_v2_x0_5", "weights": "none"}, "size": 32},
        "features.f.draws": {"weak": 1, "strong": 1},
        "decoder.x.net": {"name": "deconv", "channels": [8, 8]},
        "training.steps": 4,
        "training.validate_every": 2,
    }
    run = semivae.train("photos", set=changes, out=tmp_path / "run", data_root=data_root, device="cpu")
    assert run.roles.pictures == "x" and run.codes == ()
    drawn = run.sample(2, y="red", seed=0)
    assert drawn["x"].shape == (2, 3, 16, 16) and drawn["f"].shape == (2, 1024)
    mean = run.decoder["x"]({name: drawn[name] for name in ("y", "f")}).mean
    torch.testing.assert_close(drawn["x"], mean)
    assert "image-classification" in run.card()
    run.report(tmp_path / "report.html")
    assert "data:image/webp" in (tmp_path / "report.html").read_text()
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {row["phase"] for row in rows} == {"model", "twin"}
    assert {"decoder.unlabelled.f", "decoder.pictures.x", "decoder.labels.y"} <= {
        name for row in rows for name in row["losses"]
    }


def test_pictures_beside_their_features_teach_the_decoder_both() -> None:
    """The encoder sees the picture through its features, so its draws depend on all that the stream observes."""
    recipe = read_recipe("photos")
    assert Lesson("pictures", "decoder", ("y",), ("y", "x")) in [
        replace(lesson, scores=("y", *lesson.scores)) for lesson in plan_of(recipe).lessons
    ]
    alone = {"streams.pictures.observe": ["x"]}
    with pytest.raises(RecipeError, match=r"stream pictures .observes x. teaches nobody"):
        plan_of(read_recipe("photos", alone))


def test_components_are_uncorrelated_and_those_in_which_pictures_differ_most(tmp_path: Path) -> None:
    network = feature_network("f", read(tmp_path, "size: 32", "components: 3, size: 32").features["f"], tmp_path)
    assert network.size == 3
    raw = torch.randn(500, 1024, generator=torch.Generator().manual_seed(0))
    raw[:, :400] += 3 * torch.randn(500, 1, generator=torch.Generator().manual_seed(1))  # these vary together
    network.fit(raw)
    assert network.basis is not None
    found = ((raw - network.mean) / network.deviation) @ network.basis
    covariance = found.T @ found / len(found)
    torch.testing.assert_close(covariance, covariance.diag().diag(), rtol=0, atol=1e-3)
    assert covariance.diag().mean() == pytest.approx(1, abs=1e-3)
    assert covariance[0, 0] > 2.5  # nearly all that the three hold
    assert network.basis[:400, 0].abs().min() > network.basis[400:, 0].abs().mean()
    with pytest.raises(RecipeError, match=r"features.f.components: 5000 of 1024 features; ask for fewer"):
        feature_network("f", read(tmp_path, "size: 32", "components: 5000, size: 32").features["f"], tmp_path)


def test_more_components_than_pictures_are_refused(data_root: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="100 components cannot be told from 40 pictures; write components: 40 or fewer"
    ):
        attached(read(tmp_path, "size: 32", "components: 100, size: 32"), data_root)


def test_pictures_without_labels_count_for_components(data_root: Path, tmp_path: Path) -> None:
    """`semivae start` asks for half as many components as there are pictures, labelled or not."""
    root = tmp_path / "data"
    shutil.copytree(data_root, root)
    shutil.rmtree(root / "features", ignore_errors=True)
    shutil.copytree(next(path for path in (root / "colours" / "train").iterdir()), root / "colours" / "unlabelled")
    found, _ = attached(read(tmp_path, "size: 32", "components: 45, size: 32"), root)
    assert found.train["f"].shape == (40, 45) and len(found.unlabelled["f"]) >= 5


def test_a_shared_scale_is_the_same_whatever_is_given(tmp_path: Path) -> None:
    recipe = read(tmp_path, "hidden: [16]}}}\nencoder", "hidden: [16]}, scale: shared}}\nencoder")
    variables = {"f": {"family": "gaussian", "shape": [6]}, "y": {"family": "categorical", "classes": 2}}
    recipe = change_recipe(recipe, {f"variables.{name}": spec for name, spec in variables.items()})
    decoder, _ = build_players(recipe)
    codes = torch.rand(5, 4).round()
    found = decoder["f"]({"y": torch.tensor([0, 1, 0, 1, 0]), "h": codes})
    assert found.stddev.shape == (5, 6)
    assert torch.equal(found.stddev, found.stddev[:1].expand(5, 6))
    assert not torch.equal(found.mean[0], found.mean[1])
    loss = -found.log_prob(torch.zeros(5, 6)).mean()
    loss.backward()
    scale = next(value for name, value in decoder.named_parameters() if name.endswith("raw_scale"))
    assert scale.grad is not None and scale.grad.abs().min() > 0
    with pytest.raises(RecipeError, match="a bernoulli variable has no scale; remove scale"):
        change_recipe(recipe, {"encoder.h.scale": "shared"})


def test_many_new_pictures_are_read_some_at_a_time(
    run: semivae.Run, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = data_root / "colours" / "train"
    whole = run.reading(folder)
    arrays = torch.rand(7, 3, 20, 24).numpy()
    together = run.reading(arrays)
    largest: list[int] = []

    def watched(network: FeatureNetwork, images: torch.Tensor, device: torch.device) -> torch.Tensor:
        largest.append(len(images))
        return in_chunks(network, images, device)

    for module in (image_files, images_module):
        monkeypatch.setattr(module, "AT_A_TIME", 3)
    monkeypatch.setattr(features_module, "in_chunks", watched)
    parts = run.reading(folder)
    assert parts.names == whole.names and parts.sizes == whole.sizes and max(largest) == 3
    torch.testing.assert_close(parts.values, whole.values, rtol=0, atol=0.1)
    torch.testing.assert_close(run.reading(arrays).values, together.values, rtol=0, atol=0.1)
    mixed = Path(shutil.copytree(folder, tmp_path / "mixed"))
    for name in ("00.png", "01.png", "02.png", "07.png"):  # the whole of the first part, and one of the third
        (mixed / "blue" / name).write_bytes(b"none")
    with pytest.raises(DataError, match=r"4 of 40 image files in .* cannot be read: blue/00.png"):
        run.reading(mixed)
    left = run.reading(mixed, skip_unreadable=True)
    assert len(left.values) == len(left.names) == 36 and set(left.unreadable) == {
        f"blue/{name}" for name in ("00.png", "01.png", "02.png", "07.png")
    }
    rows = [place for place, name in enumerate(whole.names) if name not in left.unreadable]
    torch.testing.assert_close(left.values, whole.values[rows], rtol=0, atol=0.1)


def test_grey_pictures_in_memory_are_served_as_they_were_learnt(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 12, 12), np.uint8)
    images[::2] //= 4
    given = {"x": images[6:], "y": np.arange(34) % 2, "x_test": images[:6], "y_test": np.arange(6) % 2}
    changes: dict[str, object] = {"training.steps": 4, "training.validate_every": 4, "split.validation": 0}
    run = semivae.train(recipe_of(tmp_path), set=changes, out=tmp_path / "run", data_root=tmp_path, dataset=given)
    served = semivae.load(run.path, device="cpu").read(images[:6])[0]
    torch.testing.assert_close(served, run.dataset().test["f"].float(), rtol=0, atol=0.1)
