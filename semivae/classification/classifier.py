"""A run as a classifier: one object from images to class probabilities, through a chain of stated steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semivae.classification.calibration import Calibration, calibration_of, checkpoint_digest
from semivae.classification.posterior import (
    Floats,
    encoder_log_posterior,
    label_parameters,
    refuse_by_kind,
    vote_of_decoder,
)
from semivae.classification.priors import change_prior, read_prior, trained_prior
from semivae.classification.shift import PriorEstimate, estimate_prior
from semivae.data.inputs.pieces import AnyExamples
from semivae.errors import DataError, RunError
from semivae.runs.folder import read_calibrations, write_calibrations
from semivae.runs.model import TrainedModel

DRAWS = 4  # codes for each image and class in the decoder's vote


@dataclass(frozen=True)
class Answer:
    """Class probabilities of n images, and how they came about.

    Attributes:
        probabilities: float32 (n, K), on the CPU.
        uncorrected: the same before the prior was changed.
        log_posterior: its logarithm, float64 (n, K), nats.
        prior: the p(y) that they were changed to, float64 (K,); None if it was not.
        estimate: how that prior was estimated from the images, or None.
    """

    probabilities: Tensor
    uncorrected: Tensor
    log_posterior: Floats
    prior: Floats | None = None
    estimate: PriorEstimate | None = None


@dataclass(frozen=True)
class Classifier:
    """A run's class probabilities, by steps that can each be left out:

        log p(y | x) = log q(y | x) / temperature + strength * vote(y)
                       + log prior(y) - log trained_prior(y) + constant

    The encoder's q(y | x); its temperature; the decoder's vote log p(x | y) (`semivae.game.teaching.vote`);
    and another prior than the one of training (`semivae.classification.priors`). `Classifier.of` chooses the
    values; without arguments, the classifier is q(y | x).

    Args:
        run: the run, at one checkpoint.
        calibration: temperature and strength.
        prior: float64 (K,) probabilities, "estimate" for EM on the images that are classified, or None: no change.
        trained_prior: float64 (K,), needed for a change of prior.
    """

    run: TrainedModel
    calibration: Calibration = field(default_factory=Calibration)
    prior: Floats | Literal["estimate"] | None = None
    trained_prior: Floats | None = None

    @classmethod
    def of(
        cls,
        run: TrainedModel,
        *,
        calibrate: bool = False,
        vote: bool = False,
        prior: Any = None,
        draws: int = DRAWS,
    ) -> Classifier:
        """Returns the classifier of a run with the requested steps.

        Args:
            run: the run.
            calibrate: choose the temperature on the validation images (`calibration_of`).
            vote: add the decoder's vote; temperature and strength are chosen together.
            prior: as `read_prior` says, or "estimate", which calibrates too, because EM needs it.
            draws: codes for each image and class in the vote.

        Raises:
            RunError, DataError: a vote has no draws, or the kind of the label supports no vote or prior; or as
                `calibration_of`, `trained_prior` and `read_prior` raise them.
        """
        refuse_by_kind(run, calibrate=calibrate, vote=vote, prior=prior)
        if vote and draws < 1:
            raise RunError(f"draws is {draws}, but the decoder's vote needs 1 or more; leave the vote out otherwise")
        estimated = isinstance(prior, str) and prior == "estimate"
        stated: Any = prior if prior is None or estimated else read_prior(prior, run.classes)
        calibration = Calibration()
        if calibrate or vote or estimated:
            calibration = calibration_of(run, draws if vote else 0)
        return cls(run, calibration, stated, None if prior is None else trained_prior(run))

    def log_posterior(self, images: AnyExamples, encoder: Floats | None = None) -> Floats:
        """log p(y | x) before any change of prior, float64 (n, K), of maps (n, K, H, W), nats.

        Args:
            images: what to classify.
            encoder: `encoder_log_posterior` of them, where it is known already.

        Raises:
            DataError: the images' shape is not the run's.
            RunError: the run has no classifier, or no vote can be taken.
        """
        terms = [encoder_log_posterior(self.run, images) if encoder is None else encoder]
        if self.calibration.draws:
            terms.append(vote_of_decoder(self.run, images, self.calibration.draws))
        return self.calibration.apply(terms)

    def answer(self, images: object, encoder: Floats | None = None) -> Answer:
        """Returns class probabilities of images, as `TrainedModel.read` takes or returns them, with the prior.

        Images may also come in pieces (`semivae.data.inputs.pieces`), which votes look at twice: those have to be kept.

        Args:
            images: what to classify.
            encoder: as for `log_posterior`.

        Raises:
            DataError, RunError: as `log_posterior`, `estimate_prior` and `change_prior` raise them.
        """
        raw = images if isinstance(images, AnyExamples) else self.run.read_all(images)[0]
        uncorrected = self.log_posterior(raw, encoder)
        if self.prior is None:
            return Answer(self.outputs_from(uncorrected), self.outputs_from(uncorrected), uncorrected)
        assert self.trained_prior is not None
        estimate = None if not isinstance(self.prior, str) else estimate_prior(uncorrected, self.trained_prior)
        prior = self.prior if estimate is None else estimate.probabilities
        assert not isinstance(prior, str)
        corrected = change_prior(uncorrected, self.trained_prior, prior, self.run.classes)
        return Answer(self.outputs_from(corrected), self.outputs_from(uncorrected), uncorrected, prior, estimate)

    def probabilities(self, images: object) -> Tensor:
        """Returns class probabilities of images, as for `answer`: float32 (n, K) on the CPU."""
        return self.answer(images).probabilities

    @property
    def looks_at_all(self) -> bool:
        """Returns whether a step needs all images at once: votes draw codes in order, EM estimates a prior on them."""
        return bool(self.calibration.draws) or self.prior is not None

    def in_parts(self, images: AnyExamples) -> Iterator[Tensor]:
        """Yields the outputs for images (for classes, probabilities [n, K, ...]) in parts that fit into memory."""
        if self.looks_at_all:
            yield self.probabilities(images)
        else:
            variable = self.run.encoder[self.run.label].target
            for parameters in label_parameters(self.run, images):
                yield self.run.task.outputs(variable, parameters, self.calibration.temperature).float()

    @cached_property
    def chosen(self) -> Any:
        """What answers need besides outputs, chosen on the validation images (`Task.choose`), and kept with the run.

        None for kinds that choose nothing, and where nothing is kept and there are no such images to choose on.
        """
        run = self.run
        if not run.task.chooses or self.looks_at_all:
            return None
        digest, temperature = checkpoint_digest(run), self.calibration.temperature
        kept = read_calibrations(run.path)
        for entry in kept:
            if (entry.get("checkpoint_sha256"), entry.get("at_temperature")) == (digest, temperature):
                return entry.get("chosen")
        try:
            train, rows = run.dataset().train, run.split().validation
        except DataError:
            return None
        if not len(rows):
            return None
        labels = train[run.label][rows]
        outputs = torch.cat(list(self.in_parts(run.examples(train)[rows])))
        chosen = run.task.choose([(outputs, labels)])
        entry = {"checkpoint": run.checkpoint, "checkpoint_sha256": digest, "at_temperature": temperature}
        others = [old for old in kept if old.get("checkpoint") != run.checkpoint or "chosen" not in old]
        same = [old for old in kept if old.get("checkpoint_sha256") == digest and "chosen" in old]
        write_calibrations(run.path, [*others, *same, entry | {"chosen": chosen}])
        return chosen

    def predict(self, images: AnyExamples) -> NDArray[Any]:
        """Returns the most likely class number of every image, [n], or pixel, [n, height, width]; or its number."""
        chosen = self.chosen
        return np.concatenate([self.run.task.predict(part, chosen).numpy() for part in self.in_parts(images)])

    def facts(self, answer: Answer | None = None) -> dict[str, Any]:
        """Returns the settings, JSON-serialisable: "temperature", "strength", "draws", "calibrated_on" (images).

        With an answer under another prior, it also has "prior" and "trained_prior" (class to probability) and, if the
        prior was estimated, "estimate" ("steps" of EM, "gap" in nats, "settled", "pseudo_images" of each class).
        """
        calibration = self.calibration
        facts: dict[str, Any] = {
            "temperature": calibration.temperature,
            "strength": calibration.strength,
            "draws": calibration.draws,
            "calibrated_on": calibration.count,
        }
        if answer is not None and answer.prior is not None and self.trained_prior is not None:
            facts |= {"prior": self._by_class(answer.prior), "trained_prior": self._by_class(self.trained_prior)}
        if answer is not None and answer.estimate is not None:
            estimate = answer.estimate
            facts["estimate"] = {
                "steps": estimate.steps,
                "gap": estimate.gap,
                "settled": estimate.settled,
                "pseudo_images": estimate.pseudo_images,
            }
        return facts

    def _by_class(self, values: Floats) -> Mapping[str, float]:
        return {name: float(value) for name, value in zip(self.run.classes, values, strict=True)}

    def outputs_from(self, log_posterior: Floats) -> Tensor:
        """Returns what users get, for classes probabilities, float32 [n, K, ...], for such log-probabilities."""
        return self.run.task.outputs_from(torch.from_numpy(log_posterior)).float()
