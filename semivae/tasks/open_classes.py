"""OPEN_CLASSES: one class for each example, and strangers, which belong to none of the classes.

Strangers are the last value of the label. No example shows it: that an image is a stranger is latent, and p(y) says how
many of the unlabelled images are (docs/method.md, section 5). Answers are therefore judged twice: among the examples of
known classes by the best known class, and over all by how well the probability of a stranger tells the two apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from semivae.errors import DataError
from semivae.tasks.classes import REFUSES, Classes
from semivae.tasks.task import LabelStatistics
from semivae.text import join_names

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.distributions import Distribution

    from semivae.data.dataset import Dataset
    from semivae.data.splits import Split
    from semivae.game.players import Player
    from semivae.game.teaching.teacher import StreamViews, Teacher
    from semivae.recipe.schema import SplitSpec, VariableSpec

STRANGERS = "strangers"
"""The name of the last value of the label."""
SURELY = 1e-12  # the least probability of all known classes together by which they are divided


class OpenClasses(Classes):
    """A categorical variable of shape () whose section `strangers` says that there are some."""

    name = "open_classes"
    refuses = MappingProxyType(
        {
            **REFUSES,
            "answering": "withheld answers promise an error of examples like the validation ones, and there are no "
            "strangers among these",
        }
    )
    promised = "examples of known classes; strangers are promised nothing"
    limits = (
        "An input of none of the classes is answered as `strangers`, the last one, if it is like those of training."
    )
    figures = MappingProxyType(
        {
            **Classes.figures,
            "strangers_auroc": ("AUROC of strangers", "roc_auc", ".3f"),
            "strangers_found": ("strangers found", "recall", ".1%"),
            "known_lost": ("known ones lost", "false_positive_rate", ".1%"),
        }
    )

    def fits(self, name: str, variable: VariableSpec) -> bool:
        """Returns whether the variable is a single class with strangers."""
        return super().fits(name, variable) and variable.strangers is not None

    def prepare(self, dataset: Dataset, name: str, variable: VariableSpec) -> Dataset:
        """Returns the data with strangers as the last class; the classes that are strangers become it.

        Raises:
            DataError: the label is no single class, or the classes that are named are not those of the data.
        """
        from dataclasses import replace

        import torch

        assert variable.strangers is not None
        info = dataset.labels.get(name)
        if info is None or info.kind not in (Classes.name, self.name):
            raise DataError(
                f"variables.{name}.strangers: {name} of {dataset.name} is no single class; remove strangers"
            )
        if info.kind == self.name:  # given back by a run, which has prepared it
            return dataset
        where, gone = f"variables.{name}.strangers.classes", variable.strangers.classes
        if unknown := [each for each in gone if each not in info.classes]:
            raise DataError(
                f"{where}: {join_names(unknown)} is no class of {dataset.name}; they are {join_names(info.classes, 20)}"
            )
        known = tuple(each for each in info.classes if each not in gone)
        if len(known) < 2:
            raise DataError(f"{where}: at least two classes must remain, here {join_names(known) or 'none'}")
        if STRANGERS in known:
            raise DataError(
                f"{dataset.name} has a class called {STRANGERS}; add it to {where} if it holds strangers, or rename it"
            )
        numbers = torch.tensor([known.index(each) if each in known else len(known) for each in info.classes])
        parts = {
            part: {**sample, name: self.renumbered(sample[name], numbers)} if name in sample else sample
            for part, sample in (("train", dataset.train), ("test", dataset.test))
        }
        opened = replace(info, kind=self.name, classes=(*known, STRANGERS))
        return replace(dataset, labels={**dataset.labels, name: opened}, train=parts["train"], test=parts["test"])

    def split(self, dataset: Dataset, spec: SplitSpec) -> Split:
        """Returns a split by the known classes, in which strangers show no label."""
        from dataclasses import replace

        import torch

        from semivae.data.dataset import LabelInfo
        from semivae.data.splits import stratified_split
        from semivae.variables import VOID

        label, known = dataset.label, dataset.classes[:-1]
        labels = dataset.train[label]
        strange = labels == len(known)
        shown = {**dataset.train, label: labels.masked_fill(strange, VOID)}
        named = {**dataset.labels, label: LabelInfo(Classes.name, known)}
        found = stratified_split(replace(dataset, labels=named, train=shown), spec)
        strange[found.validation] = False
        rows = torch.cat([found.unlabelled, strange.nonzero()[:, 0]]).sort().values
        return replace(found, unlabelled=rows, dataset_digest=dataset.digest)

    def teacher(self, label: str, views: StreamViews, decoder: Player, ema_encoder: Player) -> Teacher:
        """Returns an `OpenTeacher`."""
        from semivae.game.teaching.open_teacher import OpenTeacher

        return OpenTeacher(label, views, decoder, ema_encoder)

    def is_promised(self, labels: Tensor, classes: Sequence[str]) -> Tensor:
        """Returns which examples are of a known class."""
        return labels < len(classes) - 1

    def metadata(self, variable: VariableSpec) -> dict[str, Any]:
        """Returns which class strangers are, and the share that training took."""
        assert variable.strangers is not None
        return {"strangers": {"class": STRANGERS, "share": variable.strangers.share}}

    def measure(self, posterior: Distribution, labels: Tensor | None) -> LabelStatistics:
        """Returns statistics in which an error is a wrong best known class; strangers among labels do not count."""
        from dataclasses import replace

        from torch.distributions import Categorical

        from semivae.game.distributions import categorical_of

        logits = categorical_of(posterior).logits
        known = logits.shape[-1] - 1
        if labels is not None:
            labels = labels.to(logits.device)
            logits, labels = logits[labels < known], labels[labels < known]
        found = super().measure(Categorical(logits=logits, validate_args=False), labels)
        if found.errors is None or labels is None:
            return found
        rows = labels >= 0
        return replace(found, errors=(logits[rows, :known].argmax(dim=-1) != labels[rows]).cpu())

    def consistency(self, posterior: Distribution, intended: Tensor) -> Tensor:
        """Returns whether the most likely value is the intended one, strangers included."""
        errors = super().measure(posterior, intended).errors
        assert errors is not None
        return 1.0 - errors.double()

    def doubt(self, log_posterior: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the probability of a stranger."""
        import numpy as np

        return np.exp(log_posterior[:, -1])

    def scores(
        self, parts: Iterable[tuple[Tensor, Tensor]], classes: Sequence[str], chosen: Any = None
    ) -> dict[str, Any]:
        """Returns the scores of classes among examples of known classes, and of strangers (`stranger_scores`).

        Raises:
            DataError: there are strangers alone.
        """
        import torch

        from semivae.tasks.class_scores import scores_of

        probabilities, labels = (torch.cat(column) for column in zip(*parts, strict=True))
        strange = labels == len(classes) - 1
        if bool(strange.all()):
            raise DataError("all examples are strangers, so no class can be scored; add examples of known classes")
        known = probabilities[~strange, :-1]
        known = known / known.sum(dim=1, keepdim=True).clamp_min(SURELY)
        return scores_of([(known, labels[~strange])], classes[:-1]) | stranger_scores(probabilities, strange)


def stranger_scores(probabilities: Tensor, strange: Tensor) -> dict[str, Any]:
    """Returns how well strangers are told from examples of known classes.

    "strangers" (how many), "strangers_auroc" (the chance that a stranger has a higher probability of being one than an
    example of a known class), "strangers_found" (the share of them that are most likely strangers), all None or 0
    without strangers, and "known_lost" (the same share of the others).

    Args:
        probabilities: [n, K + 1], of a stranger in the last column.
        strange: which are strangers, bool [n]; not all of them.
    """
    from sklearn.metrics import roc_auc_score  # importing scikit-learn takes a second

    score, said = probabilities[:, -1], probabilities.argmax(dim=1) == probabilities.shape[1] - 1
    found: dict[str, Any] = {"strangers_auroc": None, "strangers_found": None}
    if bool(strange.any()):
        found = {
            "strangers_auroc": float(roc_auc_score(strange.numpy(), score.numpy())),
            "strangers_found": said[strange].double().mean().item(),
        }
    return {"strangers": int(strange.sum()), **found, "known_lost": said[~strange].double().mean().item()}


OPEN_CLASSES = OpenClasses()
