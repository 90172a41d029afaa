"""The context of a run's metrics: what the rules of `semivae.monitoring.failures` need from recipe, plan and data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from semivae.game.plan import Plan
from semivae.game.players import Player
from semivae.monitoring.measures import SAMPLES, capacity, prior_frequencies
from semivae.recipe import Recipe
from semivae.recipe.schema import LossWeight, PairOfViews, StreamSpec
from semivae.scenario.plan import Roles
from semivae.tasks.task import AGREEMENT, Headline, takes
from semivae.text import IMAGES, Nouns, count_of

GRACE_PERIOD = 0.3  # the fraction of the training, after its last loss has begun, in which nothing needs to work yet


@dataclass(frozen=True)
class ConfidenceThreshold:
    """The confidence from which on a stream's pseudo-labels are learnt.

    Args:
        stream: the stream of unlabelled images.
        threshold: the confidence.
        key: its key in the recipe.
        soft: whether the whole posterior is the target, so that an uncertain label does no harm.
    """

    stream: str
    threshold: float
    key: str
    soft: bool = False


@dataclass(frozen=True)
class Context:
    """What the rules need to know of a run besides its rows.

    Args:
        steps: the length of the whole training.
        last_start: the fraction of the training at which its last loss begins.
        image, label: their names; label None in an unsupervised run.
        examples: what messages call one example, and several.
        headline: the figure that its kind is judged by.
        nouns: what its kind calls a class, and several.
        agreement: how its kind words that the encoder agrees with a {share} of {n} samples.
        counted: what fractions of the label count, as its task words it ("{images}" or "the pixels of {images}").
        capacity: by code, the largest number of bits that it can carry; inf for real numbers.
        draws_image: whether the decoder hands drawn pixels to the encoder where it could hand means.
        thresholds: of the pairs of views and of the votes.
        sample_streams: streams whose samples by the decoder teach the encoder's label.
        unaligned: keys of the recipe that would switch on distribution alignment, where it is possible.
        unbalanced: whether the labelled examples could be balanced, and are not.
        n_images: the number of images that the label was measured on.
        n_values: the number of labels among them: one per image, or one per known pixel.
        has_labels: whether they are labelled (the validation part).
        expected: the class frequencies among them, or the prior's; empty if unknown.
        classes: class names.
        chance: the class consistency of always answering the most frequent class.
        n_samples: the number of the decoder's samples that were classified.
    """

    steps: int
    last_start: float = 0.0
    image: str = "x"
    examples: Nouns = IMAGES
    label: str | None = None
    headline: Headline = field(default_factory=Headline)
    nouns: tuple[str, str] = ("class", "classes")
    agreement: str = AGREEMENT
    counted: str = "{images}"
    capacity: Mapping[str, float] = field(default_factory=dict)
    draws_image: bool = False
    thresholds: tuple[ConfidenceThreshold, ...] = ()
    sample_streams: tuple[str, ...] = ()
    unaligned: tuple[str, ...] = ()
    unbalanced: bool = False
    n_images: int = 0
    n_values: int = 0
    has_labels: bool = False
    expected: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()
    chance: float = 0.0
    n_samples: int = 0

    def past_grace_period(self, step: int) -> bool:
        """Returns whether the training should work by this step."""
        return step >= self.steps * (self.last_start + GRACE_PERIOD * (1.0 - self.last_start))

    @property
    def values_text(self) -> str:
        """Returns what the label was measured on, for messages: the images, or their pixels."""
        return self.counted.format(
            images=count_of(self.n_images, *self.examples, before="validation" if self.has_labels else "unlabelled")
        )


def context_of(
    recipe: Recipe,
    roles: Roles,
    plan: Plan,
    decoder: Player,
    part: Mapping[str, Tensor],
    classes: Sequence[str],
) -> Context:
    """Returns the context of a run.

    Args:
        recipe: the resolved recipe.
        roles: of its variables.
        plan: of the model.
        decoder: the decoder, whose prior gives the expected class frequencies if `part` has no labels.
        part: the images that the label is measured on, with their labels if known.
        classes: names of the label's classes.
    """
    starts = [
        weight.start
        for stream in recipe.streams.values()
        for weight in stream.loss_weights.values()
        if isinstance(weight, LossWeight)
    ]
    task, prior, labels = roles.task, prior_frequencies(decoder, roles), roles.label_in(part)
    n_images = len(part[roles.image]) if roles.image in part else 0
    has_labels = labels is not None and len(labels) > 0
    expected, n_values = prior, n_images
    if labels is not None and has_labels:
        expected = task.label_frequencies(labels, len(classes))
        n_values = task.count_values(labels)
    image = recipe.variables[roles.image]
    return Context(
        steps=recipe.training.steps,
        last_start=max(starts, default=0.0),
        image=roles.image,
        examples=roles.nouns,
        label=roles.label,
        headline=task.headline,
        nouns=task.nouns,
        agreement=task.agreement,
        counted=task.counted,
        capacity={name: capacity(decoder[name]) for name in roles.codes if name in decoder},
        draws_image=image.complete_with == "sample" and not image.has_classes,
        thresholds=confidence_thresholds(recipe),
        sample_streams=tuple(
            lesson.stream
            for lesson in plan.of("encoder")
            if lesson.draws and not lesson.self_training and roles.label in lesson.scores
        ),
        unaligned=tuple(_unaligned(recipe)) if prior and takes(task, "align") else (),
        unbalanced=takes(task, "ratio") and recipe.split.balance != "balanced",
        n_images=n_images,
        n_values=n_values,
        has_labels=has_labels,
        expected=expected,
        classes=tuple(classes),
        chance=task.chance(prior or expected),
        n_samples=SAMPLES,
    )


def _unaligned(recipe: Recipe) -> Iterator[str]:
    """Yields the keys that would switch on distribution alignment."""
    for name, stream in recipe.streams.items():
        if isinstance(stream.views, PairOfViews) and not stream.views.align:
            yield f"streams.{name}.views.align"


def confidence_thresholds(recipe: Recipe) -> tuple[ConfidenceThreshold, ...]:
    """Returns the confidence thresholds of all unlabelled streams."""
    return tuple(each for name, stream in recipe.streams.items() for each in _thresholds(name, stream))


def _thresholds(name: str, stream: StreamSpec) -> Iterator[ConfidenceThreshold]:
    """Yields the threshold of a stream's pair of views, or else of its vote."""
    if isinstance(stream.views, PairOfViews):
        soft = stream.views.temperature is not None
        yield ConfidenceThreshold(name, stream.views.threshold, f"streams.{name}.views.threshold", soft)
    elif stream.vote is not None:
        yield ConfidenceThreshold(name, stream.vote.threshold, f"streams.{name}.vote.threshold")


def smallest_threshold(recipe: Recipe) -> float | None:
    """Returns the smallest confidence threshold of a recipe; None if it has none."""
    return min((each.threshold for each in confidence_thresholds(recipe)), default=None)
