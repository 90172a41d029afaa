"""What must hold of the values of a stream without data, and of weights of classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from semivae.recipe.document import KeyPath, Problem
from semivae.recipe.schema import (
    ConditionalSpec,
    CountsSpec,
    FileSpec,
    FrequenciesSpec,
    NormalSpec,
    ProbabilitiesSpec,
    RangeSpec,
    StreamSpec,
    VariableSpec,
)

Variables = Mapping[str, VariableSpec]


def check_values(
    variables: Variables, encoder: Mapping[str, ConditionalSpec], streams: Mapping[str, StreamSpec]
) -> Iterator[Problem]:
    """`values` is for streams without data: classes drawn with weights, others from a distribution, or a file."""
    labelled = {shown for stream in streams.values() if set(stream.observe) - set(encoder) for shown in stream.observe}
    for name, stream in streams.items():
        path: KeyPath = ("streams", name, "values")
        shown = [known for known in stream.observe if known in variables]
        only_class = len(shown) == 1 and variables[shown[0]].has_classes
        only_bits = len(shown) == 1 and variables[shown[0]].family == "bernoulli"
        if only_bits and shown[0] in encoder and (shown[0] in labelled or isinstance(stream.values, FrequenciesSpec)):
            allowed = isinstance(stream.values, FrequenciesSpec | FileSpec)
            if not allowed and stream.values not in (None, "labelled", "hidden"):
                message = f"{shown[0]} is a vector of attributes; write frequencies, labelled, hidden or a file"
                yield Problem(path, message)
            continue
        only_number = len(shown) == 1 and variables[shown[0]].family == "gaussian"
        if only_number and (isinstance(stream.values, NormalSpec | RangeSpec) or shown[0] in labelled & set(encoder)):
            continue  # the kind of the label says which values there are
        if shown and not only_class and all(known in encoder for known in shown):
            if not isinstance(stream.values, FileSpec):
                yield Problem(path, f"{', '.join(shown)} can only come from a file; write values: {{file: FILE.npz}}")
            continue
        if stream.values is None:
            continue
        if not stream.observe:
            yield Problem(path, "this stream shows no variable, so there are no values to draw; remove values")
        if data := [known for known in shown if known not in encoder]:
            yield Problem(path, f"this stream shows {data[0]} and has its values from the data; remove values")
        labels = {known: variables[known] for known in shown if only_class}
        if isinstance(stream.values, FrequenciesSpec):
            yield Problem(path, "frequencies are of attributes, a bernoulli vector; write counts or probabilities")
        if labels and isinstance(stream.values, NormalSpec | RangeSpec):
            yield Problem(path, f"{shown[0]} is a class, not a number; write uniform, counts, probabilities or a file")
        if isinstance(stream.values, CountsSpec):
            yield from check_weights((*path, "counts"), stream.values.counts, labels)
        elif isinstance(stream.values, ProbabilitiesSpec):
            yield from check_weights((*path, "probabilities"), stream.values.probabilities, labels, total=1.0)


def check_weights(
    path: KeyPath, weights: tuple[float, ...], variables: Variables, total: float | None = None
) -> Iterator[Problem]:
    """One weight for each class of the variables, not all zero, which sum to `total` where that is given."""
    for name, variable in variables.items():
        classes = variable.classes
        allowed = (classes, classes and classes - 1) if variable.strangers is not None else (classes,)
        if classes is not None and len(weights) not in allowed:
            yield Problem(path, f"{name} has {classes} classes, here are {len(weights)} numbers")
    if sum(weights) == 0:
        yield Problem(path, "all are zero, so no class could be drawn; make one larger")
    elif total is not None and abs(sum(weights) - total) > 1e-3:
        yield Problem(path, f"must sum to 1, not to {sum(weights):.4g}; divide each by their sum")
