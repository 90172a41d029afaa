"""Class priors: the one that a classifier was trained under, the one that a user states, and the change between them.

If p(x | y) stays and only the shares of the classes change,

    p_new(y | x) is proportional to p(y | x) * p_new(y) / p_old(y).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semivae.classification.posterior import Floats
from semivae.data.formats.label_files import class_number
from semivae.data.formats.regular_files import open_text
from semivae.data.hashing import long_tail
from semivae.errors import DataError, RunError
from semivae.game.distributions import categorical_of
from semivae.recipe.schema import PairOfViews
from semivae.runs.model import TrainedModel
from semivae.text import join_names

FORMS = "write uniform, CLASS=NUMBER,... with a number for every class, ratio=10, or the name of a file"


def trained_prior(run: TrainedModel) -> Floats:
    """Returns the p(y) that q(y | x) of a run was trained under, float64 (K,), summing to one.

    Where a stream's views are aligned to the decoder's p(y), or pairs are adjusted to it, that is what the classifier
    came to assume. Else it is the shares of the classes among the labelled examples: they are what taught q(y | x), and
    thresholded views carry on what it believes. The supervised twin has only ever seen those.

    Raises:
        DataError: the checkpoint does not say the labelled examples' classes, and the data set cannot be read.
    """
    if run.checkpoint != "twin" and follows_decoder(run):
        with torch.no_grad():
            return np.asarray(categorical_of(run.decoder[run.label]({})).probs.cpu(), dtype=np.float64)
    counts = run.facts.labelled_counts
    if not counts:  # a checkpoint of an earlier version
        labels = run.dataset().train[run.label][run.split().labelled]
        counts = torch.bincount(labels, minlength=len(run.classes)).tolist()
    shares = np.asarray(counts, dtype=np.float64)
    return np.asarray(shares / shares.sum(), dtype=np.float64)


def follows_decoder(run: TrainedModel) -> bool:
    """Returns whether some stream aligns q(y | x) with the decoder's p(y)."""
    streams = run.recipe.streams.values()
    return any(stream.adjust or (isinstance(stream.views, PairOfViews) and stream.views.align) for stream in streams)


def change_prior(log_posterior: Floats, old: Floats, new: Floats, classes: Sequence[str]) -> Floats:
    """log p_new(y | x), (n, K) nats, from log p(y | x) under p_old.

    Raises:
        RunError: a class is to occur that was impossible in training.
    """
    impossible = [name for name, before, now in zip(classes, old, new, strict=True) if now > 0 and not before > 0]
    if impossible:
        raise RunError(
            f"the prior gives {join_names(impossible)} a share, but in training it had none, so nothing is known of "
            "it; give it 0, or train with examples of it"
        )
    from scipy.special import log_softmax  # importing it takes a while

    with np.errstate(divide="ignore"):  # log 0 is meant: such a class has probability 0
        change = np.where(new > 0, np.log(new) - np.log(np.where(old > 0, old, 1.0)), -np.inf)
    return np.asarray(log_softmax(log_posterior + change, axis=1), dtype=np.float64)


def read_prior(stated: Any, classes: Sequence[str], what: str = "prior") -> Floats:
    """A prior as a user states it, as probabilities float64 (K,).

    Args:
        stated: "uniform"; "ratio=R", a long tail from the first class to the last; "CLASS=NUMBER,..."; the name of a
            file (.csv or .txt with CLASS,NUMBER a line, or .json with {"CLASS": NUMBER}); a mapping of classes to
            numbers; or K numbers in the order of the classes. Numbers are probabilities, or whole counts. Classes go
            by name, else by number.
        classes: the class names.
        what: names the option in messages.

    Raises:
        DataError: not readable, not every class named once, or numbers that are no probabilities and no counts.
    """
    if isinstance(stated, str | Path):
        return _read_text(str(stated), classes, what)
    if isinstance(stated, Mapping):
        return _from_pairs([(str(name), value) for name, value in stated.items()], classes, what)
    numbers = np.asarray(stated.cpu() if isinstance(stated, torch.Tensor) else stated)
    if numbers.shape != (len(classes),):
        raise DataError(
            f"{what} has shape {list(numbers.shape)}; one number for each of {len(classes)} classes is needed"
        )
    return _normalised([float(number) for number in numbers], what)


def _read_text(text: str, classes: Sequence[str], what: str) -> Floats:
    if text == "uniform":
        return np.full(len(classes), 1.0 / len(classes))
    if os.path.isfile(text):  # Path.is_file raises where a long list of classes is too long for a name
        return _read_file(Path(text), classes)
    if "=" not in text:
        raise DataError(f"{what} {text!r}: there is no such file; {FORMS}")
    pairs = [(name.strip(), number.strip()) for name, _, number in (part.rpartition("=") for part in text.split(","))]
    if len(pairs) == 1 and pairs[0][0] == "ratio" and "ratio" not in classes:
        weights = long_tail(len(classes), _number(pairs[0][1], f"{what} ratio", positive=True))
        return _normalised([float(weight) for weight in weights], what)
    return _from_pairs(pairs, classes, what)


def _read_file(path: Path, classes: Sequence[str]) -> Floats:
    try:
        with open_text(path) as stream:
            text = stream.read()
        if path.suffix.lower() == ".json":
            content = json.loads(text)
            if not isinstance(content, dict):
                raise ValueError("not an object with a number for each class")
            return _from_pairs([(str(name), value) for name, value in content.items()], classes, str(path))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text; save the prior in UTF-8") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a prior: {error}") from error
    rows = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    pairs = []
    for number, line in rows:
        name, comma, value = line.rpartition(",")
        if not comma:
            raise DataError(f"{path}:{number}: {line!r}; a line says CLASS,NUMBER")
        if number > rows[0][0] or class_number(name, classes) is not None:  # the first line may be a header
            pairs.append((name.strip(), value.strip()))
    return _from_pairs(pairs, classes, str(path))


def _from_pairs(pairs: Sequence[tuple[str, Any]], classes: Sequence[str], what: str) -> Floats:
    found: dict[int, float] = {}
    for name, value in pairs:
        number = class_number(name, classes)
        if number is None:
            raise DataError(f"{what}: unknown class {name!r}; the classes are {join_names(classes, most=20)}; {FORMS}")
        if number in found:
            raise DataError(f"{what}: class {classes[number]} is named twice; keep one")
        found[number] = _number(value, f"{what}, class {name}")
    if missing := [name for number, name in enumerate(classes) if number not in found]:
        raise DataError(
            f"{what} says nothing of {join_names(missing)}; give every class a number, 0 if it does not occur"
        )
    return _normalised([found[number] for number in range(len(classes))], what)


def _number(written: Any, what: str, positive: bool = False) -> float:
    try:
        value = math.nan if isinstance(written, bool) else float(written)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value) or value < 0 or (positive and value == 0):
        raise DataError(f"{what}: {written!r} is no number {'above 0' if positive else 'of 0 or more'}")
    return value


def _normalised(numbers: Sequence[float], what: str) -> Floats:
    values = np.asarray([_number(number, what) for number in numbers])
    total = values.sum()
    counts = bool((values == values.round()).all())
    if not total > 0 or not (counts or abs(total - 1.0) <= 1e-3):
        raise DataError(f"{what} sums to {total:.6g}; give probabilities that sum to 1, or whole numbers as counts")
    return np.asarray(values / total, dtype=np.float64)
