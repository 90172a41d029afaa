"""The report: what is known of one or several runs, as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semivae.errors import RunError
from semivae.files import refuse_occupied, write_whole
from semivae.metrics import error_interval
from semivae.page.charts import (
    EDGE,
    HEIGHT,
    LEFT,
    NAMES_WIDTH,
    SQUARE,
    WIDTH,
    Dot,
    WhiskerChart,
    reliability_dots,
    whisker_chart,
)
from semivae.page.findings import Findings, findings_of, short_names
from semivae.page.highlights import highlights
from semivae.page.sections import SECTIONS
from semivae.page.thumbnails import Thumbnails, shows_pixels
from semivae.runs.model import TrainedModel
from semivae.version import __version__

LARGEST = 3_000_000  # bytes of a page
SIDES = (128, 96, 72, 56, 40, 28)  # of its pictures, in pixels: the first with which it is small enough
MOST_RUNS = 8
CHECKPOINT_NAMES = {"last": "model", "selected": "chosen on validation", "twin": "supervised twin"}
STYLES = {"last": 0, "selected": 1, "twin": 2}
MOST_CLASSES_IN_TABLE = 30
PAGE_ENDINGS = (".html", ".htm")


def write_report(runs: Sequence[TrainedModel], path: str | Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Writes a page about runs, each at its last checkpoint, below 3 MB; it loads nothing and holds no script.

    Args:
        runs: one or several, 8 at most; they need not be alike.
        path: the .html file.
        overwrite: replace a file that exists.

    Returns:
        The numbers of the page, a JSON-serialisable dict: "out"; "runs", for each run "run", "about", "kind", "step",
        "steps", "seconds", "words" (its recipe), "plan", "data" (counts), "evaluation" (`semivae.reports.evaluation`),
        "diagnosis" (`semivae.reports.diagnosis`), "losses" (the last, by name), "most_wrong" and "least_sure" (rows of
        the test part, with the probability of the true class "likely", the share of wrong places "wrong" and the
        probability of the answer "sure"), "doubted" (the same of training labels), "features" (of the map) and
        "left_out" (what the page lacks, and why). What cannot be had is None or missing.

    Raises:
        RunError: the file exists or cannot be written, or there are too many runs.
    """
    path = Path(path)
    refuse_page(path, overwrite)
    refuse_number(len(runs))
    found = [findings_of(run, name) for run, name in zip(runs, short_names(runs), strict=True)]
    try:
        write_whole(path, page_of(found))
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from None
    return {"out": str(path), "runs": [each.numbers for each in found]}


def refuse_page(path: Path, overwrite: bool) -> None:
    """Raises `RunError` if no page can or may be written there; call it before long work."""
    if path.suffix.lower() not in PAGE_ENDINGS:
        raise RunError(f"{path}: a report is a web page; let its name end in .html")
    refuse_occupied(path, overwrite)


def refuse_number(count: int) -> None:
    """Raises `RunError` for none or too many runs."""
    if not 1 <= count <= MOST_RUNS:
        raise RunError(f"a report is about 1 to {MOST_RUNS} runs, not {count}; give fewer, or write several reports")


def page_of(found: Sequence[Findings], largest: int = LARGEST) -> bytes:
    """The page, in UTF-8, with pictures as large as its size allows.

    Raises:
        RunError: it is too large even with the smallest ones.
    """
    for side in SIDES:
        page = _rendered(found, Thumbnails(side)).encode("utf-8", "backslashreplace")
        if len(page) <= largest:
            return page
    raise RunError(f"the report takes {len(page):,} bytes, more than {largest:,}; report fewer runs at a time")


def _rendered(found: Sequence[Findings], thumbnails: Thumbnails) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # importing it takes a while

    environment = Environment(
        loader=PackageLoader("semivae.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": "{:,}".format,
        "percent": "{:.2%}".format,
        "written": _written,
    }
    return environment.get_template("page.html").render(
        title=f"Run {found[0].name}" if len(found) == 1 else f"{len(found)} runs side by side",
        runs=found,
        sections=[section for section in SECTIONS if any(map(section.shows, found))],
        version=__version__,
        thumbnail=thumbnails.uri,
        shows_pixels=shows_pixels,
        checkpoints=CHECKPOINT_NAMES,
        highlights=highlights,
        compared=compared,
        reliability=reliability,
        confusion=confusion,
        size={"width": WIDTH, "height": HEIGHT, "left": LEFT, "names": NAMES_WIDTH, "square": SQUARE, "edge": EDGE},
    )


def _written(value: float | None, how: str) -> str:
    return "-" if value is None else format(value, how)


def compared(found: Sequence[Findings]) -> list[WhiskerChart]:
    """Charts of the score that matters most, with intervals: one for each such score among the runs."""
    rows: dict[tuple[str, str], list[tuple[str, float, Sequence[float] | None, int]]] = {}
    for each in found:
        report = each.numbers.get("evaluation") or {}
        for checkpoint, name in CHECKPOINT_NAMES.items():
            if (scores := report.get(checkpoint)) and (checkpoint != "selected" or len(found) == 1):
                score = each.kind.scores[0]
                called = name if len(found) == 1 else f"{each.name}{', twin' if checkpoint == 'twin' else ''}"
                entry = (called, scores[score.key], scores[score.interval], STYLES[checkpoint])
                rows.setdefault((score.name, score.format), []).append(entry)
    return [whisker_chart(of, name, written) for (name, written), of in rows.items()]


def reliability(report: Mapping[str, Any]) -> list[tuple[tuple[Dot, ...], int]]:
    """The dots of the model and its twin in a reliability diagram, with exact 95% intervals, and the numbers of their
    styles; empty where the scores hold no bins."""
    found = []
    for checkpoint in ("last", "twin"):
        bins = (report.get(checkpoint) or {}).get("reliability", [])
        intervals = [error_interval(round(row["right"] * row["count"]), row["count"]) for row in bins]
        if bins:
            found.append((reliability_dots(bins, intervals), STYLES[checkpoint]))
    return found


def confusion(scores: Mapping[str, Any]) -> dict[str, Any]:
    """A confusion matrix as shares of its rows, or of many classes the pairs that are confused most; or nothing."""
    names, counts = list(scores.get("per_class", ())), scores.get("confusion", [])
    totals = [max(1, sum(row)) for row in counts]
    mistakes = [
        (count, names[true], names[answer], count / totals[true])
        for true, row in enumerate(counts)
        for answer, count in enumerate(row)
        if true != answer and count
    ]
    most = max((share for *_, share in mistakes), default=1.0)
    rows = [
        [
            {
                "counted": count,
                "shade": 0.0 if true == answer else round((count / totals[true] / most) ** 0.5 * 0.55, 3),
            }
            for answer, count in enumerate(row)
        ]
        for true, row in enumerate(counts)
    ]
    return {
        "names": names,
        "rows": rows if len(names) <= MOST_CLASSES_IN_TABLE else [],
        "pairs": sorted(mistakes, key=lambda pair: -pair[0])[:12],
    }
