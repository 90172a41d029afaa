"""What a trained run says of images or rows that it is given: classes, sets of them, numbers, features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from torch import Tensor
from torch.distributions import Distribution

from semivae.classification import Classifier
from semivae.classification.intervals import PredictedNumbers, predict_numbers
from semivae.classification.posterior import any_posterior, embed
from semivae.classification.trust import Score, predict_sets, predict_sure
from semivae.errors import RunError
from semivae.runs.model import TrainedModel

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from PIL.Image import Image

    OneGiven = str | Path | Image | Sequence[str | Path | Image] | ArrayLike | Tensor
    Given = OneGiven | Mapping[str, OneGiven]


class AnsweringModel(TrainedModel):
    """A trained model with the verbs that answer for single examples; `semivae.Run` adds all others.

    Wherever images are asked for, give the path of a file, folder or .zip, a Pillow image, a list of either, or an
    array (`semivae.data.inputs.images.Images.read`); of a run that learnt from a table, another table or an array. Of a
    run whose encoder starts from several inputs, give a mapping from the name of each to one of these.
    """

    def posterior(self, name: str, /, **observed: Any) -> Distribution:
        """q(name | observed), as a torch distribution with one batch entry per sample.

        For example `run.posterior("h", x=images, y=3)`, or `run.posterior("y", x=images).probs`, (n, classes).

        Args:
            name: a variable that the encoder has a factor for.
            observed: the values of its parents: images as for `predict`, all others as for `sample`. Parents that are
                left out are drawn.

        Raises:
            RunError: no such factor, a value that does not fit its variable, or no images.
        """
        return any_posterior(self, name, observed)

    def classifier(
        self, *, calibrate: bool = False, vote: bool = False, prior: Any = None, draws: int | None = None
    ) -> Classifier:
        """The run as a classifier, whose `probabilities(images)` are float64 (n, classes), of maps (n, classes, H, W).

        Args:
            calibrate: divide the logits by the temperature with the lowest NLL on the validation images.
            vote: add the decoder's opinion; its weight and the temperature are chosen together on the same images.
            prior: how frequent the classes are among the images: "uniform", "ratio=10", {"cat": 0.7, "dog": 0.3}, or
                "estimate" (by EM, from 50 images on); None: as in training.
            draws: codes for each image and class in the vote.

        Raises:
            RunError, DataError: there are no validation images to calibrate on, the data are gone, or the kind of the
                label supports no vote or prior.
        """
        chosen = {} if draws is None else {"draws": draws}
        return Classifier.of(self, calibrate=calibrate, vote=vote, prior=prior, **chosen)

    @overload
    def predict(
        self,
        images: Given,
        *,
        names: Literal[False] = False,
        calibrate: bool = False,
        vote: bool = False,
        prior: Any = None,
        at_most_error: float | None = None,
    ) -> NDArray[Any]: ...

    @overload
    def predict(
        self,
        images: Given,
        *,
        names: Literal[True],
        calibrate: bool = False,
        vote: bool = False,
        prior: Any = None,
        at_most_error: float | None = None,
    ) -> NDArray[np.str_]: ...

    def predict(
        self,
        images: Given,
        *,
        names: bool = False,
        calibrate: bool = False,
        vote: bool = False,
        prior: Any = None,
        at_most_error: float | None = None,
    ) -> NDArray[Any] | NDArray[np.str_]:
        """The most likely class number of each image, [n], or place, [n, height, width]; or its attributes or number.

        Attributes, [n, K], are 1 above thresholds that validation images choose, and else 0; the names of an image's
        are one text, `hat;smiling`. Numbers are float32 in their unit; `predict_numbers` gives their intervals too.

        Args:
            images: in files or arrays.
            names: give the names of the classes, which are `classes` of the run, instead of their numbers.
            calibrate, vote, prior: see `classifier`.
            at_most_error: answer only images of which the run is sure enough for at most this error among the answers
                (`semivae.classification.abstaining`); all others are -1, or an empty name.

        Raises:
            RunError: the validation examples cannot promise this error, there are no names, or as `classifier` says.
        """
        if names and not self.classes:
            raise RunError(f"{self.path}: {self.label} is a {self.task.nouns[0]}, so it has no names; leave out names")
        classifier = self.classifier(calibrate=calibrate, vote=vote, prior=prior)
        with self.examples_of(images, kept=vote) as (raw, _):
            if at_most_error is None:
                numbers = classifier.predict(raw)
                return self.task.named(numbers, self.classes) if names else numbers
            numbers = predict_sure(classifier, raw, at_most_error)
        return np.array([*self.classes, ""])[numbers] if names else numbers  # the last one is number -1

    @overload
    def predict_sets(
        self,
        images: Given,
        *,
        coverage: float = 0.95,
        names: Literal[False] = False,
        calibrate: bool = False,
        vote: bool = False,
        score: Score = "aps",
    ) -> NDArray[np.bool_]: ...

    @overload
    def predict_sets(
        self,
        images: Given,
        *,
        coverage: float = 0.95,
        names: Literal[True],
        calibrate: bool = False,
        vote: bool = False,
        score: Score = "aps",
    ) -> list[tuple[str, ...]]: ...

    def predict_sets(
        self,
        images: Given,
        *,
        coverage: float = 0.95,
        names: bool = False,
        calibrate: bool = False,
        vote: bool = False,
        score: Score = "aps",
    ) -> NDArray[np.bool_] | list[tuple[str, ...]]:
        """Sets of classes that hold the class of a share `coverage` of new images, or more: booleans [n, classes].

        A set may be empty where the run is right more often than is asked. See `semivae.classification.conformal`.

        Args:
            images: in files or arrays.
            coverage: in (0, 1).
            names: give the names of the classes in each set instead.
            calibrate, vote: see `classifier`.
            score: "aps", adaptive, or "raps", regularised, for smaller sets of many classes.

        Raises:
            RunError: the validation examples are too few for this coverage, or as `classifier` says.
        """
        classifier = self.classifier(calibrate=calibrate, vote=vote)
        with self.examples_of(images, kept=True) as (raw, _):
            found = predict_sets(classifier, raw, coverage, score)
        return [tuple(np.array(self.classes)[row].tolist()) for row in found] if names else found

    def predict_numbers(self, images: Given, *, coverage: float | None = None) -> PredictedNumbers:
        """Numbers with their standard deviations, and intervals that hold a share `coverage` of new images' numbers.

        A coverage of None is 90%, or no intervals where the run has too few validation examples. Raises `RunError` as
        `semivae.classification.intervals.predict_numbers`.
        """
        classifier = self.classifier()
        with self.examples_of(images) as (raw, _):
            return predict_numbers(classifier, raw, coverage)

    def embed(self, images: Given) -> NDArray[np.float32]:
        """Features below the classifier's last layer, float32 (n, features).

        Raises `RunError` if the label depends on more than the image, `DataError` if the images do not fit.
        """
        with self.examples_of(images) as (raw, _):
            return embed(self, raw)
