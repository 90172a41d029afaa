"""Novelty (out-of-distribution) scores of images: the decoder's likelihood, and what the encoder says.

A likelihood alone is high for simple images, whatever they show (Nalisnick et al. 2019). The part that an image's
complexity explains is therefore subtracted: its compressed size (Serra et al., "Input complexity and
out-of-distribution detection with likelihood-based generative models", ICLR 2020), times a slope that is fitted on
training images, because the nats of a family are not those of a compressed file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from semivae.classification.conformal import p_values_of
from semivae.classification.posterior import batches, embed, encoder_log_posterior
from semivae.data.hashing import random_subset
from semivae.data.inputs.examples import Examples
from semivae.data.inputs.pieces import AnyExamples
from semivae.errors import RunError
from semivae.generative.features_novelty import energy, neighbour_distances, reference_features
from semivae.generative.likelihood import image_bounds, picture_scores
from semivae.runs.model import TrainedModel
from semivae.tasks.task import takes
from semivae.text import count_of
from semivae.variables import Sample

Floats = NDArray[np.float64]
SCORES = ("decoder", "pictures", "encoder", "neighbours", "energy")
FALSE_ALARMS = 0.05  # the fraction of familiar images that the summary may flag
AUROC_ASSUMES = (
    "It measures detection only if every given {one} is novel; familiar ones among them draw it towards 0.5. Give "
    "known and unknown {many} in two calls."
)
NOVEL = 1e300  # score of an image whose probability is too small for a number
FEWEST = 20  # test images; with fewer, no p-value could get below 0.05


@dataclass(frozen=True)
class Scores:
    """Novelty scores of n images, by several methods; higher is more novel.

    Attributes:
        decoder: nats by which -log p(image) exceeds what its complexity explains, [n].
        encoder: one minus the confidence, 1 - max q(label | image), or the probability of a stranger where the label
            has them, [n]; None without a classifier.
        neighbours: distance in the encoder's features to the tenth nearest training image, [n]; None likewise.
        energy: -log sum exp of the classifier's logits, nats, [n]; None likewise.
        pictures: of a run that starts from features, nats by which -log p(picture | codes of its features) exceeds what
            the picture's complexity explains, [n]; None without pictures beside them.
    """

    decoder: Floats
    encoder: Floats | None
    neighbours: Floats | None = None
    energy: Floats | None = None
    pictures: Floats | None = None


@dataclass(frozen=True)
class Novelty:
    """Scores of n images, compared with test images of the run.

    Attributes:
        scores: of the images.
        p_values: by score, [n]: share of familiar images that are at least as novel, the image itself counted in
            (a conformal p-value: of familiar images at most a share p has a value of p or less).
        report: JSON-serialisable: counts, and by score "auroc" (the chance that one of the images scores higher than a
            test image; how well novel images are detected only if all of them are novel, see "auroc_assumes") and
            "flagged" (share with a p-value of 0.05 or less).
    """

    scores: Scores
    p_values: dict[str, Floats]
    report: dict[str, Any]


def novelty(run: TrainedModel, images: AnyExamples, draws: int = 4, count: int = 1000, seed: int = 0) -> Novelty:
    """Scores images [n, ...] against `count` test images, unknown to the run.

    Args:
        run: the run, at a checkpoint that has a decoder.
        images: the images to score, as `TrainedModel.with_pictures` returns them, or in pieces that are kept.
        draws: codes for each image, for the bound of log p (`semivae.generative.likelihood`).
        count: the largest number of test images to compare with, and of training images to fit the slope on.
        seed: of the draws.

    Raises:
        RunError: the run is a twin, a prior is known by samples only, or there are fewer than 20 test images.
        DataError: the data are missing, or the images do not fit.
    """
    from sklearn.metrics import roc_auc_score  # importing scikit-learn takes a second

    run.require_one_input("novelty")
    data, (one, many) = run.dataset(), run.nouns
    test, train = (_some(run, part, count, seed) for part in (data.test, data.train))
    if len(test) < FEWEST:
        are = count_of(len(test), f"{one} is", f"{many} are", before="test")
        raise RunError(f"{run.path}: {are} too few to compare with; {FEWEST} are needed")
    fitted = Fitted.on(run, train, draws, seed)
    found, familiar = (_scores(run, part, fitted, draws, seed) for part in (images, test))
    p_values, by_score = {}, {}
    for score in SCORES:
        ours, theirs = getattr(found, score), getattr(familiar, score)
        if ours is None:
            continue
        p_values[score] = p = p_values_of(ours, theirs)
        auroc = roc_auc_score([0] * len(theirs) + [1] * len(ours), np.concatenate([theirs, ours]))
        by_score[score] = {"auroc": float(auroc), "flagged": float((p <= FALSE_ALARMS).mean())}
    report = {
        "run": str(run.path),
        "checkpoint": run.checkpoint,
        "count": len(found.decoder),
        "familiar": len(test),
        "draws": draws,
        "seed": seed,
        "false_alarms": FALSE_ALARMS,
        "slope": fitted.slope,
        "auroc_assumes": AUROC_ASSUMES.format(one=one, many=many),
        **by_score,
    }
    return Novelty(found, p_values, report)


@dataclass(frozen=True)
class Fitted:
    """What is learnt from training images to score others.

    Attributes:
        slope: nats of -log p(image) for each nat of the image's complexity.
        picture_slope: the same of the picture beside features.
        references: features of training images; None without a classifier.
    """

    slope: float
    picture_slope: float
    references: NDArray[np.float32] | None

    @classmethod
    def on(cls, run: TrainedModel, train: Tensor | Examples, draws: int, seed: int) -> Fitted:
        """Returns the slopes and features of training images."""
        slope = slope_of(complexity(run, train), -image_bounds(run, train, draws, seed))
        beside = 0.0
        if isinstance(train, Examples):
            beside = slope_of(_picture_complexity(run, train), -picture_scores(run, train, draws, seed))
        return cls(slope, beside, reference_features(run) if classifies(run) else None)


def _some(run: TrainedModel, part: Sample, count: int, seed: int) -> Tensor | Examples:
    """Returns some examples of a part, with the pictures beside features."""
    images = random_subset(part[run.image], count, seed)
    if run.shown == run.image:
        return images
    return Examples({run.image: images, run.shown: random_subset(part[run.shown], count, seed)})  # the same rows


def _picture_complexity(run: TrainedModel, examples: Examples) -> Floats:
    pictures = run.shown_inputs.values(examples.parts[run.shown])
    return run.shown_inputs.complexity(pictures)


def _scores(run: TrainedModel, images: AnyExamples, fitted: Fitted, draws: int, seed: int) -> Scores:
    decoder = surprise(run, images, fitted.slope, draws, seed)
    pictures = None
    if isinstance(images, Examples):
        nats = -picture_scores(run, images, draws, seed) - fitted.picture_slope * _picture_complexity(run, images)
        pictures = np.nan_to_num(nats, nan=NOVEL, posinf=NOVEL)
    if fitted.references is None:
        return Scores(decoder, None, pictures=pictures)
    doubt = run.task.doubt(encoder_log_posterior(run, images))
    distances = neighbour_distances(embed(run, images), fitted.references)
    return Scores(decoder, doubt, distances, energy(run, images), pictures)


def surprise(run: TrainedModel, images: AnyExamples, slope: float, draws: int, seed: int) -> Floats:
    """Nats by which -log p(image) exceeds what its complexity explains, [n]; higher is more novel."""
    nats = -image_bounds(run, images, draws, seed) - slope * complexity(run, images)
    return np.nan_to_num(nats, nan=NOVEL, posinf=NOVEL)


def classifies(run: TrainedModel) -> bool:
    """Returns whether the run infers a single class from an image alone."""
    return run.roles.image_label is not None and takes(run.task, "doubt")


def complexity(run: TrainedModel, images: AnyExamples) -> Floats:
    """Returns the nats that a general-purpose compressor needs for each example, [n]."""
    return np.concatenate([run.inputs.complexity(part[run.image]) for part in batches(run, images)])


def slope_of(size: Floats, surprise: Floats) -> float:
    """Returns the slope, at least 0, of the least-squares line of finite `surprise` over `size`, [n] each."""
    size, surprise = size[np.isfinite(surprise)], surprise[np.isfinite(surprise)]
    if not len(size):
        return 0.0
    spread = size - size.mean()
    square = float(spread @ spread)
    return max(0.0, float(spread @ surprise) / square) if square else 0.0
