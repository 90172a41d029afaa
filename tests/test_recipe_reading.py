"""Recipes: what is read, what is refused and in which words, and that writing one loses nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from semivae.errors import RecipeError
from semivae.recipe import change_recipe, dump_recipe, find_recipe, read_recipe, shipped_recipes
from semivae.recipe.document import Problem, read_document
from semivae.recipe.schema import ConditionalSpec, LossWeight, PairOfViews, PlayerRates

RECIPE = """\
about: "Digits: 50 labels"
source: {name: digits}
split: {labelled: 50, validation: 200}
variables:
  x: {family: bernoulli, shape: [1, 8, 8]}
  y: {family: categorical, classes: 10}
  h: {family: bernoulli, shape: [16]}
decoder:
  y: uniform
  h: uniform
  x: {given: [y, h], net: {name: mlp}}
encoder:
  y: {given: [x], net: {name: conv}}
  h: {given: [x, y], net: {name: mlp}}
views:
  weak: {shift: 0.06}
  strong: {shift: 0.12, cutout: 0.3}
streams:
  labelled: {observe: [x, y], batch: 64, views: weak}
  unlabelled: {observe: [x], batch: 128, views: {threshold: 0.9}, loss_weights: {y: {weight: 0.5, start: 0.5}}}
  labels: {observe: [y], batch: 128, values: uniform, loss_weights: {h: 0.2}}
training: {steps: 3000, learning_rate: 1e-3}
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def write(path: Path, old: str, new: str) -> Path:
    """The good recipe with one place changed."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} must occur once"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


def mistakes(path: Path, changes: list[str] | None = None) -> list[str]:
    """The lines of the error, without the folder."""
    with pytest.raises(RecipeError) as caught:
        read_recipe(path, changes or [])
    return str(caught.value).replace(f"{path.parent}/", "").splitlines()


def test_every_form_is_read(recipe_file: Path) -> None:
    recipe = read_recipe(recipe_file)
    assert recipe.training.learning_rate == 1e-3  # YAML 1.1 would have read 1e-3 as text
    assert recipe.decoder["y"] == "uniform"
    assert isinstance(recipe.encoder["h"], ConditionalSpec)
    assert list(recipe.encoder) == ["y", "h"]  # the ancestral order is the order of the file
    assert recipe.streams["unlabelled"].views == PairOfViews(threshold=0.9)
    assert recipe.streams["unlabelled"].loss_weights == {"y": LossWeight(weight=0.5, start=0.5)}
    assert recipe.streams["labels"].loss_weights == {"h": 0.2}


def test_written_recipe_reads_back_equal(recipe_file: Path, tmp_path: Path) -> None:
    changes = [
        "decoder.y={probabilities: [0.19, 0.09, 0.09, 0.09, 0.09, 0.09, 0.09, 0.09, 0.09, 0.09]}",
        "training.learning_rate={encoder: 1e-5, decoder: 3e-4}",
        "streams.labels.values={counts: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}",
        "encoder.y.net={name: wide_resnet, depth: 10}",
        "about='no: yes # 1e3'",
    ]
    recipe = read_recipe(recipe_file, changes)
    again = tmp_path / "again.yaml"
    again.write_text(dump_recipe(recipe), encoding="utf-8")
    assert read_recipe(again) == recipe
    assert list(read_recipe(again).decoder) == ["y", "h", "x"]  # not sorted by name


def test_changes_go_through_the_schema_and_come_last(recipe_file: Path) -> None:
    recipe = read_recipe(recipe_file, ["training.steps=7", "views.strong.rotate=20", "training.steps=8"])
    assert recipe.training.steps == 8
    assert recipe.views["strong"].rotate == 20
    assert recipe.views["strong"].cutout == 0.3  # what is not named stays
    rates = {"training.learning_rate": {"encoder": 0.1, "decoder": 0.2}}
    assert read_recipe(recipe_file, rates).training.learning_rate == PlayerRates(encoder=0.1, decoder=0.2)
    changed = change_recipe(recipe, {"split.seed": 3})
    assert (changed.split.seed, recipe.split.seed) == (3, 0)


def test_what_is_kept_of_a_file_that_was_read_is_not_changed(recipe_file: Path) -> None:
    """Each text is parsed once. Neither changes nor mistakes of one reading reach the next one."""
    first = read_document(recipe_file)
    as_read = repr(first)
    assert first.put(("training", "steps"), 7, "--set") is None
    assert first.put(("new",), 7, "--set") is None
    first.problems.append(Problem((), "a mistake"))
    for section in first.data.values():
        if isinstance(section, dict):
            section["added"] = 1
    assert repr(read_document(recipe_file)) == as_read != repr(first)


def test_change_of_a_section_leaves_its_aliases(recipe_file: Path) -> None:
    text = recipe_file.read_text()
    start = text.index("  weak: {")
    end = text.index("streams:")
    recipe_file.write_text(text[:start] + "  weak: &weak {shift: 0.1}\n  strong: *weak\n" + text[end:])
    views = read_recipe(recipe_file, ["views.weak.shift=0.2"]).views
    assert (views["weak"].shift, views["strong"].shift) == (0.2, 0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training.stepz=3", "--set: training.stepz: unknown key; did you mean steps?"),
        ("training.steps=0", "--set: training.steps: must be at least 1, not 0"),
        ("trainin.steps=3", "--set: trainin: unknown key; did you mean training?"),
        ("training.steps", "--set training.steps: write KEY=VALUE, such as training.steps=500"),
        ("training..steps=1", "--set training..steps: not a key; write keys as training.steps"),
        (
            "training.steps=[1",
            "--set training.steps=[1: the value is not YAML; check its brackets and quotes, "
            "and the space after each colon",
        ),
        (
            "decoder.x.net={name: deconv, channels: []}",
            "--set: decoder.x.net.channels: needs at least 1 entries, has 0",
        ),
        ("training.steps=true", "--set: training.steps: must be a number, not True"),
        ("views.weak.shift=true", "--set: views.weak.shift: must be a number, not True"),
        ("split.validation=true", "--set: split.validation: must be a number, not True"),
        (
            "training.seed=9223372036854775808",
            "--set: training.seed: must be at most 9.22337e+18, not 9223372036854775808",
        ),
        (
            "variables.h.shape=[]",
            "mine.yaml:7: variables.h: shape [] is for a single class or gaussian number; a single bernoulli number "
            "has shape [1]",
        ),
        ("training={steps: 1, steps: 2}", "--set training={steps: 1, steps: 2}: a key is written twice; keep one"),
        ("training.steps.x=1", "--set: training.steps.x: training.steps is 3000, not a section with keys"),
        ("decoder.x.given=[y, hh]", "--set: decoder.x.given[1]: no variable is called hh; did you mean h?"),
    ],
)
def test_wrong_changes_are_refused(recipe_file: Path, change: str, message: str) -> None:
    assert mistakes(recipe_file, [change]) == [message]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps: 3000", "stepz: 3000", "mine.yaml:22: training.stepz: unknown key; did you mean steps?"),
        (
            "net: {name: conv}",
            "net: {name: cnv}",
            "mine.yaml:13: encoder.y.net: unknown name 'cnv'; did you mean conv?",
        ),
        ("{name: digits}", "{nam: digits}", "mine.yaml:2: source: name is missing; give one of digits, mnist, "),
        ("labelled: 50,", "labelled: lots,", "mine.yaml:3: split.labelled: must be a whole number or all, not 'lots'"),
        ("labelled: 50,", "", "mine.yaml:3: split.labelled: is missing and has no default; add it"),
        (
            "  h: uniform",
            "  h: unifrom",
            "mine.yaml:10: decoder.h: must be one of uniform, standard, learned, samples, not 'unifrom'; did",
        ),
        ("classes: 10", "classes: 1", "mine.yaml:6: variables.y.classes: must be at least 2, not 1"),
        ("[16]}", "16}", "mine.yaml:7: variables.h.shape: must be a list, such as [a, b], not 16"),
        ("family: categorical, ", "", "mine.yaml:6: variables.y.family: is missing and has no default; add it"),
        ("[1, 8, 8]", "[1, 8, 8], classes: 2", "mine.yaml:5: variables.x: classes belong to a categorical variable"),
        (
            "threshold: 0.9",
            "treshold: 0.9",
            "mine.yaml:20: streams.unlabelled.views.treshold: unknown key; did you mean ",
        ),
        (
            "start: 0.5",
            "start: 2",
            "mine.yaml:20: streams.unlabelled.loss_weights.y.start: must be at most 1, not 2",
        ),
        (
            "start: 0.5",
            "start: 0.5, full: 0.3",
            "mine.yaml:20: streams.unlabelled.loss_weights.y: full is 0.3, before start, 0.5; the weight grows from ",
        ),
        (
            "loss_weights: {h: 0.2}",
            "loss_weights: {h: -1}",
            "mine.yaml:21: streams.labels.loss_weights.h: must be at least 0, not -1",
        ),
        ("  weak: {", "  Weak: {", "mine.yaml:16: views.Weak: 'Weak' is no name; names have lower-case letters"),
        ("steps: 3000", "steps: many", "mine.yaml:22: training.steps: must be a whole number, not 'many'"),
        ("1e-3", "{encoder: 1}", "mine.yaml:22: training.learning_rate.decoder: is missing and has no default; add it"),
        (
            "values: uniform",
            "values: {cuonts: [1, 1]}",
            "mine.yaml:21: streams.labels.values.cuonts: unknown key; did ",
        ),
    ],
)
def test_each_mistake_is_named_with_its_line(recipe_file: Path, old: str, new: str, message: str) -> None:
    found = mistakes(write(recipe_file, old, new))
    assert found[0].startswith(message), found
    assert len(found) == 1 or "Weak" in new  # a view under a wrong name is also missing under the right one


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "given: [y, h], ",
            "given: [y, g], ",
            "mine.yaml:11: decoder.x.given[1]: no variable is called g; known: x, y, h",
        ),
        ("given: [x, y]", "given: [x, h]", "mine.yaml:14: encoder.h.given[1]: h cannot be given to itself; remove it"),
        (
            "given: [x], ",
            "given: [x, h], ",
            "mine.yaml:13: encoder.y.given[1]: h is drawn after y; write h above y in enc",
        ),
        ("given: [x, y]", "given: [x, x]", "mine.yaml:14: encoder.h.given[1]: x is named twice; keep one"),
        ("observe: [x], ", "observe: [z], ", "mine.yaml:20: streams.unlabelled.observe[0]: no variable is called z"),
        (
            "views: weak}",
            "views: week}",
            "mine.yaml:19: streams.labelled.views: no view is called week; did you mean weak?",
        ),
        (
            "  strong: {",
            "  stronger: {",
            "mine.yaml:20: streams.unlabelled.views.strong: no view is called strong; did ",
        ),
        (
            "loss_weights: {h: 0.2}",
            "loss_weights: {k: 0.2}",
            "mine.yaml:21: streams.labels.loss_weights.k: no variable is called k",
        ),
        (
            "values: uniform",
            "views: weak",
            "mine.yaml:21: streams.labels.views: views change what a stream shows, and t",
        ),
        (
            "views: weak}",
            "values: uniform}",
            "mine.yaml:19: streams.labelled.values: this stream shows x and has its val",
        ),
        (
            "  y: uniform",
            "  y: {probabilities: [0.5, 0.5]}",
            "mine.yaml:9: decoder.y.probabilities: y has 10 classes, h",
        ),
        (
            "  h: uniform",
            "  h: {probabilities: [0.5, 0.5]}",
            "mine.yaml:10: decoder.h: probabilities are for a categoric",
        ),
        ("  h: uniform", "  h: standard", "mine.yaml:10: decoder.h: standard (normal) is for gaussian, h is bernoulli"),
        (
            "values: uniform",
            "values: {counts: [1, 2]}",
            "mine.yaml:21: streams.labels.values.counts: y has 10 classes, h",
        ),
        ("observe: [y]", "observe: [h]", "mine.yaml:21: streams.labels.values: h can only come from a file; write val"),
        (
            "[16]}",
            "[16]}\n  k: {family: gaussian}",
            "mine.yaml:8: variables.k: neither a player draws it nor a stream s",
        ),
    ],
)
def test_sections_must_fit_each_other(recipe_file: Path, old: str, new: str, message: str) -> None:
    assert mistakes(write(recipe_file, old, new))[0].startswith(message)


def test_probabilities_must_sum_to_one(recipe_file: Path) -> None:
    ten = ", ".join(["0.2"] * 10)
    found = mistakes(write(recipe_file, "  y: uniform", f"  y: {{probabilities: [{ten}]}}"))
    assert found == ["mine.yaml:9: decoder.y.probabilities: must sum to 1, not to 2; divide each by their sum"]


def test_wrong_entries_do_not_count_as_missing_ones(recipe_file: Path) -> None:
    assert mistakes(recipe_file, ["streams.labels.values={counts: [1, 2.5, -3]}"]) == [
        "--set: streams.labels.values.counts[1]: must be a whole number, not 2.5",
        "--set: streams.labels.values.counts[2]: must be at least 0, not -3",
    ]


def test_x_is_no_class(recipe_file: Path) -> None:
    found = mistakes(write(recipe_file, "{family: bernoulli, shape: [1, 8, 8]}", "{family: categorical}"))
    assert any("variables.x.family: x is images or rows" in line for line in found)


def test_image_by_another_name_is_told_to_be_x(recipe_file: Path) -> None:
    text = recipe_file.read_text(encoding="utf-8")
    for old, new in (("  x:", "  photo:"), ("[x", "[photo")):
        text = text.replace(old, new)
    recipe_file.write_text(text, encoding="utf-8")
    first = "mine.yaml:19: streams.labelled.observe[0]: data call their images (or rows) x, not photo"
    assert mistakes(recipe_file)[0] == f"{first}; call the variable x"


def test_all_mistakes_come_at_once_in_the_order_of_the_file(recipe_file: Path) -> None:
    write(recipe_file, "source: {name: digits}", "source: {name: digitz}")
    write(recipe_file, "given: [y, h], ", "given: [y, g], ")
    write(recipe_file, "batch: 64", "batch: 0")
    write(recipe_file, "steps: 3000", "steps: 3000, steps: 5, clip: -1")
    found = mistakes(recipe_file, ["training.twin=maybe"])
    assert [line.split(": ")[:2] for line in found] == [
        ["mine.yaml:2", "source"],
        ["mine.yaml:11", "decoder.x.given[1]"],
        ["mine.yaml:19", "streams.labelled.batch"],
        ["mine.yaml:22", "training.steps"],
        ["mine.yaml:22", "training.clip"],
        ["--set", "training.twin"],
    ]


def test_key_written_twice_is_refused_with_both_lines(recipe_file: Path) -> None:
    write(recipe_file, "  h: uniform\n", "  h: uniform\n  y: learned\n")
    assert mistakes(recipe_file) == ["mine.yaml:9: decoder.y: written twice, here and at mine.yaml:11; keep one"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"# nothing yet\n", "the file is empty"),
        (b"- a\n- b\n", "this file is not"),
        (b"\x89PNG\xff\xfe\x00", "this is not a text file"),
        (b"a: [1\nb: 2\n", "mine.yaml:2: not YAML"),
        (b"a: 1\n\tb: 2\n", "mine.yaml:2: not YAML"),
        (b"source: !!python/object:os.system {}\n", "mine.yaml:1: not YAML"),
        (b"a: \x00\n", "not YAML"),
        (b"a: 2026-99-99\n", "a value cannot be read"),
        (b"1: 2\n", "1: keys are names"),
    ],
)
def test_files_that_are_no_recipes(recipe_file: Path, content: bytes, message: str) -> None:
    recipe_file.write_bytes(content)
    assert message in "\n".join(mistakes(recipe_file))


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"nowhere.yaml: there is no such file, nor a shipped recipe"):
        read_recipe(tmp_path / "nowhere.yaml")
    with pytest.raises(RecipeError, match="this is a folder"):
        read_recipe(tmp_path)


def test_windows_line_ends_and_byte_order_mark(recipe_file: Path) -> None:
    wanted = read_recipe(recipe_file)
    recipe_file.write_bytes(b"\xef\xbb\xbf" + RECIPE.replace("\n", "\r\n").encode())
    assert read_recipe(recipe_file) == wanted


def test_shipped_recipes_are_found_by_name_and_are_valid() -> None:
    shipped = shipped_recipes()
    assert {"digits_50labels", "svhn_1000labels"} <= set(shipped)
    for name, path in shipped.items():
        assert find_recipe(name).samefile(path)
        about = read_recipe(name).about
        assert about, f"{name} says nothing about itself"
        assert "this file" not in about, f"{name}: reports and model cards quote it"
    with pytest.raises(RecipeError, match=r"did you mean digits_50labels\?"):
        find_recipe("digits_50label")


def test_the_same_mistake_in_two_files_is_told_of_each(recipe_file: Path) -> None:
    """The text is parsed once; names of files are no part of what is kept."""
    text = recipe_file.read_text(encoding="utf-8").replace("labelled: 50", "labeled: 50")
    copies = [recipe_file.with_name(f"{name}.yaml") for name in ("one", "two")]
    for copy in copies:
        copy.write_text(text, encoding="utf-8")
    first, second = ("\n".join(mistakes(copy)) for copy in copies)
    assert "one.yaml:3" in first and "two.yaml" not in first
    assert first.replace("one.yaml", "two.yaml") == second
    for copy in copies:
        copy.write_text("source: {", encoding="utf-8")
        assert mistakes(copy)[0].startswith(f"{copy.name}:1: not YAML")


def test_reading_a_recipe_imports_no_torch() -> None:
    code = "import sys; from semivae.recipe import read_recipe; read_recipe('digits_50labels'); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
