"""What a recipe says of further labels of classes, from data that hold them: variables, factors, and a stream."""

from __future__ import annotations

import torch

from semivae.data.dataset import Dataset
from semivae.errors import DataError
from semivae.inspection.one_line import flow
from semivae.text import join_names
from semivae.variables import VOID

STREAM = "views: {weak: weak, strong: strong, threshold: 0.95}, loss_weights: {x: 0}"


def with_further_labels(text: str, dataset: Dataset) -> str:
    """Returns the text of the template `folder` with the further labels of data as evidence of y.

    A label with y's classes is an annotator's, whose confusion is learnt. Others are coarse classes: which classes of y
    each one holds is taken from examples that show both.

    Raises:
        DataError: no example tells in which coarse class one of y's classes is.
    """
    further = list(dataset.labels)[1:]
    variables = "".join(f"  {name}: {{family: categorical}}\n" for name in further)
    factors = "".join(f"  {name}: {_factor(name, dataset)}\n" for name in further)
    observe = ", ".join(("x", *further))
    stream = f"  further: {{observe: [{observe}], batch: 64, {STREAM}}}   # what other folders say\n"
    for before, lines in (("  h: {family", variables), ("  h: uniform", factors), ("  # soft labels", stream)):
        assert text.count(f"\n{before}") == 1, before
        text = text.replace(f"\n{before}", f"\n{lines}{before}")
    return text


def _factor(name: str, dataset: Dataset) -> str:
    own, info = dataset.classes, dataset.labels[name]
    if info.classes == own:
        return "{given: [y], confusion: {per: annotator}}"
    y, c = dataset.train["y"], dataset.train[name]
    both = c != VOID
    counts = torch.zeros(len(own), len(info.classes), dtype=torch.int64)
    counts.index_put_((y[both], c[both]), torch.ones((), dtype=torch.int64), accumulate=True)
    if lost := [own[row] for row in (counts.sum(dim=1) == 0).nonzero().flatten().tolist()]:
        raise DataError(
            f"no image shows both y and {name} for {join_names(lost)}, so nothing tells in which classes of {name} "
            f"they are; put one image of each in both folders, or write decoder.{name} into a copy of the template "
            "folder (docs/tasks/coarse-labels.md)"
        )
    most = counts.argmax(dim=1).tolist()
    groups = {called: [own[row] for row, column in enumerate(most) if column == place]
              for place, called in enumerate(info.classes)}  # fmt: skip
    sure = int((counts > 0).sum()) == len(own) and all(groups.values())
    return f"{{given: [y], groups: {flow(groups)}{'' if sure else ', learn: true'}}}"
