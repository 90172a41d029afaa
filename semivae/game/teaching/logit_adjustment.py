"""Logit adjustment: pairs whose class shares differ from p(y) teach q(y | x) the posterior under p(y).

The encoder learns log-softmax(log q(y | x) + log shares(y) - log p(y)) on the pairs, so that what it assumes without
that term is p(y), not the pairs' shares. Source: Menon et al., "Long-tail learning via logit adjustment", ICLR 2021.
"""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Categorical


def adjusted(posterior: Categorical, shares: Tensor, prior: Tensor) -> Categorical:
    """The posterior [batch, classes] as it would be if classes came with the pairs' `shares` instead of p(y) = `prior`.

    Both are [classes]; a class that p(y) gives nothing keeps its logit.
    """
    change = (shares / prior.where(prior > 0, shares)).log()
    return Categorical(logits=posterior.logits + change, validate_args=False)
