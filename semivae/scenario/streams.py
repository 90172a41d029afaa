"""The streams of a recipe, made from its data and their split."""

from __future__ import annotations

from pathlib import Path

import torch

from semivae.data.dataset import Dataset
from semivae.data.inputs.inputs import inputs_of
from semivae.data.splits import Split
from semivae.data.streams import ArrayStream, EmptyStream, StoredDraws, Stream, resident
from semivae.data.unpaired import Unpaired, file_stream
from semivae.errors import DataError
from semivae.recipe.schema import Recipe, StreamSpec
from semivae.tasks.kinds import task_named, task_of
from semivae.text import join_names
from semivae.variables import VOID


def make_streams(
    recipe: Recipe,
    dataset: Dataset,
    split: Split,
    device: torch.device,
    seed: int,
    data_root: Path | None = None,
) -> dict[str, Stream]:
    """The streams of a recipe, by name, in its order.

    {x, y} shows the labelled part; {x} the unlabelled part and the images that came without a label, or, where there
    are none, the labelled images without their labels; a set without x takes its values from `values`, by default
    labels as frequent as in the labelled part; an empty set shows nothing. {x, c} with a further label shows the
    examples that show c. Of several labels, those that the encoder infers are all seen; if it infers none of them, one
    is seen at least, and the others are VOID (or NaN) where they are not.

    Images stay on `device` as bytes, once for all streams, where they fit into half of its free memory.

    Args:
        recipe: the recipe.
        dataset: its data.
        split: their split.
        device: where batches go.
        seed: the training seed.
        data_root: where relative paths of `values` files start; None is the usual data root.

    Raises:
        DataError: a stream observes what the data do not hold, or its values cannot be had; the data do not fit the
            family of x, or a view.
    """
    inputs_of(dataset.shape).refuse(recipe, dataset)
    known = {name: dataset.of_all(name) for name in dataset.inputs}
    known |= {label: _shown_values(label, recipe, dataset, split) for label in dataset.labels}
    known = {key: resident(array, device) for key, array in known.items()}
    extra = torch.arange(len(dataset.train["x"]), len(known["x"]))  # rows of x that have no label
    streams: dict[str, Stream] = {}
    for name, spec in recipe.streams.items():
        observed = set(spec.observe)
        if observed.isdisjoint(dataset.inputs):
            streams[name] = _unpaired(Unpaired(name, spec, recipe, dataset, split, device, seed, data_root))
            continue
        if unknown := sorted(observed - set(known)):
            raise DataError(
                f"streams.{name} observes {join_names(unknown)}, but {dataset.name} holds only {' and '.join(known)}"
            )
        if spec.values is not None:
            shown = next(key for key in dataset.inputs if key in observed)
            raise DataError(f"streams.{name}.values has no use: {shown} comes from {dataset.name}; remove values")
        rows = _labelled_rows(name, recipe, dataset, split)
        if rows is None:
            rows = torch.cat([split.unlabelled, extra])
            if not len(rows):
                rows = split.labelled  # every image is labelled: their labels are left away
        arrays = {key: known[key] for key in spec.observe}
        streams[name] = ArrayStream(name, arrays, rows, spec.batch, device, seed, _draws(spec, dataset))
    return streams


def _shown_values(label: str, recipe: Recipe, dataset: Dataset, split: Split) -> torch.Tensor:
    """The values of a label, none where an example does not show it but a stream may take it for another label.

    Of labels that the encoder infers, streams take examples that show them all.
    """
    values = dataset.of_all(label)
    if label in recipe.encoder or label == dataset.label:
        return values
    hidden = torch.full_like(values, torch.nan if values.is_floating_point() else VOID)
    rows = split.shown(dataset, label)
    hidden[rows] = values[rows]
    return hidden


def _labelled_rows(name: str, recipe: Recipe, dataset: Dataset, split: Split) -> torch.Tensor | None:
    """The examples whose labels a stream may show; None if it shows none. Raises DataError if there are none."""
    labels = [label for label in recipe.streams[name].observe if label in dataset.labels]
    if not labels:
        return None
    inferred = [label for label in labels if label in recipe.encoder]
    counts = torch.zeros(len(dataset.train["x"]) + len(dataset.unlabelled.get("x", ())), dtype=torch.int64)
    for label in inferred or labels:
        counts[split.shown(dataset, label)] += 1
    rows = torch.nonzero(counts >= (len(inferred) or 1)).flatten()
    if not len(rows):
        both = " and ".join(inferred) or " or ".join(labels)
        raise DataError(f"streams.{name}: no training example shows {both}; ask for some in split")
    return rows


def _draws(spec: StreamSpec, dataset: Dataset) -> list[StoredDraws]:
    """The stored draws of the views that a stream asks for."""
    return [
        StoredDraws(variable, view, views[view])
        for variable, views in dataset.draws.items()
        if variable in spec.observe
        for view in spec.named_views()
    ]


def _unpaired(asked: Unpaired) -> Stream:
    """A stream that shows no image: its values are such as the kind of label asks for that it observes alone."""
    name, spec, variables = asked.name, asked.spec, asked.recipe.variables
    if not spec.observe:
        if spec.values is not None:
            raise DataError(f"{asked.where} has no use: the stream observes nothing; remove values")
        return EmptyStream(name, spec.batch)
    if unknown := sorted(set(spec.observe) - set(variables)):
        raise DataError(f"streams.{name} observes {join_names(unknown)}, which the recipe's variables do not define")
    if len(spec.observe) > 1:
        return file_stream(asked)
    only, labels = spec.observe[0], asked.dataset.labels
    task = task_named(labels[only].kind) if only in labels else task_of(only, variables[only])
    return task.unpaired(asked)
