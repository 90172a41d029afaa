"""Logit adjustment: pairs whose class frequencies differ from p(y) teach q(y | x) the posterior under p(y).

The encoder learns log-softmax(log q(y | x) + log f(y) - log p(y)) on pairs with class frequencies f. Without that term
it then assumes p(y), not the pairs' frequencies. Source: Menon et al., "Long-tail learning via logit adjustment", ICLR
2021.
"""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Categorical


def adjusted(posterior: Categorical, frequencies: Tensor, prior: Tensor) -> Categorical:
    """Returns the posterior [batch, classes] under class frequencies of the pairs in the place of p(y) = `prior`.

    Both are [classes]; a class that p(y) gives nothing keeps its logit.
    """
    change = (frequencies / prior.where(prior > 0, frequencies)).log()
    return Categorical(logits=posterior.logits + change, validate_args=False)
