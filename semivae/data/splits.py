"""Which training examples show their label, which do not, and which are kept for validation; and the record of it.

A split is a pure function of the labels and the split seed: examples are ranked, within their class where they have
one, by SHA-256("semivae-split:SEED:INDEX"). No library's random generator takes part, so everybody gets the same one.
There are two mechanisms, `stratified_split` and `plain_split`; the kind of the label chooses (`semivae.tasks`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from semivae.data.dataset import Dataset
from semivae.data.hashing import apportion, long_tail, ranked
from semivae.errors import DataError
from semivae.files import write_whole
from semivae.recipe.schema import LongTailSpec, SplitSpec
from semivae.text import EXAMPLES, count_of, either, join_names
from semivae.variables import VOID, seen

FORMAT = 1
FORMAT_OF_FURTHER = 2  # of manifests that say which examples show further labels
REST = "rest"  # written instead of the labelled list where every example but the validation ones is labelled


@dataclass(frozen=True, eq=False)
class Split:
    """Three disjoint parts of `Dataset.train`, as sorted int64 indices into it.

    Attributes:
        labelled: examples whose label may be used.
        unlabelled: all that are neither labelled nor kept for validation.
        validation: examples that nobody trains on.
        source: name of the data set.
        dataset_digest: `Dataset.digest` of the data that the indices belong to.
        spec: what was asked for.
        also_labelled: by further label, which other examples show it, as sorted int64 indices into `train` followed by
            the data's unlabelled examples.
        beside: how many unlabelled examples the data have beside `train`, for those who read the manifest.
    """

    labelled: Tensor
    unlabelled: Tensor
    validation: Tensor
    source: str
    dataset_digest: str
    spec: SplitSpec
    also_labelled: Mapping[str, Tensor] = field(default_factory=dict)
    beside: int = 0

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the manifest's content."""
        return _content_digest(self.content())

    def shown(self, dataset: Dataset, label: str) -> Tensor:
        """The examples that show a label, int64 indices into `train` followed by the data's unlabelled examples."""
        if label == dataset.label:
            return self.labelled
        both = self.labelled[seen(dataset.train[label][self.labelled])]
        return torch.cat([both, self.also_labelled.get(label, both[:0])])

    def content(self) -> dict[str, Any]:
        """The manifest without its own checksum; `unlabelled` is the rest, so it is only counted."""
        asked = self.spec.also_labelled
        further = {
            name: "all" if asked.get(name) == "all" else rows.tolist() for name, rows in self.also_labelled.items()
        }
        return {
            "format": FORMAT_OF_FURTHER if further else FORMAT,
            "source": self.source,
            "dataset_sha256": self.dataset_digest,
            "seed": self.spec.seed,
            "balance": self.spec.model_dump()["balance"],
            "labelled_count": len(self.labelled),
            "unlabelled_count": len(self.unlabelled),
            **({"unlabelled_beside_count": self.beside} if self.beside else {}),
            "validation_count": len(self.validation),
            "labelled": REST if self.spec.labelled == "all" and not len(self.unlabelled) else self.labelled.tolist(),
            "validation": self.validation.tolist(),
            **({"also_labelled": further} if further else {}),
        }


def stratified_split(dataset: Dataset, spec: SplitSpec) -> Split:
    """Choose labelled and validation examples class by class, by the primary label.

    `balanced` gives every class the same number of labels; what does not divide goes to the classes that rank first.
    `proportional` follows the classes' frequencies and `{ratio: r}` a long tail (`long_tail`), with at least one label
    each. Validation follows the frequencies.
    Within a class the first ranked are labelled and the next ones are for validation, so that for one seed a smaller
    balanced split is a part of a larger one. Examples that the data keep for validation are that and nothing else.

    Raises:
        DataError: a class has no example, more labels or validation examples are asked for than there are, or
            validation examples of data that bring their own.
    """
    own = _own_validation(dataset, spec)
    members = _members(dataset, set(own.tolist()))
    groups = [ranked(group, lambda index: f"semivae-split:{spec.seed}:{index}") for group in members]
    sizes = [len(group) for group in groups]
    labels = [0] * len(sizes)
    if spec.labelled not in ("all", 0):
        labels = _label_counts(dataset, spec, int(spec.labelled), sizes)
    kept = [1] * len(sizes) if spec.labelled == "all" else labels  # each class teaches by one example at least
    left = [size - count for size, count in zip(sizes, kept, strict=True)]
    if spec.validation > sum(left):
        after = " beside one of each class" if spec.labelled == "all" else f" after {spec.labelled:,} labelled ones"
        raise DataError(
            f"split.validation asks for {count_of(spec.validation, *EXAMPLES)}, but {dataset.name} has "
            f"{sum(left):,} to train on{after}; ask for fewer"
        )
    checks = apportion(spec.validation, sizes, left)
    ends = [first + count for first, count in zip(labels, checks, strict=True)]
    validation = [group[a:b] for group, a, b in zip(groups, labels, ends, strict=True)]
    rest = [group[end:] for group, end in zip(groups, ends, strict=True)]
    labelled = rest if spec.labelled == "all" else [group[:a] for group, a in zip(groups, labels, strict=True)]
    unlabelled = [] if spec.labelled == "all" else rest
    checked = _indices([*validation, own.tolist()])
    return Split(_indices(labelled), _indices(unlabelled), checked, dataset.name, dataset.digest, spec)


def labels_asked(spec: SplitSpec) -> str:
    """How many labelled examples a split asks for, in words."""
    if spec.labelled == "all":
        return "all labelled examples"
    return count_of(spec.labelled, "labelled example", "labelled examples")


def plain_split(dataset: Dataset, spec: SplitSpec) -> Split:
    """Choose where there is no class to balance: the first ranked are labelled, the next ones for validation.

    Raises:
        DataError: more labels or validation examples are asked for than there are, or validation examples of data that
            bring their own.
    """
    own = _own_validation(dataset, spec)
    kept = set(own.tolist())
    free = [row for row in range(len(dataset.train["x"])) if row not in kept]
    order = ranked(free, lambda index: f"semivae-split:{spec.seed}:{index}")
    labels = len(order) - spec.validation if spec.labelled == "all" else spec.labelled
    if labels < 0 or labels + spec.validation > len(order):
        raise DataError(
            f"split asks for {labels_asked(spec)} and {spec.validation:,} for validation, but "
            f"{dataset.name} has {len(order):,} to train on; ask for fewer"
        )
    checks, labelled = order[labels : labels + spec.validation], order[:labels]
    unlabelled = order[labels + spec.validation :]
    validation = _indices([checks, own.tolist()])
    return Split(_indices([labelled]), _indices([unlabelled]), validation, dataset.name, dataset.digest, spec)


def with_further_labels(split: Split, dataset: Dataset) -> Split:
    """Adds how many unlabelled examples there are beside, and which of all show further labels (`also_labelled`).

    Of the examples that neither show the primary label nor are kept for validation, the first ones by the SHA-256 of
    "semivae-split:SEED:LABEL:INDEX" show the label, so one label does not say which examples show another. Where
    `labelled` is "all", so is what is not asked for.

    Raises:
        DataError: the data have no such label, or fewer examples with it than are asked for.
    """
    known, asked = list(dataset.labels)[1:], split.spec.also_labelled
    if unknown := [name for name in asked if name not in known]:
        other = "split.labelled says how many show it" if unknown[0] == dataset.label else _further_text(dataset)
        raise DataError(f"split.also_labelled.{unknown[0]}: {other}")
    if split.spec.labelled == "all":
        asked = {name: asked.get(name, "all") for name in known}
    further = {name: _further_rows(split, dataset, name, count) for name, count in asked.items()}
    return replace(split, also_labelled=further, beside=len(dataset.unlabelled.get("x", ())))


def _further_text(dataset: Dataset) -> str:
    known = list(dataset.labels)[1:]
    return f"{dataset.name} has {f'the further labels {join_names(known)}' if known else 'no further label'}"


def _further_rows(split: Split, dataset: Dataset, label: str, count: int | Literal["all"]) -> Tensor:
    beside = torch.arange(len(dataset.train["x"]), len(dataset.of_all(label)))
    others = torch.cat([split.unlabelled, beside])
    rows = others[seen(dataset.of_all(label)[others])]
    if count == "all":
        return rows
    if count > len(rows):
        raise DataError(
            f"split.also_labelled.{label} asks for {count_of(count, *EXAMPLES)}, but {dataset.name} has "
            f"{len(rows):,} with {label} that show no {dataset.label}; ask for fewer, or write all"
        )
    return _indices([ranked(rows.tolist(), lambda index: f"semivae-split:{split.spec.seed}:{label}:{index}")[:count]])


def _own_validation(dataset: Dataset, spec: SplitSpec) -> Tensor:
    """The rows that the data keep for validation, int64 [n]. Raises DataError where the split asks for others."""
    own = dataset.validation
    if own is None:
        return torch.zeros(0, dtype=torch.int64)
    if spec.validation:
        raise DataError(
            f"split.validation is {spec.validation}, but {dataset.name} has its own "
            f"{count_of(len(own), *EXAMPLES)} for validation; leave it out"
        )
    return own


def _members(dataset: Dataset, kept: Collection[int]) -> list[list[int]]:
    """The rows of each class, without those that are kept for validation, or whose class is not known."""
    members: list[list[int]] = [[] for _ in dataset.classes]
    for index, number in enumerate(dataset.train[dataset.label].tolist()):
        if index not in kept and number != VOID:
            members[number].append(index)
    empty = [name for name, group in zip(dataset.classes, members, strict=True) if not group]
    if empty:
        raise DataError(
            f"{dataset.name} has no example to train on of {join_names(empty)}; add some or remove the class"
        )
    return members


def _label_counts(dataset: Dataset, spec: SplitSpec, labelled: int, sizes: Sequence[int]) -> list[int]:
    """How many labels each class gets."""
    count = len(sizes)
    have = f"{dataset.name} has {join_names([f'{n:,} {c}' for c, n in zip(dataset.classes, sizes, strict=True)], 20)}"
    if labelled < count:
        raise DataError(
            f"split.labelled is {labelled}, but each of the {count} classes needs one; ask for {count} or more"
        )
    if labelled > sum(sizes):
        raise DataError(
            f"split.labelled asks for {labelled:,} labels, but only {count_of(sum(sizes), 'exists', 'exist')}; {have}"
        )
    if spec.balance == "proportional":
        return _one_each(apportion(labelled, sizes, sizes))
    if isinstance(spec.balance, LongTailSpec):
        counts = _one_each(apportion(labelled, long_tail(count, spec.balance.ratio), [labelled] * count))
        _refuse_short_tail(dataset, labelled, counts, sizes)
        return counts
    each, extra = divmod(labelled, count)
    first = ranked(range(count), lambda number: f"semivae-split:{spec.seed}:class:{number}")[:extra]
    counts = [each + (number in first) for number in range(count)]
    short = [name for name, size, asked in zip(dataset.classes, sizes, counts, strict=True) if size < asked]
    if short:
        raise DataError(
            f"split.labelled asks for {labelled:,} balanced labels, {max(counts):,} a class, but {join_names(short)} "
            f"{either(len(short), 'has', 'have')} fewer: {have}. "
            f"Ask for at most {min(sizes) * count:,}, or write balance: proportional"
        )
    return counts


def _one_each(counts: list[int]) -> list[int]:
    """Returns `counts` with no zero: what a class needs to have one comes from the largest."""
    for number in (k for k in range(len(counts)) if counts[k] == 0):
        counts[counts.index(max(counts))] -= 1
        counts[number] = 1
    return counts


def _refuse_short_tail(dataset: Dataset, labelled: int, counts: Sequence[int], sizes: Sequence[int]) -> None:
    for name, size, asked in zip(dataset.classes, sizes, counts, strict=True):
        if size < asked:
            raise DataError(
                f"split.balance asks for {asked:,} of {labelled:,} labels in class {name}, but {dataset.name} has "
                f"{size:,}; ask for fewer labels, or for a smaller ratio"
            )


def _indices(groups: Iterable[Iterable[int]]) -> Tensor:
    return torch.tensor(sorted(index for group in groups for index in group), dtype=torch.int64)


# Manifests -----------------------------------------------------------------------------------------------------------


def save_split(split: Split, path: Path) -> None:
    """Write a split's manifest, one JSON entry a line, in one move: a reader sees the old file or the new one.

    Raises:
        DataError: the file cannot be written.
    """
    content = {**split.content(), "sha256": split.digest}
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
    try:
        write_whole(path, "{\n" + lines + "\n}\n")
    except OSError as error:
        raise DataError(f"the split cannot be written to {path}: {error}") from error


def load_split(path: Path, dataset: Dataset) -> Split:
    """Read a manifest and check that it is whole and belongs to `dataset`.

    Raises:
        DataError: no such file, not a manifest, changed since it was written, made for other data, or written by a
            newer version of semivae.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"there is no split manifest {path.absolute()}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is no split manifest that can be read: {error}") from error
    number = content.get("format") if isinstance(content, dict) else None
    if isinstance(number, int) and number > FORMAT_OF_FURTHER:
        raise DataError(
            f"{path} is a split manifest of format {number}, which a newer version of semivae wrote; this version "
            f"reads format {FORMAT_OF_FURTHER}: upgrade it (pip install --upgrade semivae), or make the split again"
        )
    if number not in (FORMAT, FORMAT_OF_FURTHER) or "sha256" not in content:
        raise DataError(
            f"{path} is no split manifest of format {FORMAT}; give the split.json of a run, or leave out --split"
        )
    if content.pop("sha256") != _content_digest(content):
        raise DataError(f"{path} was changed after it was written (its sha256 does not fit its content); get it again")
    if content.get("dataset_sha256") != dataset.digest:
        raise DataError(
            f"{path} was made for {content.get('source')} with sha256 {str(content.get('dataset_sha256'))[:12]}..., "
            f"but these data are {dataset.name} with sha256 {dataset.digest[:12]}...; its indices mean others. "
            "Use the data that it was made for, or make a new split"
        )
    try:
        return _from_content(content, dataset)
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:  # torch's, beyond int64
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else repr(error)
        raise DataError(f"{path} has a right checksum but a wrong content ({reason}); get it again") from error


def recorded_counts(path: Path) -> tuple[int, int, int] | None:
    """Returns a manifest's counts of labelled, unlabelled and validation examples, without its data.

    None where the manifest cannot be read; `load_split` says why.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        labelled, unlabelled, validation = (
            content[f"{part}_count"] for part in ("labelled", "unlabelled", "validation")
        )
        return int(labelled), int(unlabelled), int(validation)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _from_content(content: dict[str, Any], dataset: Dataset) -> Split:
    everything = content["labelled"] == REST
    count = len(dataset.train["x"])
    indices = TypeAdapter(list[int])
    validation = torch.tensor(indices.validate_python(content["validation"], strict=True), dtype=torch.int64)
    shown = [] if everything else indices.validate_python(content["labelled"], strict=True)
    labelled = torch.tensor(shown, dtype=torch.int64)
    chosen = torch.cat([labelled, validation])
    if len(chosen) and (chosen.min() < 0 or chosen.max() >= count or len(set(chosen.tolist())) != len(chosen)):
        raise ValueError(f"indices are not {len(chosen):,} different ones of {count:,} examples")
    free = torch.ones(count, dtype=torch.bool)
    free[chosen] = False
    rest = torch.nonzero(free).flatten()
    nothing = rest[:0]
    further = dict(content.get("also_labelled", {}))
    spec = SplitSpec(
        labelled="all" if everything else len(labelled),
        balance=content["balance"],
        seed=content["seed"],
        validation=len(validation),
        also_labelled={name: rows if rows == "all" else len(rows) for name, rows in further.items() if rows},
    )
    labelled, unlabelled = (rest, nothing) if everything else (labelled.sort().values, rest)
    split = Split(labelled, unlabelled, validation.sort().values, content["source"], dataset.digest, spec)
    listed = {name: _listed(split, dataset, name, rows) for name, rows in further.items()}
    return replace(split, also_labelled=listed, beside=content.get("unlabelled_beside_count", 0))


def _listed(split: Split, dataset: Dataset, label: str, listed: Any) -> Tensor:
    """The rows of a manifest that show a further label; ValueError for those that cannot."""
    may = _further_rows(split, dataset, label, "all")
    if listed == "all":
        return may
    rows = torch.tensor(TypeAdapter(list[int]).validate_python(listed, strict=True), dtype=torch.int64).sort().values
    if len(set(rows.tolist())) != len(rows) or not torch.isin(rows, may).all():
        raise ValueError(f"indices of {label} are not {len(rows):,} different ones that may show it")
    return rows


def _content_digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
