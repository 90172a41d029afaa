"""The page about a run: it says what evaluate says, names are escaped, it stays small, what is missing is left out."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

import semivae
from semivae.api import Run
from semivae.cli import app
from semivae.errors import RunError
from semivae.page.charts import Scale, line_chart, ticks_between, whisker_chart
from semivae.page.findings import findings_of, short_names
from semivae.page.judged import Judged
from semivae.page.looks import Look, short_number, strips_by
from semivae.page.number_charts import number_charts
from semivae.page.report import LARGEST, confusion, page_of, write_report
from semivae.recipe.schema import Recipe
from semivae.tasks.class_scores import scores_of
from semivae.tasks.kinds import CLASSES, MAPS
from semivae.variables import VOID
from tests.test_several_inputs import RECIPE, dataset

KEPT = Path(__file__).parent / "data" / "run_0_1_0"
EVIL = "<script>alert('x')</script>&\"cat"


class Page(HTMLParser):
    """The tags of a page, with their attributes, its ids, and its text outside of styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.size = "", path.stat().st_size
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data if self.tags and self.tags[-1][0] != "style" else ""

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.tags if found == tag]

    @property
    def ids(self) -> list[str]:
        return [str(attributes["id"]) for _, attributes in self.tags if "id" in attributes]


def command(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def kept_run(name: str) -> Run:
    return semivae.load(KEPT / name, data_root=KEPT / "data", device="cpu")


@pytest.fixture(scope="module")
def told(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, dict[str, Any]]:
    """The page about the digits, and what the command says of it as JSON."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    done = command("report", tiny_run.path, "--out", out, "--device", "cpu", "--json")
    assert done.exit_code == 0, done.output
    return Page(out), json.loads(done.stdout)


@pytest.fixture(scope="module")
def named_evil(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of a table whose classes and columns have names that a browser must not take for tags."""
    folder = tmp_path_factory.mktemp("evil")
    random = np.random.default_rng(0)
    lines = [f"{random.normal():.3f},{random.normal():.3f},{name}" for name in [EVIL.replace('"', '""'), "dog"] * 60]
    quoted = [re.sub(r",([^,]*)$", r',"\1"', line) for line in lines]
    (folder / "rows.csv").write_text("\n".join(["<b>one</b>,two,label", *quoted]) + "\n", encoding="utf-8")
    changes: dict[str, object] = {
        "about": f"About {EVIL}",
        "source": {"name": "table", "path": "rows.csv", "label": "label"},
        "split": {"labelled": 20, "validation": 20},
        "training.steps": 4,
        "training.validate_every": 2,
    }
    return semivae.train("table", set=changes, out=folder / "<i>run", data_root=folder, device="cpu")


def page_with(run: Run, **changes: dict[str, Any]) -> str:
    """The page of a run of which some of the diagnosis is changed."""
    found = findings_of(run)
    found.numbers["diagnosis"] |= changes
    return page_of([found]).decode()


# What it says ---------------------------------------------------------------------------------------------------------


def test_json_holds_the_figures_of_evaluate_and_diagnose(tiny_run: Run, told: tuple[Page, dict[str, Any]]) -> None:
    page, report = told
    (run,) = report["runs"]
    evaluated = tiny_run.evaluate()
    assert run["evaluation"] == evaluated
    assert run["diagnosis"] == json.loads(json.dumps(tiny_run.diagnose()))
    for checkpoint in ("last", "selected", "twin"):
        assert f"{evaluated[checkpoint]['error']:.2%}" in page.text
        assert f"{evaluated[checkpoint]['nll']:.4f}" in page.text
    low, high = evaluated["last"]["error_interval"]
    assert f"{low:.2%} to {high:.2%}" in page.text
    assert run["left_out"] == []


def test_the_page_begins_with_the_key_figures(tiny_run: Run, told: tuple[Page, dict[str, Any]]) -> None:
    evaluated, samples = tiny_run.evaluate(), tiny_run.diagnose()["samples"]["readers"]
    text = " ".join(told[0].text.partition("Measured once")[0].split())
    assert f"{evaluated['last']['error']:.2%} Error on 500 test examples, 95% interval" in text
    assert f"{evaluated['twin']['error']:.2%} Error of the supervised twin" in text
    sets = f"{evaluated['sets']['covered']:.1%} Covered by prediction sets asked for 95%; "
    assert f"{sets}{evaluated['sets']['mean_size']:.2f} classes in a set" in text
    assert f"{next(iter(samples.values()))['read_as_intended']:.1%} Samples read as intended by its own encoder" in text


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("0.713338", "0.7133"),
        ("20041", "20041"),
        ("20041.52", "20042"),
        ("site.a", "site.a"),
        ("", ""),
        ("nan.", "nan."),
    ],
)
def test_cells_are_shown_with_four_digits(cell: str, shown: str) -> None:
    assert short_number(cell) == shown


def test_the_worst_and_least_sure_are_those_of_the_classifier(tiny_run: Run, told: tuple[Page, dict[str, Any]]) -> None:
    run = told[1]["runs"][0]
    test = tiny_run.dataset().test
    p = tiny_run.classifier().probabilities(test["x"])
    likely = p[torch.arange(len(p)), test["y"]]
    wrong = p.argmax(1) != test["y"]
    worst = [row["row"] for row in run["most_wrong"]]
    assert worst and wrong[worst].all()
    assert likely[worst].max() <= likely[wrong].sort().values[len(worst) - 1] + 1e-6
    least = [row["sure"] for row in run["least_sure"]]
    assert least == pytest.approx(p.max(1).values.sort().values[: len(least)].tolist(), abs=1e-6)


def test_doubted_labels_are_rows_of_the_training_part(tiny_run: Run, told: tuple[Page, dict[str, Any]]) -> None:
    doubted, train = told[1]["runs"][0]["doubted"], tiny_run.dataset().train
    rows = torch.tensor([row["row"] for row in doubted["rows"]])
    labelled = tiny_run.split().labelled
    assert doubted["examined"] == len(labelled) and len(rows) and torch.isin(rows, labelled).all()
    p, labels = tiny_run.classifier().probabilities(train["x"][rows]), train["y"][rows]
    assert (p.argmax(dim=1) != labels).all()
    likely = p[torch.arange(len(rows)), labels].tolist()
    assert [row["likely"] for row in doubted["rows"]] == pytest.approx(likely, abs=1e-6) and likely == sorted(likely)


def test_the_surest_are_shown_with_their_error(tiny_run: Run) -> None:
    found = findings_of(tiny_run)
    found.numbers["evaluation"]["risk_coverage"]["curve"] = [{"answered": 0.5, "error": 0.125}]
    assert '<tr><td class="n">50%</td><td class="n">12.50%</td></tr>' in page_of([found]).decode()


def test_codes_have_no_bits_below_none() -> None:
    """A lower bound below 0 is shown as 0, by its number, in words and as a bar; `semivae diagnose` says so too."""
    page = page_with(kept_run("table"), bits={"h": {"in_use": -7.25, "at_most": 4.0}})
    section = page[page.index('<section id="codes">') : page.index('<section id="plan">')]
    assert "7.25" not in section and '<td class="n">0.00</td>' in section
    assert 'aria-label="0.00% of the most"' in section and 'class="bar" width="0.0"' in section
    full = page_with(kept_run("table"), bits={"h": {"in_use": 3.0, "at_most": 4.0}})
    assert 'aria-label="75.00% of the most"' in full and 'class="bar" width="120.0"' in full


def test_counts_are_those_of_the_split(tiny_run: Run, told: tuple[Page, dict[str, Any]]) -> None:
    data, split = told[1]["runs"][0]["data"], tiny_run.split()
    assert (data["labelled"], data["unlabelled"]) == (len(split.labelled), len(split.unlabelled))
    assert (data["validation"], data["test"]) == (len(split.validation), len(tiny_run.dataset().test["y"]))
    assert sum(data["class_counts"]["labelled"]) == data["labelled"]


def test_a_class_is_judged_as_a_map_of_one_place() -> None:
    """Two classes, by hand; of the map, one place is void and one wrong."""
    p = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    found = Judged(CLASSES)
    found(p, torch.tensor([0, 0]))
    assert found.likely.tolist() == pytest.approx([0.9, 0.2]) and found.wrong.tolist() == [0.0, 1.0]
    assert found.most_wrong(5).tolist() == [1] and found.least_sure(1).tolist() == [1]
    of_map = Judged(MAPS)
    of_map(p.T.reshape(1, 2, 2).repeat(2, 1, 1), torch.tensor([[0, VOID], [0, 0]]))
    assert of_map.wrong.tolist() == [0.0, 0.5] and of_map.likely.tolist() == pytest.approx([0.9, 0.55])
    empty = Judged(MAPS)
    empty(torch.full((1, 2, 2), 0.5), torch.full((1, 2), VOID))
    assert empty.most_wrong(3).tolist() == [] and empty.rows(torch.tensor([0]))[0]["likely"] is None


# What it is made of ---------------------------------------------------------------------------------------------------


def assert_sound(page: Page, largest: int = LARGEST) -> None:
    """A small page without scripts or addresses; its ids are unique, links lead to one, pictures have words."""
    assert page.size <= largest
    assert [name for name, count in Counter(page.ids).items() if count > 1] == []
    assert not {"script", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        for name in ("src", "href"):
            if (target := attributes.get(name)) is not None:
                assert target.startswith(("data:", "#"))
                assert not target.startswith("#") or target[1:] in page.ids
    assert all(image["alt"] and image["width"] and image["height"] for image in page.all("img"))
    assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in page.all("svg"))


def test_the_page_is_sound(told: tuple[Page, dict[str, Any]]) -> None:
    page, _ = told
    assert_sound(page)
    assert page.all("img") and page.all("svg")
    assert {"results", "mistakes", "doubts", "samples", "map", "curves", "codes", "plan", "data", "recipe"} <= set(
        page.ids
    )
    assert "left-out" not in page.ids


def test_names_are_texts_and_no_tags(named_evil: Run, tmp_path: Path) -> None:
    named_evil.report(tmp_path / "evil.html")
    page = Page(tmp_path / "evil.html")
    assert_sound(page)
    assert EVIL in page.text and "<b>one</b>" in page.text and "<i>run" in page.text
    assert not page.all("i")
    assert "<script" not in (tmp_path / "evil.html").read_text(encoding="utf-8").lower()


def test_rows_of_a_table_are_shown_as_cells(named_evil: Run, tmp_path: Path) -> None:
    report = named_evil.report(tmp_path / "rows.html")
    page = Page(tmp_path / "rows.html")
    assert not page.all("img") and page.all("table")
    assert report["runs"][0]["evaluation"] == named_evil.evaluate()


def test_masks_are_shown_over_their_images(tmp_path: Path) -> None:
    run = kept_run("masks")
    report = run.report(tmp_path / "masks.html")
    page = Page(tmp_path / "masks.html")
    assert_sound(page)
    (numbers,) = report["runs"]
    assert numbers["evaluation"] == run.evaluate()
    assert f"{numbers['evaluation']['last']['mean_iou']:.2%}" in page.text
    assert "map" not in page.ids  # an image has no one class to be coloured by
    assert [row["wrong"] > 0 for row in numbers["most_wrong"]] == [True] * len(numbers["most_wrong"])
    widths = {int(str(image["width"])) / int(str(image["height"])) for image in page.all("img")}
    assert widths == {2.0, 3.0}  # an image and its mask; and the answer


def test_what_is_missing_is_left_out(tmp_path: Path) -> None:
    report = kept_run("ladder").report(tmp_path / "ladder.html")
    page = Page(tmp_path / "ladder.html")
    assert_sound(page)
    assert not {"results", "mistakes", "doubts", "labels", "map"} & set(page.ids)
    assert {"samples", "curves", "codes", "plan", "data", "left-out"} <= set(page.ids)
    assert report["runs"][0]["evaluation"] is None
    assert "unsupervised run" in report["runs"][0]["left_out"][0]


def test_without_its_data_a_run_still_has_a_page(tmp_path: Path) -> None:
    run = semivae.load(KEPT / "table", data_root=tmp_path, device="cpu")
    report = run.report(tmp_path / "gone.html")
    page = Page(tmp_path / "gone.html")
    assert_sound(page)
    assert {"curves", "plan", "recipe", "left-out"} <= set(page.ids) and "results" not in page.ids
    assert any("there is no file" in text for text in report["runs"][0]["left_out"])


def test_of_several_inputs_the_primary_one_is_shown(tmp_path: Path) -> None:
    recipe = Recipe.model_validate(RECIPE | {"training": RECIPE["training"] | {"steps": 10, "validate_every": 5}})
    run = semivae.train(recipe, out=tmp_path / "run", device="cpu", dataset=dataset())
    report = run.report(tmp_path / "several.html")
    page = Page(tmp_path / "several.html")
    assert_sound(page)
    assert report["runs"][0]["evaluation"] == run.evaluate()
    assert {"results", "samples", "data"} <= set(page.ids)


def test_several_runs_are_side_by_side(tiny_run: Run, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_run.path, other)
    runs = [tiny_run, semivae.load(other, device="cpu"), kept_run("ladder")]
    report = write_report(runs, tmp_path / "all.html")
    page = Page(tmp_path / "all.html")
    assert_sound(page)
    assert [run["run"] for run in report["runs"]] == [str(run.path) for run in runs]
    assert all(name in page.text for name in ("digits", "other", "ladder", "3 runs side by side"))


def test_runs_of_one_name_are_told_apart(tiny_run: Run, tmp_path: Path) -> None:
    for place in ("a", "b"):
        shutil.copytree(tiny_run.path, tmp_path / place / "run")
    runs = [semivae.load(tmp_path / place / "run", device="cpu") for place in ("a", "b")]
    assert short_names(runs) == ["a/run", "b/run"]


def test_pictures_shrink_until_the_page_is_small_enough(tiny_run: Run) -> None:
    found = findings_of(tiny_run)
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    for looks in found.looks.values():
        looks[:] = [type(look)(noise, title=look.title, alt=look.alt) for look in looks]
    whole = len(page_of([found], 10**9))
    assert len(page_of([found], whole // 2)) <= whole // 2
    with pytest.raises(RunError, match=r"more than 1,000; report fewer runs"):
        page_of([found], 1000)


def test_of_many_classes_the_confusions_that_occur_most_are_named(tiny_run: Run, tmp_path: Path) -> None:
    """A matrix of 50 classes could not be read: class 3 is taken for 7 twice, 9 for 1 once."""
    labels = torch.arange(100) % 50
    answers = labels.clone()
    answers[[3, 53, 9]] = torch.tensor([7, 7, 1])
    scores = scores_of([(torch.eye(50)[answers], labels)], [f"class{number}" for number in range(50)])
    table = confusion(scores)
    assert table["rows"] == []
    assert table["pairs"] == [(2, "class3", "class7", 1.0), (1, "class9", "class1", 0.5)]
    found = findings_of(tiny_run)
    found.numbers["evaluation"] |= {"last": scores, "twin": None, "count": 100}
    (tmp_path / "many.html").write_bytes(page_of([found]))
    page = Page(tmp_path / "many.html")
    assert_sound(page)
    assert "The first 40 of 50." in page.text and "class3" in page.text
    assert not [table for table in page.all("table") if table.get("class") == "matrix"]


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [("there.html", "exists; choose another name"), ("page.txt", "must end in"), ("folder.html", "this is a folder")],
)
def test_nothing_is_overwritten(tiny_run: Run, tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "there.html").write_text("mine")
    (tmp_path / "folder.html").mkdir()
    done = command("report", tiny_run.path, "--out", tmp_path / name, "--device", "cpu")
    assert done.exit_code != 0 and message in " ".join(done.output.split())
    assert (tmp_path / "there.html").read_text() == "mine"
    with pytest.raises(RunError):
        tiny_run.report(tmp_path / name)


def test_overwrite_replaces_the_page(tmp_path: Path) -> None:
    (tmp_path / "there.html").write_text("old")
    done = command(
        "report", KEPT / "ladder", "--out", tmp_path / "there.html", "--overwrite", "--data-root", KEPT / "data"
    )
    assert done.exit_code == 0, done.output
    assert "left out: evaluation" in done.output
    assert "<!doctype html>" in (tmp_path / "there.html").read_text(encoding="utf-8")


def test_nine_runs_are_too_many(tiny_run: Run, tmp_path: Path) -> None:
    done = command("report", *[tiny_run.path] * 9, "--out", tmp_path / "nine.html")
    assert done.exit_code == 1 and "1 to 8 runs, not 9" in done.output


# Charts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "ticks"), [(0, 1, [0, 0.25, 0.5, 0.75, 1]), (3, 17, [5, 10, 15]), (-2, 2, [-2, -1, 0, 1, 2])]
)
def test_ticks_are_round_and_inside(low: float, high: float, ticks: list[float]) -> None:
    assert ticks_between(low, high) == pytest.approx(ticks)


def test_ticks_of_a_single_value() -> None:
    assert ticks_between(2.0, 2.0) == [2.0]


@pytest.mark.parametrize("high", [1e-9, 0.37, 12.0, 4.2e7])
def test_ticks_are_few(high: float) -> None:
    found = ticks_between(0.0, high)
    assert 2 <= len(found) <= 5 and found[-1] <= high * (1 + 1e-9)


def test_scales_reach_both_ends() -> None:
    scale = Scale(0.0, 0.5, 100.0, 20.0)
    assert (scale(0.0), scale(0.25), scale(0.5)) == (100.0, 60.0, 20.0)


def test_curves_leave_out_what_is_no_number() -> None:
    chart = line_chart("Loss", {"a": [(0, 1.0), (1, float("nan")), (2, 3.0)], "b": []})
    assert chart is not None and [line.name for line in chart.lines] == ["a"]
    assert chart.lines[0].path.count("L") == 1 and "nan" not in chart.lines[0].path
    assert line_chart("Loss", {"a": [(0, float("inf"))]}) is None


def test_shares_stay_between_0_and_1() -> None:
    chart = line_chart("Share", {"a": [(0, 1.0), (9, 1.0)]}, share=True)
    assert chart is not None
    assert all(float(text.rstrip("%")) <= 100 for _, text in chart.y_ticks)


def test_whiskers_hold_their_values() -> None:
    chart = whisker_chart([("model", 0.02, (0.01, 0.04), 0), ("twin", 0.05, None, 2)], "Error")
    model, twin = chart.rows
    assert model.low < model.value < model.high < twin.value == twin.low == twin.high
    assert "model 2.00%, 95% interval 1.00% to 4.00%" in chart.alt


def test_samples_stand_under_what_they_were_drawn_for() -> None:
    pictures = [Look(np.full((1, 1, 1), level, np.uint8)) for level in range(6)]
    strips = strips_by(pictures, ["a", "b"], "3 drawn for")
    assert [(strip.title, strip.alt) for strip in strips] == [("a", "3 drawn for a"), ("b", "3 drawn for b")]
    assert [strip.picture.ravel().tolist() for strip in strips if strip.picture is not None] == [[0, 1, 2], [3, 4, 5]]
    rows = strips_by([Look(cells={"width": str(level)}) for level in range(6)], ["a", "b"], "3 drawn for")
    assert [(row.title, row.cells["width"]) for row in rows] == [
        (title, str(level)) for level, title in enumerate("aaabbb")
    ]


def test_a_number_predicted_too_large_lies_above_the_dashed_lines() -> None:
    """Of the first example 1 is true and 3 predicted, of the second 2 is both; that of NaN is left out."""
    predicted, residuals, coverage = number_charts([(1.0, 3.0), (2.0, 2.0), (math.nan, 9.0)], [], "kg")
    assert predicted.title == "Predicted against true (kg)" and residuals.title == "Residuals (kg)"
    for chart, places in ((predicted, ((1.0, 3.0), (2.0, 2.0))), (residuals, ((3.0, 2.0), (2.0, 0.0)))):
        across = dict((text, place) for place, text in chart.x_ticks)
        up = dict((text, place) for place, text in chart.y_ticks)
        expected = "".join(f"M{across[f'{x:g}']} {up[f'{y:g}']}h0" for x, y in places)
        assert chart.dots == ((expected, 0),), chart.title
    assert coverage.curves == ()


def numbers_of(found: Mapping[str, Any] | list[Any]) -> list[float]:
    """All numbers in nested lists and dicts."""
    nested = found.values() if isinstance(found, Mapping) else found
    return [n for each in nested for n in (numbers_of(each) if isinstance(each, Mapping | list) else [each])
            if isinstance(n, float)]  # fmt: skip


def test_json_is_json(told: tuple[Page, dict[str, Any]]) -> None:
    """NaN and infinity are none."""
    assert all(np.isfinite(number) for number in numbers_of(told[1]))
