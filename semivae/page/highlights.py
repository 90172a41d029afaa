"""The few figures of a run that its page begins with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from semivae.page.findings import Findings
from semivae.text import percent


@dataclass(frozen=True)
class Highlight:
    """One figure: its value, what it is, and a few words more."""

    value: str
    name: str
    note: str = ""


def highlights(found: Findings) -> list[Highlight]:
    """The score that matters most and the twin's, what prediction sets hold, and whether samples are as asked for.

    The first is there whenever anything was evaluated; of a run without a label the list is empty.
    """
    report = found.numbers.get("evaluation")
    return [] if not report else [*_scores(found, report), *_sets(report), *_samples(found)]


def _scores(found: Findings, report: Mapping[str, Any]) -> Iterator[Highlight]:
    score, scores, twin = found.kind.scores[0], report["last"], report["twin"]
    interval = scores[score.interval]
    between = "" if interval is None else ", 95% interval " + " to ".join(format(end, score.format) for end in interval)
    yield Highlight(
        format(scores[score.key], score.format), score.name, f"on {report['count']:,} test examples{between}"
    )
    if twin is not None:
        yield Highlight(
            format(twin[score.key], score.format),
            f"{score.name} of the supervised twin",
            "same network, the labels alone",
        )


def _sets(report: Mapping[str, Any]) -> Iterator[Highlight]:
    sets = report.get("sets", {})
    if "covered" in sets:
        note = f"asked for {percent(sets['coverage'])}; {sets['mean_size']:.2f} classes in a set"
        yield Highlight(f"{sets['covered']:.1%}", "Covered by prediction sets", note)


def _samples(found: Findings) -> Iterator[Highlight]:
    samples = (found.numbers.get("diagnosis") or {}).get("samples") or {}
    for reader, of in list(samples.get("readers", {}).items())[:1]:
        yield Highlight(f"{of['read_as_intended']:.1%}", "Samples read as intended", f"by {reader}")
