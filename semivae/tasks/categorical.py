"""The base of the kinds whose values are classes. A single class is a map without pixels, so one code serves both."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from semivae.tasks.task import LabelStatistics, Task

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributions import Distribution

    from semivae.variables import Variable


def mean_known(values: Tensor, known: Tensor) -> Tensor:
    """Returns the mean over the known places of each example, float64 [n]; NaN where none is known."""
    flat, mask = values.double().reshape(len(values), -1), known.reshape(len(values), -1)
    return (flat * mask).sum(dim=1) / mask.sum(dim=1)


FIGURES = MappingProxyType(
    {
        "mean_iou": ("mean IoU", "mean_iou", ".2%"),
        "error": ("error", "error", ".2%"),
        "nll": ("NLL (nats)", "nll", ".4f"),
        "brier": ("Brier score", "brier_score", ".4f"),
        "ece": ("calibration error (ECE)", "ece", ".4f"),
    }
)


class Categorical(Task):
    """A categorical variable of any shape."""

    figures = FIGURES

    def outputs(self, variable: Variable, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        """Returns class probabilities, [n, classes, *shape]."""
        return (parameters / temperature).softmax(dim=1)

    def outputs_of(self, posterior: Distribution, temperature: float = 1.0) -> Tensor:
        """Returns the same of a posterior with batch shape [n]."""
        from semivae.game.distributions import categorical_of

        return (categorical_of(posterior).logits.movedim(-1, 1) / temperature).softmax(dim=1)

    def predict(self, outputs: Tensor, chosen: Any = None) -> Tensor:
        """Returns the most likely class, int64 [n, *shape]."""
        return outputs.argmax(dim=1)

    def measure(self, posterior: Distribution, labels: Tensor | None) -> LabelStatistics:
        """Returns statistics in which an error is 1 if the most likely class is wrong; void pixels do not count."""
        from semivae.game.distributions import categorical_of

        probabilities = categorical_of(posterior).probs
        if labels is not None:
            labels = labels.to(probabilities.device)
            probabilities, labels = probabilities[labels >= 0], labels[labels >= 0]
        flat = probabilities.reshape(-1, probabilities.shape[-1])
        confidence, value = flat.max(dim=-1)
        return LabelStatistics(
            errors=None if labels is None else (value != labels).cpu(),
            confidence=confidence.cpu(),
            mass=flat.cpu().double().sum(dim=0),
            counts=value.bincount(minlength=flat.shape[-1]).cpu().double(),
        )

    def by_example(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the same, from probabilities [n, classes, *shape] and labels that are below 0 where void."""
        import torch

        labels = labels.long()
        best, place = outputs.max(dim=1)
        of_label = outputs.gather(1, labels.clamp_min(0)[:, None])[:, 0]
        known = labels >= 0
        whole = torch.ones_like(known)
        return mean_known(of_label, known), mean_known(place != labels, known), mean_known(best, whole)

    def count_values(self, labels: Tensor) -> int:
        """Returns the number of labels that are not void."""
        return int((labels >= 0).sum())

    def prior_frequencies(self, prior: Distribution) -> tuple[float, ...]:
        """Returns the prior's class probabilities, of a map their mean over the pixels."""
        from semivae.game.distributions import categorical_of

        probabilities = categorical_of(prior).probs.detach()
        return tuple(probabilities.reshape(-1, probabilities.shape[-1]).mean(dim=0).tolist())

    def label_frequencies(self, labels: Tensor, classes: int) -> tuple[float, ...]:
        """Returns the class frequencies among labels that are not void."""
        counts = labels[labels >= 0].long().bincount(minlength=classes).cpu().double()
        return tuple((counts / counts.sum()).tolist())
