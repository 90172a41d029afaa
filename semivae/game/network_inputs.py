"""How given values are fed to a network: images by channel, and all else as one vector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from semivae.game.families import FAMILIES
from semivae.variables import Variable


def network_inputs(
    given: Iterable[Variable], sample: Mapping[str, Tensor], kept: Mapping[str, Tensor] | None = None
) -> tuple[Tensor | None, Tensor | None]:
    """Returns the given images, concatenated by channel, and all other given values as one vector; None for none.

    Args:
        given: the variables.
        sample: their values, each [batch, *shape].
        kept: by variable, [batch], 0 where a network must not see it and 1 where it may; others are seen.
    """
    images: list[Tensor] = []
    vectors: list[Tensor] = []
    for variable in given:
        value = FAMILIES[variable.family].as_input(variable, sample[variable.name])
        if kept is not None and variable.name in kept:
            value = value * kept[variable.name].view(-1, *[1] * (value.dim() - 1))
        (images if variable.is_image else vectors).append(value if variable.is_image else value.flatten(1))
    return _joined(images), _joined(vectors)


def _joined(parts: list[Tensor]) -> Tensor | None:
    """Returns parts side by side; one alone is not copied."""
    if len(parts) > 1:
        return torch.cat(parts, dim=1)
    return parts[0] if parts else None
