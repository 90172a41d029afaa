"""Further labels of users' data: where they are read, who shows them, and what streams make of that."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import semivae
from semivae.data.dataset import Dataset, LabelInfo
from semivae.data.sources import load_source
from semivae.data.splits import load_split, save_split
from semivae.errors import DataError, RecipeError
from semivae.recipe import change_recipe, read_recipe
from semivae.recipe.schema import ArraysSource, FolderSource, Recipe, SplitSpec, TableSource
from semivae.scenario.streams import make_streams
from semivae.tasks.splitting import make_split, split_lines
from semivae.variables import VOID, seen

CPU = torch.device("cpu")


def known_of_some(count: int = 60, beside: int = 20) -> Dataset:
    """Classes y of 3; z of 2, of which every fourth is not known; and numbers n, known of the first half alone."""
    rows = torch.arange(count + beside)
    z = torch.where(rows % 4 == 3, VOID, rows % 2)
    n = torch.where(rows[:, None] < count // 2, rows[:, None].float(), torch.nan)
    x = rows.to(torch.uint8).view(-1, 1, 1, 1)
    labels = {
        "y": LabelInfo("classes", ("a", "b", "c")),
        "z": LabelInfo("classes", ("even", "odd")),
        "n": LabelInfo("numbers", ()),
    }
    train = {"x": x[:count], "y": rows[:count] % 3, "z": z[:count], "n": n[:count]}
    return Dataset("some", labels, train, train, {"x": x[count:], "z": z[count:], "n": n[count:]})


# Who shows them ------------------------------------------------------------------------------------------------------


def test_what_is_seen_of_labels() -> None:
    assert seen(torch.tensor([0, VOID, 3])).tolist() == [True, False, True]
    assert seen(torch.tensor([[VOID, 1], [VOID, VOID]], dtype=torch.int8)).tolist() == [True, False]
    assert seen(torch.tensor([[0.0], [torch.nan]])).tolist() == [True, False]


def test_other_examples_show_further_labels_each_its_own_ones() -> None:
    data = known_of_some()
    split = make_split(data, SplitSpec(labelled=9, validation=6, also_labelled={"z": 20, "n": "all"}))
    taken = set(split.labelled.tolist()) | set(split.validation.tolist())
    z, n = split.also_labelled["z"].tolist(), split.also_labelled["n"].tolist()
    assert len(z) == 20 and not set(z) & taken and all(row % 4 != 3 for row in z)
    assert max(z) >= 60, "also among the examples without the primary label"
    assert n == [row for row in range(30) if row not in taken]
    shown = split.shown(data, "z").tolist()
    assert set(shown) == set(z) | {row for row in split.labelled.tolist() if row % 4 != 3}
    assert torch.equal(split.shown(data, "y"), split.labelled)
    few = make_split(data, SplitSpec(labelled=9, validation=6, also_labelled={"z": 5}))
    assert set(few.also_labelled["z"].tolist()) < set(z), "fewer are a part of more"
    other = make_split(data, SplitSpec(labelled=9, validation=6, also_labelled={"z": 20}, seed=1))
    assert not torch.equal(other.also_labelled["z"], split.also_labelled["z"])


def test_who_shows_one_label_says_nothing_of_another() -> None:
    rows = torch.zeros(400, dtype=torch.int64)
    labels = {name: LabelInfo("classes", ("a", "b")) for name in ("y", "a", "b")}
    train = {"x": torch.zeros(400, 1), "y": torch.arange(400) % 2, "a": rows, "b": rows}
    split = make_split(Dataset("flat", labels, train, train), SplitSpec(labelled=2, also_labelled={"a": 200, "b": 200}))
    both = set(split.also_labelled["a"].tolist()) & set(split.also_labelled["b"].tolist())
    assert 70 < len(both) < 130, "hypergeometric with mean 100.5 and deviation 5: six deviations"


def test_where_all_labels_are_shown_further_ones_are_too() -> None:
    data = known_of_some()
    split = make_split(data, SplitSpec(labelled="all"))
    assert split.also_labelled["z"].tolist() == [row for row in range(60, 80) if row % 4 != 3]
    assert len(split.shown(data, "n")) == 30
    assert make_split(data, SplitSpec(labelled=9)).also_labelled == {}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"z": 46}, r"split.also_labelled.z asks for 46 examples, but some has \d\d with z that show no y"),
        ({"w": 3}, "split.also_labelled.w: some has the further labels z, n"),
        ({"y": 3}, "split.also_labelled.y: split.labelled says how many show it"),
    ],
)
def test_what_cannot_be_shown_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_split(known_of_some(), SplitSpec(labelled=30, also_labelled=asked))


def test_manifests_keep_who_shows_what_and_refuse_what_cannot_be(tmp_path: Path) -> None:
    data, path = known_of_some(), tmp_path / "split.json"
    split = make_split(data, SplitSpec(labelled=9, validation=6, also_labelled={"z": 20, "n": "all"}))
    save_split(split, path)
    again = load_split(path, data)
    assert again.digest == split.digest and again.spec == split.spec
    assert all(torch.equal(again.also_labelled[name], split.also_labelled[name]) for name in ("z", "n"))
    content = json.loads(path.read_text())
    assert content["format"] == 2 and content["also_labelled"]["n"] == "all"
    save_split(make_split(data, SplitSpec(labelled=9)), path)
    assert json.loads(path.read_text())["format"] == 1, "earlier versions read it"
    rows = data.train["x"].flatten().long()
    known = replace(data, train={**data.train, "z": rows % 2}, unlabelled={})  # z of every example
    nobody = make_split(known, SplitSpec(labelled="all", validation=6))
    save_split(nobody, path)
    assert load_split(path, known).digest == nobody.digest, "all that know z are labelled, so no other shows it"
    wrong = make_split(data, SplitSpec(labelled=9, validation=6, also_labelled={"z": 20}))
    wrong.also_labelled["z"][0] = 3  # whose z is not known
    save_split(wrong, path)
    with pytest.raises(DataError, match="indices of z are not 20 different ones that may show it"):
        load_split(path, data)


def test_the_heading_of_a_training_counts_them() -> None:
    lines = split_lines(known_of_some(), SplitSpec(labelled=9, also_labelled={"z": 20}))
    assert lines[-1].startswith("further labels: z 2")


# Streams -------------------------------------------------------------------------------------------------------------


def scenario(streams: dict[str, Any], **split: Any) -> Recipe:
    net = {"name": "mlp", "hidden": [4]}
    return Recipe.model_validate(
        {
            "source": {"name": "digits"},
            "split": {"labelled": 9} | split,
            "variables": {
                "x": {"family": "bernoulli"},
                "y": {"family": "categorical"},
                "z": {"family": "categorical"},
                "h": {"family": "bernoulli", "shape": [2]},
            },
            "decoder": {"y": "uniform", "z": {"given": ["y"], "net": net}, "h": "uniform",
                        "x": {"given": ["y", "h"], "net": net}},
            "encoder": {"y": {"given": ["x"], "net": net}, "h": {"given": ["x", "y"], "net": net}},
            "streams": streams,
            "training": {"steps": 2},
        }
    )  # fmt: skip


def shown_by(recipe: Recipe, data: Dataset, name: str) -> dict[str, torch.Tensor]:
    split = make_split(data, recipe.split)
    stream = make_streams(recipe, data, split, CPU, 0)[name]
    return stream.batch(0)


def test_a_stream_takes_the_examples_that_show_what_it_observes() -> None:
    data = known_of_some()
    streams = {name: {"observe": shown, "batch": 400} for name, shown in
               {"families": ["x", "z"], "both": ["x", "y", "z"], "rest": ["x"]}.items()}  # fmt: skip
    recipe = scenario(streams, also_labelled={"z": 20})
    split = make_split(data, recipe.split)
    families = shown_by(recipe, data, "families")
    rows = (families["x"].flatten() * 255).round().long()
    assert set(rows.tolist()) == set(split.shown(data, "z").tolist()) and (families["z"] >= 0).all()
    assert torch.equal(families["z"], rows % 2)
    both = shown_by(recipe, data, "both")
    rows = (both["x"].flatten() * 255).round().long()
    assert set(rows.tolist()) == set(split.labelled.tolist()), "where z is not inferred, it need not be seen"
    assert torch.equal(both["z"] == VOID, rows % 4 == 3)
    rest = shown_by(recipe, data, "rest")
    assert set((rest["x"].flatten() * 255).round().long().tolist()) == set(range(80)) - set(split.labelled.tolist())


def test_a_stream_of_several_labels_leaves_out_what_an_example_does_not_show() -> None:
    """The data know z and w of every example; the split shows each of other ones."""
    rows = torch.arange(60)
    labels = {name: LabelInfo("classes", ("a", "b")) for name in ("y", "z", "w")}
    train = {"x": rows.to(torch.uint8).view(-1, 1, 1, 1), "y": rows % 2, "z": rows % 2, "w": rows % 2}
    data = Dataset("whole", labels, train, train)
    recipe = scenario({"both": {"observe": ["x", "z", "w"], "batch": 400}, "rest": {"observe": ["x"]}},
                      labelled=4, also_labelled={"z": 10, "w": 20})  # fmt: skip
    recipe = recipe.model_copy(
        update={
            "variables": recipe.variables | {"w": recipe.variables["z"]},
            "decoder": recipe.decoder | {"w": recipe.decoder["z"]},
        }
    )
    split = make_split(data, recipe.split)
    both = shown_by(recipe, data, "both")
    number = (both["x"].flatten() * 255).round().long()
    for name in ("z", "w"):
        shown = set(number[both[name] != VOID].tolist())
        assert shown == set(split.shown(data, name).tolist()) and len(shown) < 30


def test_labels_that_the_encoder_infers_are_all_seen() -> None:
    data = known_of_some()
    recipe = scenario({"both": {"observe": ["x", "y", "z"], "batch": 400}, "rest": {"observe": ["x"]}}, labelled=30)
    inferred = recipe.model_copy(update={"encoder": recipe.encoder | {"z": recipe.encoder["h"]}})
    assert (shown_by(inferred, data, "both")["z"] >= 0).all()
    assert (shown_by(recipe, data, "both")["z"] == VOID).any()


def test_a_stream_that_nobody_fills_says_so() -> None:
    data = known_of_some()
    data.train["z"][:] = VOID
    recipe = scenario({"families": {"observe": ["x", "z"]}, "rest": {"observe": ["x"]}})
    with pytest.raises(DataError, match=r"streams\.families: no training example shows z; ask for some in split"):
        shown_by(recipe, data, "families")


def test_values_of_a_further_label_are_as_frequent_as_where_it_is_shown() -> None:
    data = known_of_some()
    recipe = scenario({"z": {"observe": ["z"], "batch": 4000}, "rest": {"observe": ["x"]}}, also_labelled={"z": "all"})
    drawn = shown_by(recipe, data, "z")["z"]
    expected = (data.of_all("z") == 0).sum() / seen(data.of_all("z")).sum()
    assert abs(float((drawn == 0).float().mean()) - float(expected)) < 0.05  # six deviations of 0.008


def test_unlabelled_examples_have_all_further_labels_or_none() -> None:
    data = known_of_some()
    with pytest.raises(DataError, match="some: the unlabelled examples have some further labels; give all of them"):
        Dataset("some", data.labels, data.train, data.test, {"x": data.unlabelled["x"], "z": data.unlabelled["z"]})


# Sources -------------------------------------------------------------------------------------------------------------

ROWS = [
    # file, species, family, annotator, candidates
    "0.png,lynx,cats,lynx,lynx|lion",
    "1.png,lion,cats,,lion|lynx|wolf",
    "2.png,wolf,dogs,lynx,",
    "3.png,lynx,,lynx,",
    "4.png,lion,cats,lion,lion",
    "5.png,wolf,dogs,wolf,",
    "6.png,,cats,lion,lynx|lion",
    "7.png,,,,wolf",
    "8.png,,dogs,,",
]
COLUMNS = {"c": "family", "a": "who", "s": "maybe"}
FURTHER = {"c": "family", "a": "who", "m": "maybe"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    for row in range(9):
        Image.fromarray(np.full((8, 8), row, np.uint8)).save(tmp_path / "own" / f"{row}.png")
    text = "\n".join(["file_name,species,family,who,maybe", *ROWS])
    (tmp_path / "own" / "metadata.csv").write_text(text + "\n")
    return tmp_path


def folder_source(**changes: Any) -> FolderSource:
    fixed = {"name": "folder", "path": "own", "size": 8, "channels": 1, "labels": "metadata.csv"}
    fixed |= {"label_column": "species", "columns": FURTHER, "kinds": {"m": "candidates"}}
    return FolderSource.model_validate(fixed | changes)


def by_level(data: Dataset, name: str) -> dict[int, Any]:
    """The values of a label in all parts, by the level of the image, which is the row in the table."""
    parts = [data.train, data.test, data.unlabelled]
    return {int(level): value for part in parts if part
            for level, value in zip(part["x"].flatten(1)[:, 0], part[name].tolist(), strict=True)}  # fmt: skip


def test_a_table_beside_pictures_holds_further_labels(folder: Path) -> None:
    data = load_source(folder_source(), folder)
    assert list(data.labels) == ["y", "c", "a", "m"] and data.labels["c"] == LabelInfo("classes", ("cats", "dogs"))
    assert data.labels["a"].classes == data.classes == ("lion", "lynx", "wolf"), "annotators write the same classes"
    assert by_level(data, "c") == {0: 0, 1: 0, 2: 1, 3: VOID, 4: 0, 5: 1, 6: 0, 7: VOID, 8: 1}
    assert by_level(data, "a") == {0: 1, 1: VOID, 2: 1, 3: 1, 4: 0, 5: 2, 6: 0, 7: VOID, 8: VOID}
    sets = by_level(data, "m")
    assert sets[0] == [1, 1, 0] and sets[1] == [1, 1, 1] and sets[4] == [1, 0, 0] and sets[7] == [0, 0, 1]
    assert sets[2] == [VOID] * 3


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0.png,lynx,dogs,lynx,", "0.png has cats and dogs in column family; give it one"),
        ("9.png,lynx,cats,lynx,", "files that metadata.csv names is no image"),
        ("8.png,,dogs,,tiger|lynx", r"'tiger\|lynx' names tiger, which is no class of the label"),
        ("8.png,,dogs,,tiger|bear", r"'tiger\|bear' names bear, tiger, which are no classes of the label"),
    ],
)
def test_what_a_table_gets_wrong_about_further_labels(folder: Path, row: str, message: str) -> None:
    with (folder / "own" / "metadata.csv").open("a") as file:
        file.write(row + "\n")
    with pytest.raises(DataError, match=message):
        load_source(folder_source(), folder)


def test_columns_that_are_not_there_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"has no column genus \(source.columns.c\)"):
        load_source(folder_source(columns={"c": "genus"}, kinds={}), folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None, "label_column": "label"}, "columns: speaks of a table of labels"),
        ({"columns": {"x": "family"}, "kinds": {}}, "columns: x is what data call their own"),
        ({"kinds": {"w": "candidates"}}, "kinds: w is not among columns"),
        ({"kinds": {"m": "many"}}, "kinds"),
        (
            {"label_column": ["a", "b"]},
            "kinds.m: candidates are classes of the label, but the label is a vector of attr",
        ),
    ],
)
def test_recipes_that_name_no_further_label_are_refused(changes: dict[str, Any], message: str) -> None:
    content = folder_source().model_dump(exclude_none=True) | changes
    if content["labels"] is None:
        del content["labels"]
    with pytest.raises(RecipeError, match=message):
        change_recipe(read_recipe("folder"), {"source": content})


def test_columns_of_a_table_are_further_labels_and_no_inputs(tmp_path: Path) -> None:
    rows = [f"{row},{'ab'[row % 2] if row < 8 else ''},{'' if row % 3 else 'even'},{row % 3}" for row in range(12)]
    rows[1] = rows[1].replace(",,", ",odd,")
    (tmp_path / "t.csv").write_text("\n".join(["length,kind,family,soil", *rows]) + "\n")
    (tmp_path / "u.csv").write_text("length,kind,family,soil\n3,a,odd,1\n4,,even,2\n5,b,,0\n")
    fixed = {"name": "table", "path": "t.csv", "label": "kind", "test": "u.csv", "columns": {"c": "family"}}
    data = load_source(TableSource.model_validate(fixed), tmp_path)
    assert data.shape == (2,) and data.labels["c"].classes == ("even", "odd")
    assert data.train["c"].tolist() == [0, 1, VOID, 0, VOID, VOID, 0, VOID]
    assert data.unlabelled["c"].tolist() == [VOID, 0, VOID, VOID] and data.test["c"].tolist() == [1, VOID]
    alone = load_source(TableSource.model_validate(fixed | {"test": None, "test_share": 0.4}), tmp_path)
    assert len(alone.train["c"]) + len(alone.test["c"]) == 8
    with pytest.raises(DataError, match=r"has no column genus \(source.columns\)"):
        load_source(TableSource.model_validate(fixed | {"columns": {"c": "genus"}}), tmp_path)
    for nameless, key in (({"columns": {"c": ""}}, "columns"), ({"label": ""}, "label")):
        with pytest.raises(DataError, match=f"source.{key} names a column without a name"):
            load_source(TableSource.model_validate(fixed | nameless), tmp_path)


def arrays(folder: Path, keys: dict[str, Any], kinds: dict[str, str] | None = None, **held: Any) -> Dataset:
    x = np.arange(30).reshape(15, 2).astype(np.float32)
    y = np.array(["a", "b", "c"] * 5)
    np.savez(folder / "own.npz", x=x, y=y, **held)
    source = {"name": "arrays", "path": "own.npz", "keys": {"x": "x", "y": "y", **keys}, "kinds": kinds or {}}
    return load_source(ArraysSource.model_validate(source), folder)


def test_arrays_of_further_labels(tmp_path: Path) -> None:
    family = np.where(np.arange(15) % 2, np.arange(15) % 4, -1)
    who = np.array(["a", "", "b"] * 5)
    sets = np.tile([[1, 0, 1], [0, 0, 0], [0, 1, 1]], (5, 1))
    data = arrays(
        tmp_path, {"c": "family", "a": "who", "m": "sets"}, {"m": "candidates"}, family=family, who=who, sets=sets
    )
    rows = torch.cat([data.train["x"], data.test["x"]])[:, 0].long() // 2
    both = {name: torch.cat([data.train[name], data.test[name]]) for name in ("c", "a", "m")}
    assert data.labels["c"].classes == ("1", "3") and data.labels["a"].classes == ("a", "b", "c")
    assert [["", "1", "3"][number + 1] for number in both["c"].tolist()] == [
        "" if row % 2 == 0 else str(row % 4) for row in rows.tolist()
    ]
    assert both["a"].tolist() == [[0, VOID, 1][row % 3] for row in rows.tolist()]
    assert both["m"].tolist() == [[[1, 0, 1], [VOID] * 3, [0, 1, 1]][row % 3] for row in rows.tolist()]


def test_arrays_of_further_labels_in_other_parts(tmp_path: Path) -> None:
    more = np.zeros((2, 2), np.float32)
    keys = {"x_unlabelled": "more", "c": "family", "c_unlabelled": "more_family"}
    family = np.arange(15) % 2
    data = arrays(tmp_path, keys, more=more, family=family, more_family=np.array([1, -1]))
    assert data.unlabelled["c"].tolist() == [1, VOID]
    del keys["c_unlabelled"]
    assert arrays(tmp_path, keys, more=more, family=family).unlabelled["c"].tolist() == [VOID, VOID]


def test_arrays_that_keys_leave_out_are_named(tmp_path: Path) -> None:
    x, y = np.zeros((12, 2), np.float32), np.arange(12) % 2
    np.savez(tmp_path / "own.npz", x=x, y=y, x_test=x, y_test=y, family=y)

    def read(**keys: str) -> Dataset:
        return load_source(ArraysSource.model_validate({"name": "arrays", "path": "own.npz", "keys": keys}), tmp_path)

    with pytest.raises(DataError, match="keys does not name x, y, x_test, y_test; to read these arrays too, add x: x,"):
        read(c="family")
    with pytest.raises(DataError, match="keys does not name y_test; to read this array too, add y_test: y_test"):
        read(x="x", y="y", x_test="x_test")
    assert "keys does not name x_test, y_test; to read" in read(x="x", y="y", c="family").warnings[0]
    assert not any(
        "source.keys" in warning for warning in read(x="x", y="y", x_test="x_test", y_test="y_test").warnings
    )


@pytest.mark.parametrize(
    ("keys", "kinds", "held", "message"),
    [
        ({"c": "f"}, {}, {"f": np.arange(14) % 2}, r"c is \[14\], but x has 15 examples"),
        ({"c": "f", "c_test": "f"}, {}, {"f": np.arange(15) % 2}, "has c_test, but no x_test"),
        ({"c": "f"}, {}, {"f": np.zeros(15, np.int64)}, "holds only the class 0"),
        (
            {"c": "f"},
            {"c": "candidates"},
            {"f": np.zeros((15, 2), np.int64)},
            r"candidates are zeros and ones, \[n, 3\]",
        ),
        ({"c": "f"}, {"c": "candidates"}, {"f": np.full((15, 3), 2)}, "holds other numbers than 0 and 1"),
        (
            {"y": "n", "c": "f"},
            {"c": "candidates"},
            {"n": np.linspace(0, 1, 15), "f": np.zeros((15, 3), np.int64)},
            "c: candidates are classes of the label, but the label is a number; correct source.kinds",
        ),
    ],
)
def test_arrays_that_are_no_further_labels(
    tmp_path: Path, keys: dict[str, Any], kinds: dict[str, str], held: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        arrays(tmp_path, keys, kinds, **held)


def test_inspect_says_what_is_known_of_what(folder: Path) -> None:
    base = read_recipe("folder", {"source": folder_source().model_dump(exclude_none=True), "split": {"labelled": 3}})
    report = semivae.inspect(base, data_root=folder)
    assert report.further["c"].classes == ("cats", "dogs") and sum(report.further["c"].shown.values()) < 7
    assert report.further["c"].hidden > 0
    asked = change_recipe(base, {"split.also_labelled": {"c": "all", "m": 2}})
    report = semivae.inspect(asked, data_root=folder)
    assert report.further["c"].hidden == 0 and report.further["m"].shown["unlabelled"] == 2
    assert "c (classes: cats, dogs): " in repr(report)
    wrong = change_recipe(base, {"split.also_labelled": {"c": 50}})
    assert any(
        "split.also_labelled.c asks for 50" in mistake for mistake in semivae.inspect(wrong, data_root=folder).mistakes
    )


@pytest.mark.parametrize(
    ("written", "doubt"),
    [
        (("cat", "zebra"), ""),
        (("cat", "zebar"), "ann may hold misspelt classes: zebar (zebra?); correct the data if it does"),
        (("cat", "Zebra"), "ann may hold misspelt classes: Zebra (zebra?); correct the data if it does"),
        (("pet", "herd"), ""),  # no class of the label is among them: they are coarse ones
        (("cats", "zebras"), ""),
    ],
)
def test_misspelt_classes_among_arrays_are_warned_of(tmp_path: Path, written: tuple[str, str], doubt: str) -> None:
    """As in tables and beside pictures."""
    x = np.random.default_rng(0).random((60, 3)).astype(np.float32)
    y = np.array(["cat", "zebra", "cow"] * 20)
    np.savez(tmp_path / "a.npz", x=x, y=y, ann=np.array([*written, written[0]] * 20))
    source = ArraysSource(name="arrays", path="a.npz", keys={"x": "x", "y": "y", "ann": "ann"})
    found = [warning for warning in load_source(source, tmp_path).warnings if "misspelt" in warning]
    assert found == ([f"{tmp_path / 'a.npz'}: {doubt}"] if doubt else [])
