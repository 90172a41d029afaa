"""Splits by a number: labelled and validation examples cover its range as evenly as all examples do."""

from __future__ import annotations

from dataclasses import replace

import torch

from semivae.data.dataset import Dataset, LabelInfo
from semivae.data.formats.number_labels import strata
from semivae.data.splits import Split, labels_asked, stratified_split
from semivae.errors import DataError
from semivae.recipe.schema import SplitSpec

STRATA = 10  # parts of equal size by the number


def quantile_split(dataset: Dataset, spec: SplitSpec) -> Split:
    """Chooses labelled and validation examples stratum by stratum, by the (first) number of the primary label.

    The examples, in the order of their numbers, are cut into `STRATA` parts of equal size, or into as many as there are
    labels, if these are fewer. Within them `stratified_split` chooses by hash, in proportion to their sizes.

    Raises:
        DataError: more labels or validation examples are asked for than there are, or validation examples of data that
            bring their own.
    """
    values = dataset.train[dataset.label]
    own = torch.zeros(0, dtype=torch.int64) if dataset.validation is None else dataset.validation
    count = len(values) - len(own)
    labelled = count - spec.validation if spec.labelled == "all" else spec.labelled
    if labelled < 1 or labelled + spec.validation > count:
        asked = labels_asked(spec)
        raise DataError(
            f"split asks for {asked} and {spec.validation:,} for validation, but "
            f"{dataset.name} has {count:,} to train on; ask for fewer"
        )
    numbers = strata(values, own, min(STRATA, labelled))
    names = tuple(f"part {place}" for place in range(int(numbers.max()) + 1))
    cut = replace(
        dataset,
        labels={**dataset.labels, dataset.label: LabelInfo("classes", names)},
        train={**dataset.train, dataset.label: numbers},
    )
    found = stratified_split(cut, spec.model_copy(update={"balance": "proportional"}))
    return replace(found, dataset_digest=dataset.digest, spec=spec)
