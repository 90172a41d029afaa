"""Logit adjustment: q(y | x) learns the posterior under p(y) from pairs with other class frequencies.

On pairs with class frequencies f, the encoder minimises the cross-entropy of the logits log q(y | x) + log f(y) - log
p(y). Otherwise q(y | x) would assume the frequencies of the pairs. Source: Menon et al., "Long-tail learning via logit
adjustment", ICLR 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Categorical


def adjust_logits(posterior: Categorical, frequencies: Tensor, prior: Tensor) -> Categorical:
    """Returns the posterior, batch shape [batch], as it would be under `frequencies` in place of p(y) = `prior`.

    Both are [classes]. A class with prior probability 0, or that no pair can show, keeps its logit.
    """
    both = (prior > 0) & (frequencies > 0)
    change = torch.where(both, frequencies / prior, 1.0).log()
    return Categorical(logits=posterior.logits + change, validate_args=False)
