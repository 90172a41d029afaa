"""When to warn: from the numbers of a training's validations to warnings in plain words. No torch, no files.

A row is one line of a run's metrics (`semivae.runs.folder.read_metrics`); numbers that a row lacks, or that are None,
were not measured and raise no alarm. Two shares differ *clearly* where their exact 95% intervals do not overlap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from semivae.game.losses import mask_rates_of
from semivae.metrics import error_interval

Row = Mapping[str, Any]

SETTLED = 0.3  # share of the training, counted from its last lesson's start, before which nothing needs to work yet
COLLAPSED = 0.05  # of what a code could carry: codes that open at all reach a sixth and more (docs/experiments.md)
COLLAPSED_BITS = 0.5  # the same for large codes: less does not even halve what is possible
PERSISTS = 2  # validations in a row that a rise must last: a single bad one early on is no drift
NOTHING = 0.05  # share of confident images below which an unlabelled batch teaches the label next to nothing
EVERYTHING = 0.95  # share of confident images from which on the threshold holds back next to nothing
WRONG_LABELS = 0.05  # share of wrong labels among the confident ones: what the usual threshold of 0.95 promises at most
TAKEN = 0.1  # share of what belongs to the other classes that one class must take before it counts as taking over
BY_CHANCE = 1e-3  # a class is missing only where so improbable a chance would hide it from all images
MOST_NAMED = 5  # of the missing classes; a data set may have hundreds
OTHER_MEANING = 0.25  # of the samples, read otherwise beyond a reader's own error: blur alone costs a reader some, too


@dataclass(frozen=True)
class Alarm:
    """One warning: what it is about, what was seen, what that means, what to do."""

    kind: str
    about: str
    seen: str
    means: str
    advice: str

    @property
    def text(self) -> str:
        return f"{self.seen}: {self.means}. What to do: {self.advice}."

    def as_row(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class Gate:
    """The confidence from which on images of an unlabelled stream teach the label, and its key in the recipe.

    Where it is `soft`, the whole posterior is taught, so that all images may teach without making a claim.
    """

    stream: str
    threshold: float
    key: str
    soft: bool = False


@dataclass(frozen=True)
class Setting:
    """What the rules must know of a run beside its rows.

    Args:
        steps: of the whole training.
        begins: share of the training at which its last lesson starts.
        image, label: their names; label None in an unsupervised run.
        capacity: most bits that each code can carry; inf for real numbers.
        noisy_image: whether the decoder hands drawn pixels to the encoder although it could hand means.
        gates: what holds back labels that are not sure, of pairs of views and of votes.
        label_teachers: streams whose decoder-made samples teach the encoder's label.
        judged: images that the class shares of a row were measured on.
        labelled_judged: whether those are labelled (the validation part), so that errors speak of as many.
        expected: class shares that the label's posterior should have on them; empty where nobody knows.
        classes: their names.
        chance: share of samples that a reader who always says the most frequent class would get right.
        samples: how many of the decoder's samples were read.
    """

    steps: int
    begins: float = 0.0
    image: str = "x"
    label: str | None = None
    capacity: Mapping[str, float] = field(default_factory=dict)
    noisy_image: bool = False
    gates: tuple[Gate, ...] = ()
    label_teachers: tuple[str, ...] = ()
    judged: int = 0
    labelled_judged: bool = False
    expected: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()
    chance: float = 0.0
    samples: int = 0

    def settled(self, step: int) -> bool:
        return step >= self.steps * (self.begins + SETTLED * (1.0 - self.begins))


def alarms(rows: Sequence[Row], setting: Setting) -> list[Alarm]:
    """All warnings that hold at the last of a model's validations, `rows` in order."""
    if not rows:
        return []
    rules: tuple[Callable[[Sequence[Row], Setting], Iterator[Alarm]], ...] = (
        collapsed_codes,
        drifting_label,
        unread_samples,
        idle_views,
        overconfident_views,
        classes_that_take_over,
        missing_classes,
    )
    return [alarm for rule in rules for alarm in rule(rows, setting)]


def new_alarms(found: Sequence[Alarm], rows: Sequence[Row]) -> list[Alarm]:
    """Those of `found` that none of the earlier `rows` has told of: each thing is said once in a training."""
    told = {(entry["kind"], entry["about"]) for row in rows for entry in row.get("warnings", ())}
    return [alarm for alarm in found if (alarm.kind, alarm.about) not in told]


# Codes ---------------------------------------------------------------------------------------------------------------


def collapsed_codes(rows: Sequence[Row], setting: Setting) -> Iterator[Alarm]:
    """Codes that carry next to nothing although training has settled and they could."""
    row = rows[-1]
    means = f"hand over mean images (variables.{setting.image}.complete_with: mean), which opens codes fastest, or "
    more = f"raise training.learning_rate of the encoder, or enlarge the net of decoder.{setting.image}"
    for code, bits in (row.get("bits") or {}).items():
        capacity = setting.capacity.get(code, math.inf)
        if setting.settled(row["step"]) and bits < min(COLLAPSED_BITS, COLLAPSED * capacity):
            most = "" if math.isinf(capacity) else f" of at most {capacity:.3g}"
            yield Alarm(
                "collapsed code",
                code,
                f"code {code} has {max(bits, 0.0):.2f} bits in use{most} at step {row['step']:,}",
                "it has collapsed: the decoder ignores it or the encoder cannot read it, and samples hardly vary by it",
                (means if setting.noisy_image else "") + more,
            )


# The label's meaning -------------------------------------------------------------------------------------------------


def drifting_label(rows: Sequence[Row], setting: Setting) -> Iterator[Alarm]:
    """A validation error that has stayed clearly above its best."""
    seen = [row for row in rows if row.get("validation_error") is not None]
    if len(seen) <= PERSISTS or not setting.labelled_judged:
        return
    best = min(seen[:-PERSISTS], key=lambda row: float(row["validation_error"]))
    lately = [row["validation_error"] for row in seen[-PERSISTS:]]
    if all(clearly_above(error, best["validation_error"], setting.judged) for error in lately):
        yield Alarm(
            "drifting label",
            str(setting.label),
            f"validation error of {setting.label} is {lately[-1]:.1%} at step {seen[-1]['step']:,}, clearly above its "
            f"best, {best['validation_error']:.1%} at step {best['step']:,} ({setting.judged:,} images)",
            f"the meaning of {setting.label} drifts: the players agree on something other than what the labels say",
            f"{anchor(setting)}; the checkpoint `selected` holds the best so far",
        )


def worse_than_twin(rows: Sequence[Row], twin_rows: Sequence[Row], setting: Setting) -> Iterator[Alarm]:
    """A finished model whose validation error is clearly above its finished twin's."""
    if not rows or not twin_rows or not rows[-1]["step"] == twin_rows[-1]["step"] == setting.steps:
        return
    error, twin = rows[-1].get("validation_error"), twin_rows[-1].get("validation_error")
    if error is not None and twin is not None and clearly_above(error, twin, setting.judged):
        yield Alarm(
            "worse than the twin",
            str(setting.label),
            f"validation error of {setting.label} is {error:.1%}, its supervised twin's {twin:.1%} "
            f"({setting.judged:,} images)",
            f"the unlabelled data did harm: the meaning of {setting.label} drifted away from the labels",
            anchor(setting),
        )


def unread_samples(rows: Sequence[Row], setting: Setting) -> Iterator[Alarm]:
    """The encoder reads too few of the decoder's samples as the class that they were drawn for.

    A mere fall is no alarm: a decoder that still paints class means is read best.
    """
    row = rows[-1]
    read = row.get("read_as_intended")
    if read is None or not setting.samples or not setting.settled(row["step"]):
        return
    if interval(read, setting.samples)[1] < halfway(setting.chance):
        yield Alarm(
            "unread samples",
            str(setting.label),
            f"q({setting.label} | {setting.image}) reads {read:.0%} of {setting.samples:,} of the decoder's samples as "
            f"the class that they were drawn for at step {row['step']:,} (guessing: {setting.chance:.0%})",
            f"encoder and decoder do not mean the same by {setting.label}, or the samples look like no class",
            "give the codes fewer numbers (shape, under variables), so that real images fill them, the net of "
            f"decoder.{setting.image} more size, or the training more steps",
        )


def other_meaning(
    read: float, by_other: float, other_error: float | None, samples: int, reader: str, label: str
) -> Iterator[Alarm]:
    """The players read each other well, and an independent classifier reads something else.

    Args:
        read: share of samples that the run's own encoder reads as intended.
        by_other: share that the independent reader does.
        other_error: the reader's validation error, None where unknown.
        samples: how many were read.
        reader: what to call it.
        label: the label's name.
    """
    low, high = interval(read, samples)[0], interval(by_other, samples)[1]
    if low > high and 1.0 - high - (other_error or 0.0) > OTHER_MEANING:
        yield Alarm(
            "another meaning",
            label,
            f"the run's encoder reads {read:.0%} of {samples:,} samples as the class that they were drawn for, "
            f"{reader} {by_other:.0%}",
            f"the players agree on a {label} of their own, or on signs in the samples that real images do not have",
            "look at the samples (semivae sample); if they show other classes, anchor the label by views and more "
            "labels; if they show none, give the codes fewer numbers or the decoder a larger net",
        )


def anchor(setting: Setting) -> str:
    """What keeps a label's meaning, in a recipe with this setting."""
    advice = []
    if setting.label_teachers:
        keys = ", ".join(f"streams.{name}.loss_weights: {{{setting.label}: 0}}" for name in setting.label_teachers)
        advice.append(f"let the decoder's samples not teach {setting.label} ({keys})")
    if setting.gates:
        advice.append(f"raise {', '.join(gate.key for gate in setting.gates)} where confident answers are wrong")
    else:
        advice.append("anchor it by a pair of views of unlabelled images (views: {weak: ..., strong: ...} of a stream)")
    return "; ".join([*advice, "or show more labels (split.labelled)"])


# Confidence ----------------------------------------------------------------------------------------------------------


def idle_views(rows: Sequence[Row], setting: Setting) -> Iterator[Alarm]:
    """Unlabelled streams of which next to no image is labelled."""
    for gate in setting.gates:
        share = mask_rates_of(rows[-1].get("losses") or {}).get(gate.stream)
        if share is not None and setting.settled(rows[-1]["step"]) and share < NOTHING:
            yield Alarm(
                "idle views",
                gate.stream,
                f"{share:.1%} of stream {gate.stream}'s images are labelled with confidence {gate.threshold:g} or more "
                f"at step {rows[-1]['step']:,}",
                f"they teach {setting.label} next to nothing",
                f"lower {gate.key}, or show more labels (split.labelled)",
            )


def overconfident_views(rows: Sequence[Row], setting: Setting) -> Iterator[Alarm]:
    """Unlabelled streams of which next to all images are labelled, clearly too many of them wrongly."""
    row = rows[-1]
    sure, wrong = row.get("confident"), row.get("confident_error")
    if not setting.labelled_judged or not sure or wrong is None:
        return
    counted = max(1, round(sure * setting.judged))
    for gate in setting.gates:
        share = mask_rates_of(row.get("losses") or {}).get(gate.stream)
        if not gate.soft and share is not None and share >= EVERYTHING and interval(wrong, counted)[0] > WRONG_LABELS:
            yield Alarm(
                "overconfident views",
                gate.stream,
                f"{share:.1%} of stream {gate.stream}'s images are labelled with confidence {gate.threshold:g} or more "
                f"at step {row['step']:,}; of {counted:,} such validation images {wrong:.1%} get a wrong label",
                f"{setting.label} learns its own mistakes",
                f"raise {gate.key}, or show more labels (split.labelled)",
            )


# Classes -------------------------------------------------------------------------------------------------------------


def classes_that_take_over(rows: Sequence[Row], setting: Setting) -> Iterator[Alarm]:
    """A class whose mean posterior is clearly more than its own share and a tenth of what belongs to the others."""
    row = rows[-1]
    shares = row.get("class_shares") or ()
    if not setting.settled(row["step"]) or not setting.judged:
        return
    found = [
        (share - expected, name, share, expected)
        for name, share, expected in zip(setting.classes, shares, setting.expected, strict=False)
        if interval(share, setting.judged)[0] > expected + TAKEN * (1.0 - expected)
    ]
    for _, name, share, expected in sorted(found)[-1:]:
        yield Alarm(
            "one class takes over",
            str(setting.label),
            f"class {name} gets {share:.1%} of {setting.label}'s posterior on {setting.judged:,} images at step "
            f"{row['step']:,}; {expected:.1%} would be right",
            "it takes over what belongs to other classes",
            "show more labels, balanced ones (split.labelled, split.balance), or, where the decoder's prior of the "
            "label is right, align a pair of views to it (align: true)",
        )


def missing_classes(rows: Sequence[Row], setting: Setting) -> Iterator[Alarm]:
    """Classes that are no image's most likely one, although chance would hardly hide them."""
    row = rows[-1]
    shares = row.get("predicted_shares") or ()
    if not setting.settled(row["step"]) or not setting.judged:
        return
    missing = [
        f"{name} ({expected:.1%} should be)"
        for name, share, expected in zip(setting.classes, shares, setting.expected, strict=False)
        if share == 0.0 and (1.0 - expected) ** setting.judged < BY_CHANCE
    ]
    if missing:
        more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
        yield Alarm(
            "missing classes",
            str(setting.label),
            f"none of {setting.judged:,} images is taken for class {', '.join(missing[:MOST_NAMED])}{more} at step "
            f"{row['step']:,}",
            f"the classifier has lost {len(missing)} of {len(setting.classes)} classes",
            "show more labels of such classes (split.labelled; split.balance: balanced), or align a pair of views to "
            "the decoder's prior (align: true)",
        )


# Numbers -------------------------------------------------------------------------------------------------------------


def interval(share: float, count: int) -> tuple[float, float]:
    """Exact 95% interval of a share found in `count` examples.

    A mean of values between 0 and 1 (a posterior, a map's share of places) varies less than counts do: for those the
    interval is wider than need be, and the alarms are slower.
    """
    return error_interval(min(count, max(0, round(share * count))), count)


def clearly_above(share: float, other: float, count: int) -> bool:
    """Whether the 95% intervals of two shares of `count` examples lie apart, `share` above."""
    return count > 0 and interval(share, count)[0] > interval(other, count)[1]


def halfway(chance: float) -> float:
    """Half of the way from guessing to reading everything."""
    return (1.0 + chance) / 2.0
