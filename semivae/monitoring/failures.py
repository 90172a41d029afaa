"""Failures of training: the rules that turn the measurements of its validations into warnings.

A row is one line of a run's metrics (`semivae.runs.folder.read_metrics`). Values that a row lacks, or that are None,
were not measured and raise no warning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from semivae.game.losses import mask_rates_of
from semivae.monitoring.context import ConfidenceThreshold, Context
from semivae.monitoring.fractions import clearly_above, halfway, interval, standard_error
from semivae.text import count_of, either

Row = Mapping[str, Any]

COLLAPSED = 0.05  # of the capacity of a code; codes that open at all reach a sixth and more (docs/experiments.md)
COLLAPSED_BITS = 0.5  # the same for large codes
PERSISTS = 2  # the number of successive validations in which a rise of the error must last to count as drift
IDLE = 0.05  # the mask rate below which a stream hardly teaches the label
UNFILTERED = 0.95  # the mask rate from which on a threshold rejects next to nothing
WRONG_LABELS = 0.05  # the error rate of confident labels that the usual threshold of 0.95 promises at most
TAKEN_OVER = 0.1  # the fraction of what belongs to other classes from which on a class takes over
BY_CHANCE = 1e-3  # a class is missing if its absence by chance is less probable than this
MOST_NAMED = 5  # of the missing classes; a data set may have hundreds
NORMAL_95 = 1.96  # standard errors from the middle of a 95% interval to its end
OTHER_MEANING = 0.25  # the fraction of samples with another class, beyond the reader's own error; blur explains some


@dataclass(frozen=True)
class Failure:
    """One failure, as a warning in four parts.

    Args:
        kind: the rule that found it.
        about: the code, label or stream that it concerns.
        seen: the measurement.
        means: what the measurement means.
        advice: what to do.
    """

    kind: str
    about: str
    seen: str
    means: str
    advice: str

    @property
    def text(self) -> str:
        """The whole warning."""
        return f"{self.seen}: {self.means}. What to do: {self.advice}."

    def as_row(self) -> dict[str, str]:
        """Returns the failure as an entry of a row of metrics."""
        return asdict(self)


def find_failures(rows: Sequence[Row], context: Context) -> list[Failure]:
    """Returns all failures at the last of a model's validations, `rows` in order."""
    if not rows:
        return []
    rules: tuple[Callable[[Sequence[Row], Context], Iterator[Failure]], ...] = (
        collapsed_codes,
        drifting_label,
        unread_samples,
        idle_views,
        overconfident_views,
        dominant_class,
        missing_classes,
    )
    return [failure for rule in rules for failure in rule(rows, context)]


def new_failures(failures: Sequence[Failure], rows: Sequence[Row]) -> list[Failure]:
    """Returns the failures that no earlier row reports, because a training reports each of them once."""
    reported = {(entry["kind"], entry["about"]) for row in rows for entry in row.get("warnings", ())}
    return [failure for failure in failures if (failure.kind, failure.about) not in reported]


# Codes ---------------------------------------------------------------------------------------------------------------


def collapsed_codes(rows: Sequence[Row], context: Context) -> Iterator[Failure]:
    """Finds codes that carry next to nothing of their capacity after the grace period."""
    row = rows[-1]
    means = f"hand over mean {context.examples[1]} (variables.{context.image}.complete_with: mean), which opens codes "
    means += "fastest, or "
    more = f"raise training.learning_rate of the encoder, or enlarge the net of decoder.{context.image}"
    for code, bits in (row.get("bits") or {}).items():
        capacity = context.capacity.get(code, math.inf)
        if context.past_grace_period(row["step"]) and bits < min(COLLAPSED_BITS, COLLAPSED * capacity):
            most = "" if math.isinf(capacity) else f" of at most {capacity:.3g}"
            yield Failure(
                "collapsed code",
                code,
                f"code {code} has {max(bits, 0.0):.2f} bits in use{most} at step {row['step']:,}",
                "the code has collapsed: the decoder ignores it or the encoder cannot infer it, so samples barely "
                "depend on it",
                (means if context.draws_image else "") + more,
            )


# The label's meaning -------------------------------------------------------------------------------------------------


def drifting_label(rows: Sequence[Row], context: Context) -> Iterator[Failure]:
    """Finds a headline figure on validation that stays clearly above its minimum."""
    measured = [row for row in rows if row.get("validation_error") is not None]
    if len(measured) <= PERSISTS or not context.has_labels:
        return
    best = min(measured[:-PERSISTS], key=lambda row: float(row["validation_error"]))
    latest = measured[-PERSISTS:]
    if all(clearly_worse(row, best, context) for row in latest):
        headline = context.headline
        yield Failure(
            "drifting label",
            str(context.label),
            f"the validation {headline.name} of {context.label} is {headline.brief(latest[-1]['validation_error'])} at "
            f"step {latest[-1]['step']:,}, clearly above its minimum, {headline.brief(best['validation_error'])} at "
            f"step {best['step']:,} ({count_of(context.n_images, *context.examples)})",
            f"the meaning of {context.label} drifts: the players agree on something other than the labels",
            f"{anchor(context)}; the checkpoint `selected` is the one with the lowest {headline.name}",
        )


def worse_than_twin(rows: Sequence[Row], twin_rows: Sequence[Row], context: Context) -> Iterator[Failure]:
    """Finds a finished model whose headline figure is above that of its finished supervised twin.

    The twin is ahead if the difference is more than its standard error (with maps: at all); the model is worse if it is
    clear.
    """
    if not rows or not twin_rows or not rows[-1]["step"] == twin_rows[-1]["step"] == context.steps:
        return
    error, twin = rows[-1].get("validation_error"), twin_rows[-1].get("validation_error")
    if error is None or twin is None or not context.n_images:
        return
    label, headline, many = context.label, context.headline, context.examples[1]
    n_images = count_of(context.n_images, *context.examples)
    seen = (
        f"the validation {headline.name} of {label} is {headline.brief(error)}, that of its supervised twin "
        f"{headline.brief(twin)} ({n_images})"
    )
    if clearly_worse(rows[-1], twin_rows[-1], context):
        means = f"the unlabelled data did harm: the meaning of {label} drifted away from the labels"
        yield Failure("worse than the twin", str(label), seen, means, anchor(context))
    elif error - twin > deviation_of_difference(rows[-1], twin_rows[-1], context):
        yield Failure(
            "twin ahead",
            str(label),
            seen,
            f"the twin is ahead, so the unlabelled data do not seem to help, but {n_images} "
            f"{either(context.n_images, 'is', 'are')} too few to be sure",
            f"compare both on the test {many} (semivae evaluate), or on more validation {many} (split.validation); if "
            f"the twin stays ahead, {anchor(context)}",
        )


def clearly_worse(row: Row, other: Row, context: Context) -> bool:
    """Returns whether the 95% interval of a row's headline figure lies above that of another row's."""
    if context.headline.fraction:
        return clearly_above(row["validation_error"], other["validation_error"], context.n_images)
    low, high = (figure_interval(each, context)[side] for side, each in enumerate((row, other)))
    return low > high


def figure_interval(row: Row, context: Context) -> tuple[float, float]:
    """Returns the 95% interval of a row's headline figure; endless where its standard error is unknown."""
    if context.headline.fraction:
        return interval(row["validation_error"], context.n_images)
    deviation = row.get("validation_deviation")
    half = math.inf if deviation is None else NORMAL_95 * deviation
    return row["validation_error"] - half, row["validation_error"] + half


def deviation_of_difference(row: Row, other: Row, context: Context) -> float:
    """Returns the standard error of the difference of two headline figures."""
    if context.headline.fraction:
        return standard_error(row["validation_error"], other["validation_error"], context.n_values)
    one, two = row.get("validation_deviation"), other.get("validation_deviation")
    return math.inf if one is None or two is None else math.hypot(one, two)


def unread_samples(rows: Sequence[Row], context: Context) -> Iterator[Failure]:
    """Finds a low class consistency: the encoder classifies too few samples as the class that they were drawn for.

    A mere fall is no failure, because a decoder that still paints class means is the most consistent one.
    """
    row = rows[-1]
    consistency = row.get("read_as_intended")
    if consistency is None or not context.n_samples or not context.past_grace_period(row["step"]):
        return
    if interval(consistency, context.n_samples)[1] < halfway(context.chance):
        yield Failure(
            "unread samples",
            str(context.label),
            f"q({context.label} | {context.image}) {context.agreement.format(share=consistency, n=context.n_samples)} "
            f"at step {row['step']:,} (by chance: {context.chance:.0%})",
            f"the encoder and the decoder do not agree on {context.label}, or the samples look like no "
            f"{context.nouns[0]}",
            f"make the codes smaller (shape, under variables), so that real {context.examples[1]} use all of their "
            f"values, or enlarge the net of decoder.{context.image}, or train for more steps",
        )


def other_meaning(
    consistency: float, by_reader: float, reader_error: float | None, n_samples: int, reader: str, label: str
) -> Iterator[Failure]:
    """Finds players that agree with each other, but not with an independent classifier.

    Args:
        consistency: the fraction of samples that the run's own encoder classifies as intended.
        by_reader: the fraction that the independent classifier does.
        reader_error: the classifier's validation error, None if unknown.
        n_samples: the number of samples.
        reader: what messages call the classifier.
        label: the name of the label.
    """
    low, high = interval(consistency, n_samples)[0], interval(by_reader, n_samples)[1]
    if low > high and 1.0 - high - (reader_error or 0.0) > OTHER_MEANING:
        yield Failure(
            "another meaning",
            label,
            f"the run's encoder classifies {consistency:.0%} of {n_samples:,} samples as the class that they were "
            f"drawn for, {reader} {by_reader:.0%}",
            f"the players agree on a {label} of their own, or on signs in the samples that real ones do not have",
            "look at the samples (semivae sample); if they show other classes, anchor the label by views and more "
            "labels; if they show no class, make the codes smaller or the decoder's net larger",
        )


def anchor(context: Context) -> str:
    """Returns advice on how to keep the meaning of the label, which a recipe with this context can follow."""
    advice = []
    if context.sample_streams:
        keys = ", ".join(f"streams.{name}.loss_weights: {{{context.label}: 0}}" for name in context.sample_streams)
        advice.append(f"let the decoder's samples not teach {context.label} ({keys})")
    if context.thresholds:
        keys = ", ".join(threshold.key for threshold in context.thresholds)
        advice.append(f"raise {keys} if confident labels are wrong")
    else:
        advice.append(
            f"anchor it by a pair of views of unlabelled {context.examples[1]} "
            "(views: {weak: ..., strong: ...} of a stream)"
        )
    return "; ".join([*advice, "or use more labels (split.labelled)"])


# Confidence ----------------------------------------------------------------------------------------------------------


def idle_views(rows: Sequence[Row], context: Context) -> Iterator[Failure]:
    """Finds unlabelled streams with next to no confident label."""
    rates = mask_rates_of(rows[-1].get("losses") or {})
    for threshold in context.thresholds:
        rate = rates.get(threshold.stream)
        if rate is not None and context.past_grace_period(rows[-1]["step"]) and rate < IDLE:
            yield Failure(
                "idle views",
                threshold.stream,
                f"{_confident(rate, threshold, context)} at step {rows[-1]['step']:,}",
                f"the stream hardly teaches {context.label}",
                f"lower {threshold.key}, or use more labels (split.labelled)",
            )


def overconfident_views(rows: Sequence[Row], context: Context) -> Iterator[Failure]:
    """Finds unlabelled streams that learn next to all labels, of which clearly too many are wrong."""
    row = rows[-1]
    confident, wrong = row.get("confident"), row.get("confident_error")
    if not context.has_labels or not confident or wrong is None:
        return
    n_confident = max(1, round(confident * context.n_images))
    rates = mask_rates_of(row.get("losses") or {})
    for threshold in context.thresholds:
        rate = rates.get(threshold.stream)
        if threshold.soft or rate is None or rate < UNFILTERED:
            continue
        if interval(wrong, n_confident)[0] > WRONG_LABELS:
            yield Failure(
                "overconfident views",
                threshold.stream,
                f"{_confident(rate, threshold, context)} at step {row['step']:,}; of {context.values_text} "
                f"{confident:.0%} are as confident, and {wrong:.1%} of those get a wrong label",
                f"{context.label} learns its own mistakes",
                f"raise {threshold.key}, or use more labels (split.labelled)",
            )


def _confident(rate: float, threshold: ConfidenceThreshold, context: Context) -> str:
    images = context.counted.format(images=f"stream {threshold.stream}'s {context.examples[1]}")
    return f"{rate:.1%} of {images} have a label of confidence {threshold.threshold:g} or more"


# Classes -------------------------------------------------------------------------------------------------------------


def dominant_class(rows: Sequence[Row], context: Context) -> Iterator[Failure]:
    """Finds a class whose mean posterior is clearly above its frequency plus a tenth of that of the others."""
    row = rows[-1]
    if not context.past_grace_period(row["step"]) or not context.n_images:
        return
    masses = row.get("class_shares") or ()
    excess = [
        (mass - expected, name, mass, expected)
        for name, mass, expected in zip(context.classes, masses, context.expected, strict=False)
        if mass > (limit := expected + TAKEN_OVER * (1.0 - expected)) and interval(mass, context.n_images)[0] > limit
    ]
    for _, name, mass, expected in sorted(excess)[-1:]:
        yield Failure(
            "one class takes over",
            str(context.label),
            f"{context.nouns[0]} {name} has a mean posterior of {mass:.1%} on {context.values_text} at step "
            f"{row['step']:,}, where {expected:.1%} is expected",
            f"the {context.nouns[0]} takes over what belongs to other {context.nouns[1]}",
            more_labels(context),
        )


def missing_classes(rows: Sequence[Row], context: Context) -> Iterator[Failure]:
    """Finds classes that are never predicted, although chance would hardly hide them."""
    row = rows[-1]
    if not context.past_grace_period(row["step"]) or not context.n_images:
        return
    # pixels of one image are alike, so they count one by one only where the labels say that a class is there
    count = context.n_values if context.has_labels else context.n_images
    missing = [
        f"{name} ({expected:.1%} expected)"
        for name, rate, expected in zip(
            context.classes, row.get("predicted_shares") or (), context.expected, strict=False
        )
        if rate == 0.0 and (1.0 - expected) ** count < BY_CHANCE
    ]
    if missing:
        more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
        yield Failure(
            "missing classes",
            str(context.label),
            f"none of {context.values_text} is classified as {', '.join(missing[:MOST_NAMED])}{more} at step "
            f"{row['step']:,}",
            f"the classifier has lost {len(missing)} of {count_of(len(context.classes), *context.nouns)}",
            more_labels(context),
        )


def more_labels(context: Context) -> str:
    """Returns advice for neglected classes, which a recipe with this context can follow."""
    advice = ["use more labels of such classes (split.labelled)"]
    if context.unbalanced:
        advice.append("balance them (split.balance: balanced)")
    if context.unaligned:
        keys = ", ".join(f"{key}: true" for key in context.unaligned)
        advice.append(f"align the pseudo-labels to the decoder's prior, if that is right ({keys})")
    return ", or ".join(advice)
