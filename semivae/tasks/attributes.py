"""ATTRIBUTES: several yes-or-no labels of each example, of which any may be unknown (multi-label classification)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from semivae.errors import DataError
from semivae.tasks.categorical import mean_known
from semivae.tasks.task import Headline, LabelStatistics, Task, reason

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.distributions import Distribution

    from semivae.data.dataset import Dataset
    from semivae.data.splits import Split
    from semivae.data.streams import Stream
    from semivae.data.unpaired import Unpaired
    from semivae.game.players import Player
    from semivae.game.teaching.teacher import StreamViews, Teacher
    from semivae.recipe.schema import SplitSpec, VariableSpec
    from semivae.tasks.user_values import UserValue
    from semivae.variables import Variable

REFUSES: Mapping[str, str] = {
    "ratio": "an example has several attributes, so a ratio of classes has no meaning",
    "information": "the mutual-information loss needs a single class, but {label} is a vector of attributes",
    "adjust": "only single classes can be adjusted, but {label} is a vector of attributes",
    "mixup": "only single classes can be mixed, but {label} is a vector of attributes",
    "cutmix": "a box of another image may hide what has an attribute, so only classes are mixed, but {label} is a "
    "vector of attributes",
    "vote": "the decoder votes on single classes only, but {label} is a vector of attributes",
    "prior": "a prior is about one class per example, but {label} is a vector of attributes",
    "test_prior": "a prior is about one class per example, but {label} is a vector of attributes",
    "sets": "prediction sets and rejection are about one class per example, but {label} is a vector of attributes",
    "judge": "an external classifier judges images that are generated for maps, but {label} is a vector of attributes",
    "doubt": "the uncertainty of a vector of attributes differs from entry to entry, so an example as a whole has none",
    "doubts": "one class of an example is doubted, but {label} is a vector of attributes; `semivae report` shows the "
    "examples that are answered otherwise than they are labelled",
    "suggest": "suggestions compare one class per example, but {label} is a vector of attributes",
}
RESAMPLES = 100  # of the validation examples, for the standard error of the headline


BETWEEN = ";"  # the names of one example's attributes, in one text


def joined_names(names: Sequence[str]) -> str:
    r"""Returns names in one text, `hat;smiling`; a backslash stands before a ; or backslash that belongs to a name."""
    return BETWEEN.join(name.replace("\\", "\\\\").replace(BETWEEN, f"\\{BETWEEN}") for name in names)


class Attributes(Task):
    """A Bernoulli variable of shape (K,), 0 or 1 or, where it is unknown, `VOID`.

    The encoder's q(attributes | ...) is a product over the entries. Dependence among them comes from codes that the
    decoder draws before them, or from several labels, one given the other.
    """

    family = "bernoulli"
    name = "attributes"
    has_places = False
    counted = "the attributes of {images}"
    refuses = REFUSES
    fewest_to_calibrate = 50
    headline = Headline("1 - mean average precision", fraction=False)
    chooses = True
    nouns = ("attribute", "attributes")
    agreement = "agrees on {share:.0%} of the attributes that {n:,} of the decoder's samples were drawn for"
    hub_tasks = MappingProxyType({True: "image-classification", False: "tabular-classification"})
    figures = MappingProxyType(
        {
            "mean_average_precision": ("mean average precision", "mean_average_precision", ".2%"),
            "macro_f1": ("macro F1", "f1", ".2%"),
            "micro_f1": ("micro F1", "f1", ".2%"),
            "nll": ("NLL (nats an attribute)", "nll", ".4f"),
            "ece": ("calibration error (ECE)", "ece", ".4f"),
        }
    )

    def fits(self, name: str, variable: VariableSpec) -> bool:
        """Returns whether the variable is a Bernoulli vector; beside an image it may lack its shape yet."""
        return variable.family == "bernoulli" and (variable.shape is None or len(variable.shape) == 1)

    def name_count(self, variable: VariableSpec) -> int:
        """Returns the number of attributes."""
        return (variable.shape or (0,))[0]

    def split(self, dataset: Dataset, spec: SplitSpec) -> Split:
        """Returns a split in which every attribute has labelled positives, as far as that is possible."""
        from semivae.data.attribute_splits import iterative_split

        if spec.balance not in ("balanced", "proportional"):
            raise DataError(f"split.balance: {reason(self, 'ratio', dataset.label)}; remove it")
        return iterative_split(dataset, spec)

    def unpaired(self, request: Unpaired) -> Stream:
        """Returns a stream of vectors of the labelled examples, or of draws with stated frequencies."""
        from semivae.data.unpaired import attribute_stream

        return attribute_stream(request)

    def teacher(self, label: str, views: StreamViews, decoder: Player, ema_encoder: Player) -> Teacher:
        """Returns an `AttributeTeacher`."""
        from semivae.game.teaching.attribute_teacher import AttributeTeacher

        return AttributeTeacher(label, views, decoder, ema_encoder)

    def parse(self, value: UserValue) -> Tensor:
        """Returns attributes from their names, or from numbers."""
        from semivae.tasks.user_values import attribute_values

        return attribute_values(value)

    def outputs(self, variable: Variable, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        """Returns the probability of each attribute, [n, K]."""
        return (parameters / temperature).sigmoid()

    def outputs_of(self, posterior: Distribution, temperature: float = 1.0) -> Tensor:
        """Returns the same of a posterior with batch shape [n]."""
        from semivae.game.distributions import bits_of

        return (bits_of(posterior).logits / temperature).sigmoid()

    def log_posterior(self, parameters: Tensor) -> Tensor:
        """Returns log-probabilities of absence and presence, [n, 2, K]."""
        import torch

        return torch.stack([torch.zeros_like(parameters), parameters], dim=1).log_softmax(dim=1)

    def outputs_from(self, log_posterior: Tensor) -> Tensor:
        """Returns the probability of presence, [n, K]."""
        return log_posterior[:, 1].exp()

    def predict(self, outputs: Tensor, chosen: Any = None) -> Tensor:
        """Returns which attributes lie above their thresholds, int64 [n, K] of 0 and 1."""
        from semivae.tasks.attribute_scores import thresholds_of

        thresholds = outputs.new_tensor(thresholds_of(chosen, outputs.shape[1]))
        return (outputs > thresholds).long()

    def named(self, answers: NDArray[Any], classes: Sequence[str]) -> NDArray[np.str_]:
        """Returns the names of the attributes of each example in one text, `hat;smiling` (`joined_names`), [n]."""
        import numpy as np

        rows = [[name for name, has in zip(classes, row, strict=True) if has] for row in answers.tolist()]
        return np.array([joined_names(row) for row in rows], dtype=np.str_)

    def renumbered(self, labels: Tensor, numbers: Tensor) -> Tensor:
        """Returns attributes [n, K] with their columns in another order."""
        found = labels.clone()
        found[:, numbers] = labels
        return found

    def by_example(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the means over the attributes of an example; an answer is what has a probability of 1/2 or more."""
        import torch

        of_label, best = torch.where(labels == 1, outputs, 1.0 - outputs), torch.maximum(outputs, 1.0 - outputs)
        known = labels >= 0
        wrong = (outputs > 0.5) != (labels == 1)
        return mean_known(of_label, known), mean_known(wrong, known), mean_known(best, torch.ones_like(known))

    def measure(self, posterior: Distribution, labels: Tensor | None) -> LabelStatistics:
        """Returns statistics by known entry; an error is 1 if the likelier of both values is wrong."""
        import torch

        from semivae.game.distributions import bits_of

        probabilities = bits_of(posterior).probs
        known, errors = torch.ones_like(probabilities, dtype=torch.bool), None
        if labels is not None:
            labels = labels.to(probabilities.device)
            known = labels >= 0
            errors = ((probabilities > 0.5) != (labels == 1))[known].cpu()
        confidence, nothing = torch.maximum(probabilities, 1.0 - probabilities), torch.zeros(0, dtype=torch.float64)
        outputs = probabilities.cpu()
        known_labels = None if labels is None else labels.cpu()
        return LabelStatistics(errors, confidence[known].cpu(), nothing, nothing, outputs, known_labels)

    def headline_of(self, statistics: Sequence[LabelStatistics]) -> tuple[float | None, float | None]:
        """Returns 1 - mean average precision and its bootstrap standard error; None where no attribute occurs."""
        from semivae.tasks.attribute_scores import joined, mean_average_precision, mean_of, resampled_means

        parts = [(each.outputs, each.labels) for each in statistics if each.outputs is not None]
        known = [(outputs, labels) for outputs, labels in parts if labels is not None and len(labels)]
        if not known:
            return None, None
        p, y = joined(known)
        if not (y == 1).any():
            return None, None
        error = 1.0 - mean_of(mean_average_precision(p, y))
        return error, float(resampled_means(p, y, RESAMPLES).std())

    def shares_of(self, statistics: Sequence[LabelStatistics]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Returns the mean probability of each attribute, and the fraction of the examples in which it is likely.

        Only examples of which the attribute is known count, if any label is.
        """
        import torch

        outputs = torch.cat([each.outputs for each in statistics if each.outputs is not None]).double()
        labels = [each.labels for each in statistics if each.labels is not None]
        known = torch.cat(labels) >= 0 if labels else torch.ones_like(outputs, dtype=torch.bool)
        counts = known.sum(dim=0).clamp_min(1)
        means = (outputs * known).sum(dim=0) / counts
        likely = ((outputs > 0.5) & known).sum(dim=0) / counts
        return tuple(means.tolist()), tuple(likely.tolist())

    def consistency(self, posterior: Distribution, intended: Tensor) -> Tensor:
        """Returns the fraction of its known attributes on which each sample agrees, [n]."""
        wrong = self.by_example(self.outputs_of(posterior), intended.to(self.outputs_of(posterior).device))[1]
        return 1.0 - wrong[~wrong.isnan()].cpu()

    def chance(self, frequencies: Sequence[float]) -> float:
        """Returns the consistency of always giving the likelier answer."""
        return sum(max(f, 1.0 - f) for f in frequencies) / len(frequencies) if frequencies else 0.0

    def prior_frequencies(self, prior: Distribution) -> tuple[float, ...]:
        """Returns the prior's probability of each attribute."""
        from semivae.game.distributions import bits_of

        return tuple(bits_of(prior).probs.detach().reshape(-1).tolist())

    def label_frequencies(self, labels: Tensor, classes: int) -> tuple[float, ...]:
        """Returns the frequency of each attribute among the examples of which it is known; 0 where of none."""
        known = labels >= 0
        return tuple(((labels == 1).sum(dim=0) / known.sum(dim=0).clamp_min(1)).tolist())

    def count_values(self, labels: Tensor) -> int:
        """Returns the number of examples of which an attribute is known: entries of one example are dependent."""
        return int((labels >= 0).any(dim=1).sum())

    def class_counts(self, labels: Tensor, classes: int) -> list[int]:
        """Returns the number of examples that have each attribute."""
        counts: list[int] = (labels == 1).sum(dim=0).tolist()
        return counts

    def choose(self, parts: Iterable[tuple[Tensor, Tensor]]) -> Any:
        """Returns the threshold of each attribute with the best F1 (`choose_thresholds`)."""
        from semivae.tasks.attribute_scores import choose_thresholds

        return choose_thresholds(parts)

    def scores(
        self, parts: Iterable[tuple[Tensor, Tensor]], classes: Sequence[str], chosen: Any = None
    ) -> dict[str, Any]:
        """Returns mean average precision with its interval, F1 and calibration (`semivae.tasks.attribute_scores`)."""
        from semivae.tasks.attribute_scores import scores_of

        return scores_of(parts, classes, chosen)


ATTRIBUTES = Attributes()
