"""From a report on data to the recipe that fits them: a template with its source, split and classes filled in."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from semivae.errors import DataError, RecipeError
from semivae.inspection.further_factors import with_further_labels
from semivae.inspection.inspecting import Asked
from semivae.inspection.one_line import flow
from semivae.inspection.report import DataReport
from semivae.inspection.result import Inspected
from semivae.recipe import Recipe, find_recipe, read_recipe
from semivae.scenario.build import resolve
from semivae.scenario.shapes import net_mistakes
from semivae.tasks.splitting import make_split
from semivae.text import as_yaml, count_of, join_names

COMPONENTS = 256  # of the template for photographs
QUICK = 10  # times fewer steps
MOST_VALIDATION = {"masks": 8}  # by template
USUAL_VALIDATION = 200  # of all others
SMALLEST_PHOTOGRAPH = 96  # pixels of the shorter side, from which on a pretrained network sees more than a small one
# side in pixels, and what divides it, by source; networks that go on learning see larger pictures
LARGEST = {"folder": (32, 8), "masks": (64, 16)}
LARGEST_TUNED = (128, 32)
# what the templates for photographs take them by
PHOTOGRAPHS = {
    "photos": "by features of a pretrained network",
    "photos_tuned": "by a pretrained network that goes on learning",
}


def are_photographs(asked: Asked, inspected: Inspected) -> bool:
    """Whether most of the images in folders are in colour and at least 96 pixels wide and high."""
    facts = inspected.report.images
    if asked.template != "folder" or asked.source.name != "folder" or facts is None or asked.source.folders:
        return False
    large = sum(count for size, count in facts.sizes if min(size) >= SMALLEST_PHOTOGRAPH)
    return 2 * large > facts.count and 2 * (facts.grey or 0) < facts.count and facts.channels == 3


def network_is_at_hand() -> bool:
    """Whether the weights of the template for photographs are on this machine, where its library finds them."""
    from semivae.nets.bodies import is_at_hand  # late: libraries of models take seconds to import

    return is_at_hand(read_recipe("photos").features["f"].net)


def recipe_text(asked: Asked, inspected: Inspected, quick: bool = False, weights: Path | None = None) -> str:
    """The text of a recipe for data that were inspected, with the comments of its template.

    Args:
        asked: what was inspected, a path.
        inspected: what was found.
        quick: a tenth of the steps, to see something soon.
        weights: of the network of the template for photographs, a file; None: those that its library publishes.

    Raises:
        DataError: training would refuse the data; the message lists all mistakes.
        RecipeError: the template does not fit the data, as arrays of odd sizes.
    """
    report = inspected.report
    if report.mistakes:
        raise DataError("training would refuse these data:\n" + "\n".join(report.mistakes))
    text = find_recipe(asked.template).read_text(encoding="utf-8")
    classes = [name for name, counts in report.classes.items() if counts["labelled"]]
    what = f"{count_of(len(classes), 'class', 'classes')} ({join_names(classes, 8)})" if classes else "numbers"
    head = (
        f"# Written by semivae start for {asked.source.path}: "  # type: ignore[union-attr]
        f"{what}, {report.parts['labelled']:,} labelled and "
        f"{report.parts['unlabelled']:,} unlabelled examples, {report.parts['test']:,} to test on"
    )
    text = head + "\n" + "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    text = _with_line(text, "about", as_yaml(f"{asked.template} of {report.place}"))
    text = _with_line(text, "source", flow(_source(asked, report)))
    text = _with_line(text, "split", flow({"labelled": "all", "validation": _validation(asked, report)}))
    few = report.parts["labelled"] + report.parts["unlabelled"]
    if asked.template == "photos" and few < 2 * COMPONENTS:
        text = text.replace(f"components: {COMPONENTS}", f"components: {max(1, few // 2)}")
    if weights is not None:
        text = text.replace("weights: default", f"weights: {as_yaml(str(weights.absolute()))}")
    if quick:
        text = re.sub(r"\b(steps|validate_every): (\d+)", _fewer, text)
    if getattr(asked.source, "folders", None) and inspected.dataset is not None:
        text = with_further_labels(text, inspected.dataset)
    _refuse_misfit(text, inspected)
    return text


def _fewer(found: re.Match[str]) -> str:
    return f"{found[1]}: {max(1, int(found[2]) // QUICK)}"


def _source(asked: Asked, report: DataReport) -> dict[str, object]:
    """The section `source`, with the size, channels and fit that lose little."""
    source = asked.source.model_dump(mode="json", exclude_defaults=True)
    facts = report.images
    if facts is None or asked.source.name not in LARGEST:
        return source
    largest, step = LARGEST_TUNED if asked.template == "photos_tuned" else LARGEST[asked.source.name]
    sides = sorted(min(size) for size, count in facts.sizes for _ in range(count))
    side = min(largest, -(-sides[len(sides) // 2] // step) * step)
    found: dict[str, object] = {"size": side, "channels": 1 if facts.grey == facts.count else facts.channels}
    # pretrained networks are better at what lies in the middle
    if 5 * facts.cropped > facts.count and asked.template not in PHOTOGRAPHS:
        found["fit"] = "pad"
    return source | {key: value for key, value in found.items() if f"source.{key}" not in asked.changed}


def _validation(asked: Asked, report: DataReport) -> int:
    """A fifth of the labelled examples, up to a few hundred; 0 where the data bring their own."""
    if report.parts["validation"]:
        return 0
    return min(MOST_VALIDATION.get(asked.template, USUAL_VALIDATION), report.parts["labelled"] // 5)


def _refuse_misfit(text: str, inspected: Inspected) -> None:
    """Raises where the recipe is none, or its networks or its split do not fit the data."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        recipe: Recipe = read_recipe(path)
    dataset, shaped = inspected.dataset, inspected.shaped()
    if dataset is None or shaped is None:
        raise DataError(f"{inspected.report.place}: the data have nothing to train or to test on")
    if mistakes := net_mistakes(resolve(recipe, shaped)):
        raise RecipeError("\n".join(["no template fits these data:", *mistakes]))
    make_split(dataset, recipe.split)


def _with_line(text: str, key: str, value: str) -> str:
    """A recipe's text with another value on the line of a key at the left margin."""
    changed, count = re.subn(rf"^{key}: .*$", lambda _: f"{key}: {value}", text, flags=re.MULTILINE)
    assert count == 1, key
    return changed
