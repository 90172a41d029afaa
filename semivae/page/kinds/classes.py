"""How single classes are shown."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from semivae.classification import Classifier
from semivae.generative.sampling import draw
from semivae.page.kinds import KindOnPage, Score, labelled_and_not
from semivae.page.looks import Look, drawn_looks, raw_looks, strips_by
from semivae.runs.model import TrainedModel
from semivae.variables import Sample

EACH = 10  # samples of a class
MOST_CLASSES = 20  # of which samples are drawn


def examples(run: TrainedModel, part: Sample) -> list[Look]:
    """Each example under the name of its class."""
    looks = raw_looks(run, part)
    names = [run.classes[number] for number in part[run.label].tolist()]
    return [look.saying(name, alt=f"An example of {name}") for look, name in zip(looks, names, strict=True)]


def judged(run: TrainedModel, part: Sample) -> list[Look]:
    """Each example with its class, the answer, and the probabilities of both."""
    looks, labels = raw_looks(run, part), part[run.label].tolist()
    answers = torch.cat(list(Classifier(run).in_parts(run.examples(part))))
    found = []
    for look, p, label in zip(looks, answers, labels, strict=True):
        true, place = run.classes[label], int(p.argmax())
        answer = run.classes[place]
        if place == label:
            title, note = f"{true}", f"{float(p[place]):.0%}"
            alt = f"An example of {true}, answered rightly with {float(p[place]):.0%}"
        else:
            title, note = f"{true} → {answer}", f"{float(p[label]):.0%} → {float(p[place]):.0%}"
            alt = f"An example of {true}, taken for {answer} with {float(p[place]):.0%}"
        found.append(look.saying(title, note, alt))
    return found


def samples(run: TrainedModel) -> list[Look]:
    """`EACH` samples of each of the first classes, a strip or some rows each."""
    names = run.classes[:MOST_CLASSES]
    drawn = draw(run, EACH * len(names), {run.label: list(range(len(names)))}, seed=0)
    return strips_by(drawn_looks(run, drawn), names, f"{EACH} samples that the decoder draws for")


def coloured(labels: Tensor) -> Sequence[int]:
    numbers: list[int] = labels.tolist()
    return numbers


SHOWN = KindOnPage(
    scores=(
        Score("error", "Error", ".2%", "error_interval"),
        Score("nll", "NLL (nats)", ".4f"),
        Score("brier", "Brier score", ".4f"),
        Score("ece", "Calibration error", ".2%"),
    ),
    per_class="Error",
    counted="test examples",
    parts=labelled_and_not,
    examples=examples,
    judged=judged,
    samples=samples,
    coloured=coloured,
    judged_caption="The true class and the answer, with the probability that the run gives to each.",
    samples_caption="The decoder's mean for codes drawn from its prior, given each class.",
)
