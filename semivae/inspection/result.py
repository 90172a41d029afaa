"""What the inspection of a source gives: the report, and what else `check` and sheets need."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from semivae.data.dataset import Dataset
from semivae.inspection.report import DataReport
from semivae.variables import Sample


@dataclass(frozen=True)
class Inspected:
    """A report, and the data as far as they are known.

    Attributes:
        report: what was found.
        dataset: the data, of which x may be a key of each example in place of the example; None where they cannot be
            used.
        shape: of one example as the model sees it; None where x of `dataset` is the examples.
    """

    report: DataReport
    dataset: Dataset | None = None
    shape: tuple[int, ...] | None = None

    def shaped(self) -> Dataset | None:
        """The data with x of the right shape, zeros which take no memory, to fit a recipe to."""
        if self.dataset is None or self.shape is None:
            return self.dataset
        train, test = (_shaped(sample, self.shape) for sample in (self.dataset.train, self.dataset.test))
        return replace(self.dataset, train=train, test=test, unlabelled={})


def _shaped(sample: Sample, shape: tuple[int, ...]) -> Sample:
    count = len(sample["x"])
    shaped = {**sample, "x": torch.zeros(1, dtype=torch.uint8).expand(count, *shape)}
    if "s" in sample:
        shaped["s"] = torch.zeros(1, dtype=torch.int16).expand(count, *shape[1:])
    return shaped
