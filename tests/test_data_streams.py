"""Streams: every example once an epoch, pure functions of the step, and labels from wherever a recipe takes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from semivae.data.dataset import Dataset, class_label
from semivae.data.splits import Split
from semivae.data.streams import ArrayStream, ClassStream, StoredDraws, Stream
from semivae.errors import DataError
from semivae.recipe.schema import Recipe, SplitSpec
from semivae.scenario.streams import make_streams
from semivae.seeds import seed_for
from semivae.tasks.splitting import make_split
from semivae.variables import drawn_name

CPU = torch.device("cpu")


def some_data(unlabelled: int = 3) -> Dataset:
    labels = torch.tensor([0] * 12 + [1] * 8 + [2] * 4)
    images = torch.arange(24, dtype=torch.uint8).view(-1, 1, 1, 1) * 10
    extra = {"x": torch.full((unlabelled, 1, 1, 1), 255, dtype=torch.uint8)} if unlabelled else {}
    known = {"x": images, "y": labels}
    return Dataset("some", class_label(("ant", "bee", "cat")), known, known, extra)


def some_split(labelled: int | str = 6, data: Dataset | None = None) -> Split:
    return make_split(data or some_data(), SplitSpec.model_validate({"labelled": labelled, "validation": 4}))


def recipe(streams: dict[str, object], **variables: object) -> Recipe:
    known = {
        "x": {"family": "bernoulli"},
        "y": {"family": "categorical"},
        "h": {"family": "bernoulli", "shape": [2]},
        "s": {"family": "categorical", "classes": 4, "shape": []},
        "m": {"family": "categorical", "classes": 3, "shape": [1, 2]},
    }
    return Recipe.model_validate(
        {
            "source": {"name": "digits"},
            "split": {"labelled": 6},
            "variables": {**known, **variables},
            "decoder": {},
            "encoder": {"y": {"given": ["x"], "net": {"name": "mlp"}}},
            "streams": streams,
            "training": {"steps": 1},
        }
    )


def make(
    streams: dict[str, object], root: Path | None = None, labelled: int | str = 6, extra: int = 3
) -> dict[str, Stream]:
    data = some_data(extra)
    return make_streams(recipe(streams), data, some_split(labelled, data), CPU, 0, root)


def test_every_example_comes_once_an_epoch_and_batches_run_on() -> None:
    images = torch.arange(10).view(10, 1).float()
    stream = ArrayStream("s", {"x": images}, torch.arange(10), 4, CPU, seed=0)
    seen = torch.cat([stream.batch(step)["x"] for step in range(15)]).flatten()
    epochs = seen.view(6, 10)
    assert all(torch.equal(epoch.sort().values, images.flatten()) for epoch in epochs)
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 6
    large = ArrayStream("s", {"x": images}, torch.arange(10), 60, CPU, seed=0)
    assert torch.equal(large.batch(0)["x"].flatten(), seen)  # the batch size does not change the order


def test_a_batch_depends_on_seed_name_and_step_alone() -> None:
    def stream(name: str = "s", seed: int = 0) -> ArrayStream:
        return ArrayStream(name, {"x": torch.arange(50.0)}, torch.arange(50), 8, CPU, seed)

    forward = stream()
    batches = [forward.batch(step)["x"] for step in range(20)]
    assert torch.equal(stream().batch(17)["x"], batches[17]) and torch.equal(forward.batch(3)["x"], batches[3])
    assert not torch.equal(stream("t").batch(0)["x"], batches[0])
    assert not torch.equal(stream(seed=1).batch(0)["x"], batches[0])
    weights = torch.ones(3, dtype=torch.float64)
    classes = [ClassStream("c", "y", weights, 50, CPU, seed=0).batch(step)["y"] for step in (4, 4, 5)]
    assert torch.equal(classes[0], classes[1]) and not torch.equal(classes[0], classes[2])


def test_the_stored_draw_of_an_example_depends_on_the_step_and_the_view() -> None:
    """Draw number k of example n is 10 k + n."""
    count, views = 4, ("weak", "strong")
    draws = [torch.arange(8.0).view(8, 1) + 10 * number for number in range(count)]
    stored = [StoredDraws("f", view, draws) for view in views]
    stream = ArrayStream("images", {"f": torch.arange(8.0).view(8, 1)}, torch.arange(8), 8, CPU, 0, stored)
    chosen = []
    for step in range(16):
        batch = stream.batch(step)
        for view in views:
            shown = batch[drawn_name("f", view)] - batch["f"]
            assert set((shown / 10).flatten().tolist()) <= set(range(count))
        part = stream.part(step, 3, 6)
        assert all(torch.equal(part[name], values[3:6]) for name, values in batch.items())
        chosen.append([(batch[drawn_name("f", view)] - batch["f"]).flatten().tolist() for view in views])
    assert all(weak != strong for weak, strong in chosen)  # alike by chance once in 65,536 steps
    for place in range(len(views)):
        assert len({tuple(step[place]) for step in chosen}) == len(chosen)


def test_what_is_observed_decides_where_a_stream_takes_its_examples() -> None:
    split = some_split()
    streams = make(
        {
            "labelled": {"observe": ["x", "y"], "batch": 6},
            "unlabelled": {"observe": ["x"], "batch": 17},
            "labels": {"observe": ["y"], "batch": 5},
            "prior": {"observe": [], "batch": 7},
        }
    )
    assert list(streams) == ["labelled", "unlabelled", "labels", "prior"]
    batch = streams["labelled"].batch(0)
    rows = (batch["x"].flatten() * 25.5).round().long()
    assert torch.equal(rows.sort().values, split.labelled) and streams["labelled"].size == 6
    assert batch["x"].dtype == torch.float32 and torch.equal(batch["y"], some_data().train["y"][rows])
    images = (streams["unlabelled"].batch(0)["x"].flatten() * 255).round().long().sort().values
    assert images.tolist() == [*(split.unlabelled * 10).tolist(), 255, 255, 255] and streams["unlabelled"].size == 17
    assert streams["labels"].batch(0)["y"].dtype == torch.int64 and streams["labels"].size == 0
    assert streams["prior"].batch(3) == {} and streams["prior"].batch_size == 7 and streams["prior"].observes == ()


@pytest.mark.parametrize(
    ("values", "weights"),
    [
        (None, [2, 2, 2]),
        ("labelled", [2, 2, 2]),
        ("hidden", [8, 5, 1]),
        ("uniform", [1, 1, 1]),
        ({"counts": [5, 0, 3]}, [5, 0, 3]),
        ({"probabilities": [0.2, 0.2, 0.6]}, [1, 1, 3]),
        ({"file": "names.txt"}, [2, 1, 1]),
        ({"file": "header.csv"}, [2, 1, 1]),
        ({"file": "numbers.npy"}, [2, 1, 1]),
        ({"file": "named.npz"}, [2, 1, 1]),
    ],
)
def test_labels_come_as_often_as_the_recipe_says(tmp_path: Path, values: object, weights: list[int]) -> None:
    (tmp_path / "names.txt").write_text("cat\nant\n\n 0 \n1\n")
    (tmp_path / "header.csv").write_text('\ufeff"Label"\r\nant\r\nbee\r\nant\r\n"cat"\r\n', encoding="utf-8")
    np.save(tmp_path / "numbers.npy", np.array([0, 2, 1, 0]))
    np.savez(tmp_path / "named.npz", y=np.array(["ant", "ant", "cat", "bee"]), other=np.zeros(2))
    stream = make({"labels": {"observe": ["y"], "batch": 20_000, "values": values}}, tmp_path)["labels"]
    expected = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    assert isinstance(stream, ClassStream) and torch.allclose(stream.weights, expected)
    # five standard deviations of a share of 20,000 draws: fails for one seed in more than a million
    found = stream.batch(0)["y"].bincount(minlength=3) / 20_000
    assert (found - expected).abs().max() < 5 * (0.25 / 20_000) ** 0.5


def test_codes_and_several_variables_come_from_the_rows_of_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "codes.npy", np.array([[0, 1], [1, 0], [1, 1]]))
    np.savez(tmp_path / "both.npz", y=np.array(["cat", "ant"]), h=np.array([[0.0, 1.0], [1.0, 0.0]]))
    streams = make(
        {
            "codes": {"observe": ["h"], "batch": 3, "values": {"file": "codes.npy"}},
            "both": {"observe": ["y", "h"], "batch": 2, "values": {"file": "both.npz"}},
            "style": {"observe": ["s"], "batch": 9, "values": {"counts": [0, 0, 0, 1]}},
        },
        tmp_path,
    )
    codes = streams["codes"].batch(0)["h"]
    assert codes.dtype == torch.float32 and sorted(codes.tolist()) == [[0, 1], [1, 0], [1, 1]]
    batch = streams["both"].batch(0)
    pairs = zip(batch["y"].tolist(), batch["h"].tolist(), strict=True)
    assert sorted(pairs) == [(0, [1.0, 0.0]), (2, [0.0, 1.0])]
    assert streams["style"].batch(0)["s"].tolist() == [3] * 9


def test_a_column_of_classes_and_maps_with_places_that_are_not_known_come_from_a_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "both.npz", y=np.array([[2]]), h=np.array([[0, 1]]))
    np.save(tmp_path / "maps.npy", np.array([[[2, -1]]]))
    streams = make(
        {
            "both": {"observe": ["y", "h"], "batch": 1, "values": {"file": "both.npz"}},
            "maps": {"observe": ["m"], "batch": 1, "values": {"file": "maps.npy"}},
        },
        tmp_path,
    )
    assert streams["both"].batch(0)["y"].tolist() == [2]
    assert streams["maps"].batch(0)["m"].tolist() == [[[2, -1]]]


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ({"observe": ["x", "h"]}, "streams.s observes h, but some holds only x and y"),
        ({"observe": ["y", "q"]}, "streams.s observes q, which the recipe's variables do not define"),
        ({"observe": ["x"], "values": "uniform"}, "streams.s.values has no use: x comes from some"),
        ({"observe": [], "values": "uniform"}, "streams.s.values has no use: the stream observes nothing"),
        ({"observe": ["h"]}, "h can only come from a file"),
        ({"observe": ["s"]}, "streams.s.values: the data hold no s"),
        ({"observe": ["y"], "values": {"counts": [1, 2]}}, "2 entries for 3 classes of y"),
        ({"observe": ["y"], "values": {"counts": [0, 0, 0]}}, "no class has a weight above zero"),
        ({"observe": ["y"], "values": {"file": "no.txt"}}, "streams.s.values: there is no file .*no.txt"),
        ({"observe": ["y"], "values": {"file": "labels.doc"}}, "none of .csv, .txt, .npy and .npz"),
        (
            {"observe": ["y"], "values": {"file": "bad.txt"}},
            "bad.txt:3: unknown class 'dog'; the classes are ant, bee, cat",
        ),
        ({"observe": ["y"], "values": {"file": "first.txt"}}, "first.txt:1: unknown class 'atn'"),
        ({"observe": ["y"], "values": {"file": "wide.csv"}}, "wide.csv:2: 2 columns"),
        ({"observe": ["y"], "values": {"file": "empty.csv"}}, "empty.csv holds no labels"),
        ({"observe": ["y"], "values": {"file": "bad.npy"}}, "unknown classes: 3, the first in row 1"),
        ({"observe": ["y"], "values": {"file": "several.npz"}}, "has no array y; it has a, h"),
        ({"observe": ["h"], "values": {"file": "bad.npy"}}, r"h has shape \[2\]; variables.h needs \[n, 2\]"),
        ({"observe": ["h"], "values": {"file": "several.npz"}}, "h is a bernoulli variable; its values are 0 and 1"),
        ({"observe": ["h"], "values": {"file": "bad.txt"}}, "need an .npz file"),
        ({"observe": ["y", "h"], "values": {"file": "several.npz"}}, "has no array y"),
        ({"observe": ["y", "h"], "values": {"file": "wide.npz"}}, r"y has shape \[2, 3\]; variables.y needs \[n\]"),
        ({"observe": ["m"], "values": {"file": "bad.npy"}}, r"m has shape \[2\]; variables.m needs \[n, 1, 2\]"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, stream: dict[str, object], message: str) -> None:
    (tmp_path / "bad.txt").write_text("ant\nbee\ndog\n")
    (tmp_path / "first.txt").write_text("atn\nbee\n")
    (tmp_path / "wide.csv").write_text("label\nant,3\n")
    (tmp_path / "empty.csv").write_text("label\n")
    (tmp_path / "labels.doc").write_text("ant")
    np.save(tmp_path / "bad.npy", np.array([0, 3]))
    np.savez(tmp_path / "wide.npz", y=np.zeros((2, 3), dtype=np.int64), h=np.zeros((2, 2)))
    np.savez(tmp_path / "several.npz", a=np.zeros(2), h=np.full((2, 2), 0.5))
    with pytest.raises(DataError, match=message):
        make({"s": stream}, tmp_path)


def test_tables_refuse_what_is_for_images() -> None:
    rows = torch.linspace(-1, 2, 48).view(24, 2)
    labels = some_data().train["y"]
    data = Dataset("table", class_label(("ant", "bee", "cat")), {"x": rows, "y": labels}, {"x": rows, "y": labels})
    split = some_split(6, data)

    def made(streams: dict[str, object], family: str = "gaussian") -> dict[str, Stream]:
        views = {"grain": {"noise": 0.1}, "turn": {"rotate": 5}}
        own = recipe(streams, x={"family": family}).model_dump(exclude_unset=True) | {"views": views}
        return make_streams(Recipe.model_validate(own), data, split, CPU, 0)

    plain = {"observe": ["x"], "batch": 3}
    assert made({"s": {**plain, "views": "grain"}})["s"].batch(0)["x"].shape == (3, 2)
    with pytest.raises(DataError, match=r"variables.x.family is bernoulli, .* numbers from -1 to 2; use gaussian"):
        made({"s": plain}, "bernoulli")
    with pytest.raises(DataError, match=r"streams.s.views.cutmix: patches are of images, but table holds a table"):
        made({"s": {**plain, "views": {"weak": "grain", "strong": "grain", "cutmix": 0.5}}})
    for views in ("turn", {"weak": "grain", "strong": "turn"}):
        with pytest.raises(DataError, match=r"streams.s.views: the view turn changes images, but table holds rows"):
            made({"s": {**plain, "views": views}})


def test_where_every_image_is_labelled_the_unlabelled_stream_shows_the_same_images() -> None:
    labelled = some_split("all", some_data(0)).labelled
    batch = make({"s": {"observe": ["x"], "batch": len(labelled)}}, labelled="all", extra=0)["s"].batch(0)
    assert list(batch) == ["x"] and torch.equal((batch["x"].flatten() * 25.5).round().long().sort().values, labelled)
    only = make({"s": {"observe": ["x"], "batch": 3}}, labelled="all", extra=3)["s"].batch(0)
    assert only["x"].flatten().tolist() == [1, 1, 1]  # the images that came without a label, if there are some
    with pytest.raises(DataError, match="the split hides no label"):
        make({"s": {"observe": ["y"], "values": "hidden"}}, labelled="all")


def test_seeds_tell_all_parts_apart() -> None:
    assert seed_for(0, "a", 1) == seed_for("0", "a", "1") == 6034528653092523292
    assert len({seed_for("ab", "c"), seed_for("a", "bc"), seed_for("abc"), seed_for("ab", "c", "")}) == 4
    assert all(0 <= seed_for(n) < 2**63 for n in range(100))
