"""A data set with features of its pictures beside them, and with the stored random draws of their views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from filelock import FileLock

from semivae.data.dataset import Dataset
from semivae.data.features.extraction import Job, Tell, extract
from semivae.data.features.network import FeatureNetwork
from semivae.data.features.pictures import PARTS, counts_of, pictures_digest, pictures_of
from semivae.data.features.store import PLAIN, Store, draw_of
from semivae.data.formats.preprocessing import Preprocessing, preprocessing_of
from semivae.data.paths import resolve
from semivae.errors import DataError, RecipeError
from semivae.nets.bodies import Body, build_body, load_pretrained
from semivae.recipe.schema import FeatureSpec, FolderSource, MasksSource, Recipe, Source

LOCK_FILE = ".extracting.lock"
NO_FILES = ("default", "none")  # what a body's weights may be, if not a file


def feature_network(name: str, spec: FeatureSpec, root: Path, pretrained: bool = True) -> FeatureNetwork:
    """The network of a recipe's features, not yet standardised.

    Args:
        name: the variable.
        spec: its section.
        root: where a relative path of a weights file starts.
        pretrained: whether its weights are read; they are random otherwise.

    Raises:
        RecipeError: the library, the model or its weights cannot be had.
    """
    try:
        body: Body = build_body(spec.net, pretrained=False)
        if pretrained:
            file = None if spec.net.weights in NO_FILES else resolve(spec.net.weights, root)
            load_pretrained(body, spec.net, file)
    except ValueError as error:
        raise RecipeError(f"features.{name}.net: {error}") from error
    if spec.components is not None and spec.components > body.features:
        raise RecipeError(f"features.{name}.components: {spec.components} of {body.features} features; ask for fewer")
    return FeatureNetwork(body, spec.mirror, spec.components)


def features_of(name: str, spec: FeatureSpec) -> int:
    """The number of features, found without any weights. Arguments and errors as of `feature_network`."""
    with torch.device("meta"):
        return feature_network(name, spec, Path(), pretrained=False).size


def feature_preprocessing(spec: FeatureSpec, source: Source, channels: int) -> Preprocessing:
    """How pictures become what the network sees: as x does, but at its own size."""
    own = preprocessing_of(source) if isinstance(source, FolderSource | MasksSource) else None
    own = own or Preprocessing(channels, spec.size, spec.size)
    return replace(own, height=spec.size, width=spec.size, fit=spec.fit or own.fit)


def with_features(
    dataset: Dataset,
    recipe: Recipe,
    root: Path,
    device: torch.device,
    networks: Mapping[str, FeatureNetwork],
    tell: Tell,
    draws: bool = True,
) -> Dataset:
    """A data set with its features, which are extracted where they are not kept yet.

    Args:
        dataset: the data.
        recipe: says which features.
        root: the data root, below which features are kept.
        device: where they are computed.
        networks: by variable; those of a new training are standardised here.
        tell: gets lines for the user.
        draws: whether random draws of views are wanted.

    Raises:
        DataError: the examples are no pictures, the data hold a variable of this name, or as `extract` says.
    """
    for name, spec in recipe.features.items():
        if name in dataset.train:
            raise DataError(f"features.{name}: {dataset.name} holds a variable {name} already; rename the features")
        dataset = _with(dataset, name, spec, recipe, root, device, networks[name], tell, draws)
    return dataset


def _with(
    dataset: Dataset,
    name: str,
    spec: FeatureSpec,
    recipe: Recipe,
    root: Path,
    device: torch.device,
    network: FeatureNetwork,
    tell: Tell,
    draws: bool,
) -> Dataset:
    network.channels.fill_(dataset.shape[0])
    how = feature_preprocessing(spec, recipe.source, dataset.shape[0])
    counts = counts_of(dataset)
    drawn = counts["train"] + counts["unlabelled"]
    wanted = {view: [draw_of(view, recipe.views[view], index) for index in range(k)] for view, k in spec.draws.items()}
    passes = [PLAIN, *(one for each in wanted.values() for one in each if draws)]
    key: dict[str, object] = {
        "pictures": pictures_digest(dataset),
        "network": network.digest(),
        "seen": [how.height, how.width, how.fit, how.background, how.white],
    }
    store = Store(root, dataset.name, key)
    with pictures_of(dataset, how) as pictures, _alone(store):
        what = f"features {name} by {spec.net.model} at {spec.size} pixels"
        extract(Job(what, network, pictures, drawn, passes, device), store, tell)
    plain = store.read(PLAIN, (sum(counts.values()), network.size))
    parts = dict(zip(PARTS, torch.split(plain, [counts[part] for part in PARTS]), strict=True))
    return replace(
        dataset,
        train={**dataset.train, name: parts["train"]},
        test={**dataset.test, name: parts["test"]},
        unlabelled={**dataset.unlabelled, name: parts["unlabelled"]} if dataset.unlabelled else {},
        derived=(*dataset.derived, name),
        draws={
            name: {view: tuple(store.read(one, (drawn, network.size)) for one in each) for view, each in wanted.items()}
        }
        if draws
        else {},
    )


def _alone(store: Store) -> FileLock:
    """A lock, so that of several trainings on the same pictures one extracts and the others wait."""
    try:
        store.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{store.folder}: features cannot be kept there ({error.strerror})") from error
    return FileLock(store.folder / LOCK_FILE)
