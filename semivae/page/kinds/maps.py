"""How maps of classes are shown: in colours over their images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from semivae.classification import Classifier
from semivae.generative.sampling import draw
from semivae.page.judged import judged_of
from semivae.page.kinds import KindOnPage, Score, labelled_and_not
from semivae.page.looks import Look, Picture, pixels_of, strip
from semivae.runs.model import TrainedModel
from semivae.runs.palettes import run_palette
from semivae.tasks.map_pictures import OPACITY, coloured, colours_of
from semivae.variables import Sample

DRAWN = 12  # test maps that the decoder paints for


def overlay(run: TrainedModel, pixels: Picture, numbers: Tensor) -> Picture:
    """An image [height, width, channels] under the colours of its classes [height, width]."""
    colours = coloured(numbers.long().numpy(), run_palette(run))
    mixed: Picture = ((1 - OPACITY) * pixels + OPACITY * colours).round().astype(np.uint8)
    return mixed


def examples(run: TrainedModel, part: Sample) -> list[Look]:
    """Each image beside itself under its map."""
    pixels, labels = pixels_of(run.values(run.examples(part))[run.image]), part[run.label]
    return [
        Look(strip([image, overlay(run, image, numbers)]), alt="An image, and the same under its mask")
        for image, numbers in zip(pixels, labels, strict=True)
    ]


def judged(run: TrainedModel, part: Sample) -> list[Look]:
    """Each image, under its map, and under the answer."""
    pixels, labels = pixels_of(run.values(run.examples(part))[run.image]), part[run.label]
    answers = torch.cat(list(Classifier(run).in_parts(run.examples(part))))
    wrong = judged_of(run.task, [answers], labels).wrong.tolist()
    return [
        Look(
            strip([image, overlay(run, image, numbers), overlay(run, image, answer)]),
            title=f"{share:.1%} wrong",
            alt=f"An image, the same under its mask, and under the answer, which is wrong at {share:.1%} of its pixels",
        )
        for image, numbers, answer, share in zip(pixels, labels, run.task.predict(answers), wrong, strict=True)
    ]


def samples(run: TrainedModel) -> list[Look]:
    """Test maps, each beside two images that the decoder paints for it."""
    maps = run.dataset().test[run.label][:DRAWN].long()
    first, second = (draw(run, len(maps), {run.label: maps}, seed=seed)[run.image] for seed in (0, 1))
    palette = run_palette(run)
    pairs = zip(maps, pixels_of(run.inputs.as_shown(first)), pixels_of(run.inputs.as_shown(second)), strict=True)
    return [
        Look(strip([coloured(numbers.numpy(), palette), one, other]), alt="A mask, and two images painted for it")
        for numbers, one, other in pairs
    ]


def legend(run: TrainedModel) -> list[tuple[str, str]]:
    """The names of the classes and their colours."""
    palette = run_palette(run)
    return [
        (name, "#" + "".join(f"{part:02x}" for part in colour))
        for name, colour in zip(palette.names, colours_of(palette).tolist(), strict=True)
    ]


SHOWN = KindOnPage(
    scores=(
        Score("mean_iou", "Mean IoU", ".2%", "mean_iou_interval"),
        Score("pixel_accuracy", "Pixel accuracy", ".2%"),
        Score("nll", "NLL (nats a pixel)", ".4f"),
        Score("brier", "Brier score", ".4f"),
        Score("ece", "Calibration error", ".2%"),
    ),
    per_class="IoU",
    counted="pixels",
    parts=labelled_and_not,
    examples=examples,
    judged=judged,
    samples=samples,
    coloured=lambda labels: None,
    shown=12,
    legend=legend,
    judged_caption="From left to right: the image, the image under its true mask, and under the run's answer.",
    samples_caption="A mask of the test set, and two images that the decoder paints for it, with codes from its prior.",
)
