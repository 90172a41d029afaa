"""How attributes are shown."""

from __future__ import annotations

import torch
from torch import Tensor

from semivae.classification import Classifier
from semivae.generative.sampling import draw
from semivae.page.kinds import KindOnPage, Score, labelled_and_not
from semivae.page.looks import Look, drawn_looks, raw_looks, strips_by
from semivae.runs.model import TrainedModel
from semivae.text import join_names
from semivae.variables import VOID, Sample

EACH = 10  # samples with an attribute
MOST = 20  # attributes of which samples are drawn
MOST_NAMED = 4  # of one example


def names_of(run: TrainedModel, values: Tensor) -> str:
    """The names of the attributes that one example [K] has, the first of many."""
    held = [name for name, value in zip(run.classes, values.tolist(), strict=True) if value == 1]
    return join_names(held, MOST_NAMED) if held else "none"


def examples(run: TrainedModel, part: Sample) -> list[Look]:
    """Each example above the names of its attributes."""
    looks = raw_looks(run, part)
    names = [names_of(run, values) for values in part[run.label]]
    return [look.saying(name, alt=f"An example with {name}") for look, name in zip(looks, names, strict=True)]


def judged(run: TrainedModel, part: Sample) -> list[Look]:
    """Each example with its attributes, and what the answer lacks (-) or adds (+), with their probabilities."""
    looks, labels = raw_looks(run, part), part[run.label]
    classifier = Classifier(run)
    outputs = torch.cat(list(classifier.in_parts(run.examples(part))))
    answers = run.task.predict(outputs, classifier.chosen)
    found = []
    for look, p, label, answer in zip(looks, outputs, labels, answers, strict=True):
        wrong = torch.nonzero((label != VOID) & (answer != label)).flatten().tolist()
        mistakes = [f"{'+' if answer[k] else '-'}{run.classes[k]} ({float(p[k]):.0%})" for k in wrong]
        title, note = names_of(run, label), join_names(mistakes, MOST_NAMED) if mistakes else "all right"
        found.append(look.saying(title, note, f"An example with {title}; the answer is wrong about: {note}"))
    return found


def samples(run: TrainedModel) -> list[Look]:
    """`EACH` samples for each of the first attributes; all others are drawn from the decoder's prior, or absent."""
    names = run.classes[:MOST]
    drawn_by_prior = run.label in run.decoder
    given = torch.full((len(names), len(run.classes)), float(VOID) if drawn_by_prior else 0.0)
    given[torch.arange(len(names)), torch.arange(len(names))] = 1.0
    drawn = draw(run, EACH * len(names), {run.label: given.repeat_interleave(EACH, dim=0)}, seed=0)
    return strips_by(drawn_looks(run, drawn), names, f"{EACH} samples that the decoder draws with")


SHOWN = KindOnPage(
    scores=(
        Score("mean_average_precision", "Mean average precision", ".2%", "mean_average_precision_interval"),
        Score("macro_f1", "Macro F1", ".2%"),
        Score("micro_f1", "Micro F1", ".2%"),
        Score("error", "Wrong answers", ".2%"),
        Score("nll", "NLL (nats an attribute)", ".4f"),
        Score("ece", "Calibration error", ".2%"),
    ),
    per_class="Average precision",
    entry="attribute",
    counted="answers",
    parts=labelled_and_not,
    examples=examples,
    judged=judged,
    samples=samples,
    coloured=lambda labels: None,
    judged_caption="The true attributes, and below them those that the answer adds (+) or lacks (-), with the "
    "probability that the run gives them.",
    samples_caption="The decoder's mean for codes drawn from its prior, given each attribute.",
)
