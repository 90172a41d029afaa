"""What is shown without a label: examples, and samples."""

from __future__ import annotations

import torch
from torch import Tensor

from semivae.data.splits import Split
from semivae.generative.sampling import draw
from semivae.page.kinds import KindOnPage
from semivae.page.looks import Look, drawn_looks, raw_looks
from semivae.runs.model import TrainedModel
from semivae.variables import Sample

DRAWN = 60


def all_without(split: Split) -> dict[str, Tensor]:
    """Examples whose labels nobody uses, though the split may tell some apart."""
    return {"unlabelled": torch.cat([split.labelled, split.unlabelled])}


def examples(run: TrainedModel, part: Sample) -> list[Look]:
    """Each example as it is."""
    return [look.saying("", alt="An example") for look in raw_looks(run, part)]


def samples(run: TrainedModel) -> list[Look]:
    """Samples of the decoder, each by itself."""
    drawn = draw(run, DRAWN, {}, seed=0)
    return [look.saying("", alt="A sample") for look in drawn_looks(run, drawn)]


SHOWN = KindOnPage(
    scores=(),
    per_class="",
    counted="",
    parts=all_without,
    examples=examples,
    judged=examples,
    samples=samples,
    coloured=lambda labels: None,
    samples_caption="The decoder's mean for codes drawn from its prior.",
)
