"""A run's posterior of the label given evidence, q(y | x, c), and its tables p(c | y) (docs/method.md, section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semivae.classification.posterior import encoder_log_posterior
from semivae.errors import RunError
from semivae.game.distributions import categorical_of
from semivae.game.evidence import log_likelihood
from semivae.runs.model import TrainedModel
from semivae.variables import seen

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class WithEvidence:
    """Examples that show evidence of the label, and what the run thinks of them.

    Attributes:
        rows: of `train` followed by the data's unlabelled examples, [n].
        label: the true classes where the split shows them, else below 0, [n].
        log_posterior: log q(y | x), [n, K], nats.
        log_likelihood: by variable, log p(c | y) under every class, [n, K], nats; 0 where the example does not show it.
        values: by variable, what it shows, [n, ...].
        shown: by variable, whether it shows it, [n].
    """

    rows: Numbers
    label: Numbers
    log_posterior: Floats
    log_likelihood: Mapping[str, Floats]
    values: Mapping[str, Tensor]
    shown: Mapping[str, NDArray[np.bool_]]

    def given_evidence(self) -> Floats:
        """Returns q(y | x, all that is seen), [n, K], from 0 to 1; where the label is known, it is certain."""
        from scipy.special import log_softmax  # importing it takes a while

        logits = self.log_posterior + sum(self.log_likelihood.values())
        found = np.exp(log_softmax(logits, axis=1))
        known = self.label >= 0
        found[known] = np.eye(found.shape[1])[self.label[known]]
        return np.asarray(found, dtype=np.float64)


def evidence_names(run: TrainedModel) -> tuple[str, ...]:
    """Returns the evidence of a run's label, as far as the decoder has it."""
    return tuple(
        name for name in run.roles.evidence if name in run.decoder and run.decoder[name].given[0].name == run.label
    )


def annotators(run: TrainedModel) -> tuple[str, ...]:
    """Returns those whose values are classes of the label: what somebody wrote down, which may be wrong."""
    label = run.recipe.variables[run.label]
    variables = ((name, run.recipe.variables[name]) for name in evidence_names(run))
    return tuple(
        name for name, spec in variables if spec.family == label.family and spec.classes == label.classes is not None
    )


@torch.no_grad()
def table_of(run: TrainedModel, name: str) -> Floats:
    """Returns p(c | y) of evidence that is a class, [K, classes of c].

    Raises:
        RunError: it is no class.
    """
    conditional = run.decoder[name]
    if not conditional.target.has_classes:
        raise RunError(f"{run.path}: {name} is no class, so it has no table of probabilities")
    label = conditional.given[0]
    every = conditional({label.name: torch.arange(label.class_count, device=run.device)})
    return np.asarray(categorical_of(every).probs.cpu().double(), dtype=np.float64)


@torch.no_grad()
def with_evidence(run: TrainedModel) -> WithEvidence:
    """Returns the examples of a run's own data that show evidence of its label.

    Raises:
        RunError: the recipe has no evidence.
        DataError: the data cannot be read, or have changed.
    """
    names = evidence_names(run)
    if not names:
        raise RunError(f"{run.path}: the recipe has no evidence of the label, such as coarse classes or annotators")
    dataset, split = run.dataset(), run.split()
    rows = torch.cat([split.shown(dataset, name) for name in names]).unique()  # type: ignore[no-untyped-call]
    label = torch.full((len(rows),), -1)
    where = torch.isin(rows, split.labelled)
    label[where] = dataset.train[run.label][rows[where]]
    inputs = {name: dataset.of_all(name)[rows] for name in run.roles.inputs}
    values, likelihoods, shown = {}, {}, {}
    for name in names:
        values[name] = dataset.of_all(name)[rows]
        mask = torch.isin(rows, split.shown(dataset, name)) & seen(values[name])
        found = log_likelihood(run.decoder[name], values[name].to(run.device)).cpu().double()
        likelihoods[name] = np.asarray(torch.where(mask[:, None], found, torch.zeros_like(found)))
        shown[name] = np.asarray(mask)
    log_posterior = encoder_log_posterior(run, run.examples(inputs))
    return WithEvidence(np.asarray(rows), np.asarray(label), log_posterior, likelihoods, values, shown)
