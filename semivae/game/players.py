"""A player: conditionals in ancestral order, with which it completes samples and scores them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from semivae.game.conditionals import Conditional
from semivae.game.finite import answers_at_once
from semivae.game.ladder import FEATURES, LadderConditional, with_shared_features
from semivae.game.readings import distributions_to_draw
from semivae.parallel.shards import current_shard
from semivae.variables import VOID, Sample

_RESERVED = frozenset(dir(nn.ModuleDict()))


class Player(nn.Module):
    """The decoder or the encoder.

    Args:
        conditionals: in ancestral order; the parents of each are observed data or come earlier.
    """

    def __init__(self, conditionals: Sequence[Conditional]) -> None:
        super().__init__()
        self.names = tuple(conditional.target.name for conditional in conditionals)
        """The variables that this player draws and scores, in ancestral order."""
        self.conditionals = nn.ModuleDict({_key(name): c for name, c in zip(self.names, conditionals, strict=True)})

    def __getitem__(self, name: str) -> Conditional:
        conditional = self.conditionals[_key(name)]
        assert isinstance(conditional, Conditional)
        return conditional

    def __contains__(self, name: str) -> bool:
        return name in self.names

    @property
    def levels(self) -> dict[str, LadderConditional]:
        """The levels of the player's ladder, by variable; empty for most players."""
        return {name: c for name in self.names if isinstance(c := self[name], LadderConditional)}

    def complete(self, sample: Sample, batch: int | None = None, sampled: bool = False) -> Sample:
        """Draws every absent variable that this player can draw, in ancestral order, and unknown bits of known vectors.

        Args:
            sample: the known variables, each [batch, *shape]. What is known of them does not change.
            batch: the number of samples, if no variable is known.
            sampled: draw also the variables that are completed with their mean or mode; importance weights need draws.

        Returns:
            A new sample. A variable without a conditional here, or with an unknown parent, stays absent.
        """
        if batch is None:
            batch = len(next(iter(sample.values())))
        return self.complete_all([sample], [batch], sampled)[0]

    def complete_all(
        self,
        samples: Sequence[Sample],
        batches: Sequence[int],
        sampled: bool = False,
        evidence: Sequence[Mapping[str, Tensor]] | None = None,
    ) -> list[Sample]:
        """Completes several samples, each as `complete` does; those that lack a variable share one reading for it.

        Args:
            samples, batches, sampled: as for `complete`.
            evidence: of each sample, by label, the log-likelihood of what is seen of the label, [batch, classes]
                (`semivae.game.evidence`); None for none.
        """
        completed: list[Sample] = [
            dict(with_shared_features([self[name] for name in self.names if name not in sample], sample))
            for sample in samples
        ]
        for name in self.names:
            conditional = self[name]
            needed = {name, *conditional.parents}
            lacking = [index for index, sample in enumerate(completed) if needed - sample.keys() == {name}]
            given = [completed[index] for index in lacking]
            found = distributions_to_draw(conditional, given, [batches[index] for index in lacking])
            for index, distribution in zip(lacking, found, strict=True):
                known = {} if evidence is None else evidence[index]
                completed[index][name] = conditional.value_of(distribution, sampled, known.get(name))
            for shown, sample in zip(samples, completed, strict=True):
                self._fill(name, shown, sample, sampled)
        for sample in completed:
            sample.pop(FEATURES, None)
        return completed

    def fill(self, sample: Sample) -> Sample:
        """Draws the unknown bits (`VOID`) of known vectors, and nothing else.

        The bits of a vector are independent given their parents, so those that are known say nothing about the others:
        a draw of the unknown ones is exact. It is so only while no variable that is known depends on the vector; where
        one does, the bits stay unknown.
        """
        filled = dict(sample)
        for name in self.names:
            self._fill(name, sample, filled)
        return filled

    def _fill(self, name: str, shown: Sample, completed: Sample, sampled: bool = False) -> None:
        """Draws the unknown bits of a vector that is shown into a sample, if they can be drawn given what is shown."""
        if name not in shown or not self[name].target.is_bit_vector:
            return
        children = {other for other in self.names if name in self[other].parents}
        if not children.isdisjoint(shown) or not self[name].parents.issubset(shown):
            return
        value = shown[name]
        unknown = value == VOID
        whole = current_shard().count == 1  # or all shards draw, so that they go on drawing alike
        if not whole or not answers_at_once(value) or unknown.any():
            drawn = self[name].draw(completed, len(value), sampled).to(value)
            completed[name] = torch.where(unknown, drawn, value)

    def log_prob(self, sample: Sample, targets: Iterable[str]) -> dict[str, Tensor]:
        """Returns the log-probability of each target given its parents, [batch], nats per sample."""
        targets = list(targets)
        shared = with_shared_features([self[name] for name in targets], sample)
        return {name: self[name](shared).log_prob(sample[name]) for name in targets}


def _key(name: str) -> str:
    """Returns the module's key of a variable; torch refuses the names of a module's own attributes (type, values)."""
    return f"variable:{name}" if name in _RESERVED else name
