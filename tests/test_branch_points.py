"""Each question about what the data are has one place; the few others that ask it are named here, with the reason."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.branch_points import QUESTIONS, Place, places

PACKAGE = Path(__file__).parents[1] / "semivae"
# question -> file -> how often it may ask, and why. To add a line here, first look whether `semivae.tasks` (what the
# label is) or `semivae.data.inputs` (what x is) can answer instead.
MAY_ASK: dict[str, dict[str, tuple[int, str]]] = {
    "is the label a map?": {
        "scenario/teaching.py": (1, "which label views move along with the image is said once, for the game"),
        "scenario/shapes.py": (1, "a map's shape is that of the data, which `check` does not read"),
        "data/values.py": (1, "places of a variable in a file may be void; the variable need be no label"),
        "inspection/sheet.py": (1, "a picture sheet draws maps in colours"),
        "sklearn/classifier.py": (1, "no label is meant: whether scikit-learn's y are numbers"),
        "sklearn/targets.py": (2, "no label is meant: whether scikit-learn's y are numbers or texts"),
    },
    "is there a label?": {
        "scenario/plan.py": (3, "roles are made here; a stream shows no stranger; what teaches a label needs one"),
        "runs/model.py": (2, "an unsupervised run refuses to name its label, and chooses no picture by it"),
        "generative/table_filling.py": (1, "the label's column is filled in where the run knows it"),
        "cli/train_command.py": (1, "without a label there is nothing to evaluate"),
    },
    "are its values classes?": {
        "recipe/checks.py": (1, "levels of a ladder add natural parameters, which the link of grades has not"),
        "recipe/factors.py": (2, "keys that belong to one family: order, and strangers"),
        "tasks/classes.py": (1, "the kind follows from the family"),
        "tasks/maps.py": (1, "the kind follows from the family"),
    },
    "is x a table?": {
        "data/features/pictures.py": (1, "a feature network sees pictures"),
        "data/inputs/images.py": (1, "several images in an array, or one"),
        "data/inputs/inputs.py": (1, "the kind of x is chosen here"),
        "data/inputs/arrays.py": (4, "layouts of arrays"),
        "data/inputs/pixels.py": (2, "layouts of arrays"),
        "data/inputs/rows.py": (5, "rows of a table file or data frame, or of an array, and what is said of each"),
        "data/summary.py": (1, "the head of a training says the sides of an image, or how many numbers a row has"),
        "data/views.py": (2, "a view of rows adds noise alone"),
        "scenario/nouns.py": (1, "what messages call one example is chosen here"),
        "cli/impute_command.py": (1, "only images make pictures"),
        "cli/sheets.py": (1, "only images make pictures"),
        "cli/run_commands.py": (2, "a .csv file is for runs that learnt from one"),
        "export/encoder.py": (1, "sides of images that an exported file leaves open"),
        "export/preparation.py": (2, "what an exported file does to pictures, cells or rows, and what it says of them"),
        "generative/grids.py": (1, "only images make pictures"),
        "generative/table_filling.py": (1, "only a table has columns to fill in"),
        "loggers/listening.py": (1, "only images make pictures"),
        "inspection/in_memory.py": (1, "what is said of pictures, or of columns"),
        "inspection/sheet.py": (1, "only images make pictures"),
        "sklearn/examples.py": (2, "scikit-learn's X as rows, or as images"),
        "sklearn/kept.py": (1, "an estimator keeps how its table became numbers"),
        "monitoring/measures.py": (1, "large images are looked at in smaller parts"),
        "page/looks.py": (2, "an example is shown as a picture, or as the cells of its row"),
        "tasks/attributes.py": (1, "no x is meant: a label of several bits"),
        "variables.py": (1, "no x is meant: whether a vector of bits may be known in part"),
        "training/train.py": (1, "a run keeps how its table became numbers"),
    },
}


@pytest.fixture(scope="module")
def all_places() -> list[Place]:
    return list(places(PACKAGE))


@pytest.mark.parametrize("question", QUESTIONS)
def test_only_these_places_ask(all_places: list[Place], question: str) -> None:
    asked = [place for place in all_places if place.question == question]
    counts = Counter(place.file for place in asked)
    over = {
        f"{place.file}:{place.line}: {place.condition}"
        for place in asked
        if counts[place.file] > MAY_ASK[question].get(place.file, (0, ""))[0]
    }
    assert not over
    spare = {file: most for file, (most, _) in MAY_ASK[question].items() if counts[file] < most}
    assert not spare, "fewer ask than may: lower the ceiling"


def test_conditions_are_found_in_every_form(tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text(
        "def f(task, label, run, shape):\n"
        "    if task.has_places and label is None:\n"
        "        return [x for x in run if run.encoding is None]\n"
        "    assert run.task is MAPS\n"
        "    sides = shape or ()\n"
        "    return 1 if recipe.variables[label].shape else 2\n"
    )
    found = [(place.question, place.line) for place in places(tmp_path)]
    assert found == [
        ("is the label a map?", 2),
        ("is the label a map?", 4),
        ("is the label a map?", 6),
        ("is there a label?", 2),
        ("is x a table?", 3),
    ]
