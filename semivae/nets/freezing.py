"""Networks that were trained elsewhere: which of their stages go on learning, and at which rate."""

from __future__ import annotations

from typing import Literal

from torch import nn

Learning = Literal["head", "all"] | int
"""What learns: the head on a body alone, the whole body too, or so many of its last stages."""

ENOUGH = 4  # stages, below which the largest one is divided


class Freezable(nn.Module):
    """A network that was trained elsewhere. It always computes in evaluation mode.

    Batch statistics stay as they were kept, since the two players' pictures differ in theirs, and nothing is dropped.
    """

    rates: dict[str, float]
    """By the name of each parameter that learns, its share of the learning rate."""

    def __init__(self) -> None:
        super().__init__()
        self.rates = {}

    def train(self, mode: bool = True) -> Freezable:
        """Stays in evaluation mode, whatever is asked for."""
        super().train(False)
        return self

    def let_learn(self, learning: Learning, rate: float = 1.0, decay: float = 1.0) -> None:
        """Freezes all stages but those that are to learn.

        Args:
            learning: `head` for none of them, `all`, or the number of the last ones.
            rate: the last stage's share of the learning rate.
            decay: the factor from the rate of each stage to that of the stage before it.

        Raises:
            ValueError: there are not so many stages.
        """
        stages = stages_of(self)
        count = {"head": 0, "all": len(stages)}[learning] if isinstance(learning, str) else learning
        if count > len(stages):
            raise ValueError(f"train: {count}: it has {len(stages)} stages; use at most {len(stages)}, or all")
        self.rates = {
            name: rate * decay**distance
            for distance, names in enumerate(reversed(stages[len(stages) - count :]))
            for name in names
        }
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name in self.rates)


def stages_of(network: nn.Module) -> list[list[str]]:
    """Returns the names of a network's parameters by stage, from input to output.

    The largest part is divided into its own parts until there are enough stages. Parameters outside all of them, and
    norms, belong to the stage before them, the first ones to the first.
    """
    places = [""]
    while len(places) < ENOUGH:
        divisible = [place for place in places if _parts(network, place)]
        if not divisible:
            break
        largest = max(divisible, key=lambda place: _size(network.get_submodule(place)))
        index = places.index(largest)
        places[index : index + 1] = _parts(network, largest)
    stages: list[list[str]] = [[] for _ in places]
    current = 0
    for name, _ in network.named_parameters():
        current = next((i for i, place in enumerate(places) if name.startswith(f"{place}.")), current)
        stages[current].append(name)
    return [names for names in stages if names]


def _parts(network: nn.Module, place: str) -> list[str]:
    """Returns the paths of the parts of a part that hold matrices or convolutions."""
    children = network.get_submodule(place).named_children()
    wide = [name for name, child in children if any(parameter.dim() > 1 for parameter in child.parameters())]
    return [f"{place}.{name}".lstrip(".") for name in wide]


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
