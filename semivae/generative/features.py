"""Features for comparing images, from a classifier that another run trained, and the pictures of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semivae.classification import Classifier
from semivae.classification.posterior import embed, label_factor
from semivae.data.hashing import random_subset
from semivae.data.inputs.pixels import as_model_values
from semivae.errors import RunError
from semivae.generative.prior_samples import prior_samples
from semivae.generative.scores import Features, frechet_distance, precision_recall
from semivae.runs.model import TrainedModel
from semivae.seeds import seeded
from semivae.text import count_of, either
from semivae.variables import Around, Sample

BATCH = 512


@dataclass(frozen=True)
class FeatureSpace:
    """The layer below the classes of a run's q(label | image). Distances compare only within the same features.

    Raises:
        RunError: the run has no classifier, or one of other images (`of`).
    """

    run: TrainedModel

    @classmethod
    def of(cls, classifier: TrainedModel, run: TrainedModel) -> FeatureSpace:
        """Returns the features of `classifier` for the images of `run`."""
        label_factor(classifier)
        ours, theirs = (each.recipe.variables[each.shown].shape for each in (run, classifier))
        if ours != theirs:
            raise RunError(
                f"{classifier.path}: its classifier takes {classifier.nouns[1]} of shape {list(theirs or ())}, those "
                f"of {run.path} are {list(ours or ())}; give a classifier of the same {run.nouns[1]} as features"
            )
        return cls(classifier)

    @property
    def name(self) -> str:
        """Returns a description of the features, to be shown with every distance."""
        label, image = self.run.label, self.run.image
        return f"features of q({label} | {image}) of {self.run.path} ({self.run.checkpoint}), not Inception's"

    def __call__(self, images: Tensor) -> Features:
        return np.asarray(embed(self.run, self.run.of_pictures(as_model_values(images))), dtype=np.float64)

    def class_counts(self, images: Tensor) -> list[int]:
        """Returns the number of images that it classifies as each class; empty if an image has no single class."""
        read = torch.from_numpy(Classifier(self.run).predict(self.run.of_pictures(as_model_values(images))))
        return self.run.task.class_counts(read, len(self.run.classes))


def pictures(run: TrainedModel, sample: Sample, around: Around | None = None) -> Tensor:
    """p(image | ...) as pictures: its mean, of a flow a draw, the painter's if there is one.

    Where the run's data are black and white, so are they. Images known in part (`around`) lead flows to what fits.
    """
    return run.shown_inputs.as_shown(run.picture(sample, around))


@torch.no_grad()
def random_code_pictures(run: TrainedModel, count: int, seed: int) -> Tensor:
    """Pictures of `count` codes drawn from the decoder's priors, float32 [count, ...] on the CPU.

    Raises:
        RunError: a twin, a decoder without images, or a prior known by samples only, and no stream that shows any.
    """
    run.require_picture_factor()
    parts = []
    given = prior_samples(run, count, {}, seed)
    with seeded(seed, run.device):
        for start in range(0, count, BATCH):
            part = {name: values[start : start + BATCH] for name, values in given.items()}
            drawn = run.decoder.complete(part, min(BATCH, count - start))
            parts.append(pictures(run, drawn).cpu())
    return torch.cat(parts)


def quality(run: TrainedModel, space: FeatureSpace, count: int, seed: int) -> dict[str, Any]:
    """Returns the Frechet distance, precision and recall of pictures of random codes against test images.

    The same for as many training images is the reference. "features" names the feature space.

    Raises:
        RunError, DataError: a twin, no prior to draw from, or data that are gone or fewer than 10.
    """
    data = run.dataset()
    test, train = data.test[run.shown], data.train[run.shown]
    count = min(count, len(test), len(train))
    if count < 10:
        are = either(count, "is", "are")
        raise RunError(f"{run.path}: a distance needs 10 {run.nouns[1]} or more, here {are} {count}")
    reference = space(random_subset(test, count, seed))
    report: dict[str, Any] = {
        "run": str(run.path),
        "checkpoint": run.checkpoint,
        "features": space.name,
        "reference": f"{count_of(count, *run.nouns, before='test')} of {data.name}",
        "count": count,
        "seed": seed,
    }
    for name, images in (
        ("random_code", random_code_pictures(run, count, seed)),
        ("training_images", random_subset(train, count, seed)),
    ):
        found = space(images)
        precision, recall = precision_recall(reference, found)
        report[name] = {
            "frechet": frechet_distance(reference, found),
            "precision": precision,
            "recall": recall,
        }
    return report
