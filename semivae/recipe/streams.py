"""Streams of batches: what they show, how it is augmented, and how much each factor learns from it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from semivae.recipe.factors import ProbabilitiesSpec
from semivae.recipe.registered import TeacherName
from semivae.recipe.section import (
    Count,
    FilePath,
    Fraction,
    Name,
    NonNegative,
    NoTruth,
    Number,
    Positive,
    PositiveFloat,
    Section,
)


class TurnSpec(Section):
    """A rotation of images that turns their label with them: an angle, in degrees (docs/method.md, section 5).

    The label of a turned image is its own plus the turn. With `low` and `high`, only turns are drawn that leave it
    between them; of an unlabelled image the teacher's estimate must lie there. Without, labels go beyond what the data
    have; they do not wrap around.
    """

    example: ClassVar[str] = "{degrees: 40, label: y, low: -60, high: 60}"

    degrees: Annotated[float, Field(gt=0.0, le=180.0), NoTruth] = Field(
        description="The largest turn, in either sense."
    )
    label: Name = Field("y", description="The label that turns: a single number whose unit is `degrees`.")
    clockwise: bool = Field(
        False,
        description="The label grows when an image is turned clockwise, as on a compass; by default anticlockwise.",
    )
    low: Number | None = Field(None, description="The smallest label that a turned image may have.")
    high: Number | None = Field(None, description="The largest one.")

    @model_validator(mode="after")
    def _low_is_below_high(self) -> TurnSpec:
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low is {self.low:g} and high {self.high:g}; low must be below high")
        return self


class ViewSpec(Section):
    """An augmentation: a random transform of images that keeps their label, drawn anew for every image. Only `turn`
    changes a label, an angle, as it changes the image.

    Each key is the largest change. Where a transform reaches beyond the border, grey images continue in black and
    colour images by reflection. Segmentation maps move with their images; rows of a table take only `noise`.
    """

    example: ClassVar[str] = "{shift: 0.1, rotate: 15, scale: 0.15, flip: true, cutout: 0.3}"

    shift: Annotated[float, Field(ge=0.0, le=0.5), NoTruth] = Field(
        0.0, description="Translation in each direction, as a fraction of the image's side."
    )
    rotate: Annotated[float, Field(ge=0.0, le=180.0), NoTruth] = Field(0.0, description="Rotation, in degrees.")
    turn: TurnSpec | None = Field(
        None, description="Rotation that turns the label, an angle, with the image; instead of `rotate` and `flip`."
    )
    scale: Annotated[float, Field(ge=0.0, le=0.9), NoTruth] = Field(
        0.0, description="Relative change of size: 0.2 zooms by factors from 0.8 to 1.2."
    )
    shear: Annotated[float, Field(ge=0.0, le=60.0), NoTruth] = Field(0.0, description="Shear angle, in degrees.")
    crop: Annotated[float, Field(gt=0.0, le=1.0), NoTruth] | None = Field(
        None,
        description="Random resized crop: the smallest fraction of the image's area that is kept, of a ratio of sides "
        "from 3:4 to 4:3, and scaled to the whole size.",
    )
    elastic: Annotated[float, Field(ge=0.0, le=0.2), NoTruth] = Field(
        0.0, description="Smooth elastic deformation, as a fraction of the image's side."
    )
    flip: bool = Field(False, description="Mirror left and right with probability 1/2; not for digits or text.")
    brightness: Annotated[float, Field(ge=0.0, le=1.0), NoTruth] = Field(
        0.0, description="Relative change of brightness."
    )
    contrast: Annotated[float, Field(ge=0.0, le=1.0), NoTruth] = Field(0.0, description="Relative change of contrast.")
    saturation: Annotated[float, Field(ge=0.0, le=1.0), NoTruth] = Field(
        0.0, description="Relative change of colour saturation; grey images do not change."
    )
    gamma: Annotated[float, Field(ge=0.0, le=2.0), NoTruth] = Field(
        0.0, description="Gamma correction: the logarithm of the exponent to which pixel values are raised."
    )
    shade: Annotated[float, Field(ge=0.0, le=2.0), NoTruth] = Field(
        0.0, description="Smoothly varying illumination: the standard deviation of its logarithm."
    )
    noise: Annotated[float, Field(ge=0.0, le=1.0), NoTruth] = Field(
        0.0, description="Gaussian noise: its standard deviation, where pixel values lie in [0, 1]."
    )
    cutout: Annotated[float, Field(ge=0.0, le=1.0), NoTruth] = Field(
        0.0, description="The side of one blanked square, as a fraction of the image's side."
    )
    speckle: Annotated[float, Field(ge=0.0, le=1.0), NoTruth] = Field(
        0.0, description="The fraction of the pixels that are inverted."
    )

    @model_validator(mode="after")
    def _only_one_turns(self) -> ViewSpec:
        if self.turn is not None and (self.rotate or self.flip):
            other = "rotate" if self.rotate else "flip"
            raise ValueError(
                f"{other} changes an angle and leaves its label as it is, but turn says that the label is an angle; "
                f"remove {other}"
            )
        return self


class LossWeight(Section):
    """The weight of one loss term, and when in training it begins."""

    example: ClassVar[str] = "{weight: 1, start: 0.3, full: 0.8}"

    weight: NonNegative = Field(1.0, description="The weight; 0 switches the term off.")
    start: Fraction = Field(0.0, description="The fraction of the training after which the term begins.")
    full: Fraction | None = Field(
        None,
        description="The fraction of the training at which the full weight is reached, growing linearly from `start`. "
        "By default the full weight applies at once.",
    )

    @model_validator(mode="after")
    def _full_comes_after_start(self) -> LossWeight:
        if self.full is not None and self.full < self.start:
            raise ValueError(
                f"full is {self.full:g}, before start, {self.start:g}; the weight grows from start to full"
            )
        return self


class PlayerLossWeights(Section):
    """Separate weights for the two players, where both have a factor of that variable: q(y given x) and p(y)."""

    example: ClassVar[str] = "{encoder: 0}"

    encoder: NonNegative | LossWeight = Field(1.0, description="The weight of the encoder's loss term.")
    decoder: NonNegative | LossWeight = Field(1.0, description="The weight of the decoder's loss term.")


class PairOfViews(Section):
    """Self-training on unlabelled images: the moving average of the encoder labels a weakly augmented image, and the
    encoder learns that label on a strongly augmented one (docs/method.md, section 5).
    """

    example: ClassVar[str] = "{weak: weak, strong: strong, threshold: 0.95, ramp: 0.3, align: true}"

    weak: Name = Field("weak", description="The augmentation of the image that the teacher labels (from `views`).")
    strong: Name = Field("strong", description="The augmentation of the image that the encoder learns on.")
    threshold: Fraction = Field(0.95, description="Only labels with at least this confidence are learned.")
    weight: NonNegative | LossWeight = Field(1.0, description="The weight of this loss term.")
    temperature: PositiveFloat | None = Field(
        None,
        description="Learn the teacher's whole posterior, its logits divided by this temperature (below 1 sharpens "
        "it), instead of the most likely class; for maps, a class drawn from it at every pixel.",
    )
    cutmix: Fraction = Field(
        0.0,
        description="CutMix: the fraction of strong views that receive a box of another image, and the matching part "
        "of its label.",
    )
    ramp: Fraction = Field(
        0.0,
        description="Curriculum: the fraction of the training over which more and more labels of each class are "
        "learned, the most certain ones first.",
    )
    information: NonNegative | LossWeight = Field(
        0.0, description="The weight of the label's mutual information between two strong views (IIC)."
    )
    align: bool = Field(
        False, description="Distribution alignment: on average, the teacher's classes follow the decoder's prior."
    )
    teacher: TeacherName | None = Field(
        None,
        description="A teacher of your own (`semivae.extending`), in place of the one that fits the kind of label.",
    )


class VoteSpec(Section):
    """The decoder's vote on the label of unlabelled images: the teacher is log q(y given x) + strength * vote(y).

    The vote is an importance-sampled log p(x given y). Beside a pair of views it joins that teacher. Without one it is
    a loss term of its own: the encoder learns the labels of which the combined posterior is confident, on the image
    itself or on the stream's single augmentation of it (docs/method.md, section 6).
    """

    example: ClassVar[str] = "{strength: 0.05, start: 0.15}"

    strength: PositiveFloat = Field(0.05, description="The factor of the vote, which is in nats, relative to log q.")
    draws: Positive = Field(1, description="The number of codes drawn per image and class; more tighten the bound.")
    start: Fraction = Field(0.5, description="The fraction of the training after which the decoder votes.")
    classes: Positive = Field(
        16, description="The number of likely classes of an image that are voted on; the others get their lowest vote."
    )
    threshold: Fraction = Field(
        0.95, description="Without a pair of views: only labels with at least this confidence are learned."
    )
    weight: NonNegative = Field(1.0, description="Without a pair of views: the weight of this loss term.")


class CountsSpec(Section):
    """Class counts, used as weights of random draws."""

    example: ClassVar[str] = "{counts: [500, 300, 200]}"

    counts: tuple[Count, ...] = Field(min_length=2, description="One count per class; only their ratios matter.")


class FrequenciesSpec(Section):
    """The frequency of each attribute, by which a stream without images draws them, each by itself."""

    example: ClassVar[str] = "{frequencies: {smiling: 0.4, hat: 0.05}}"

    frequencies: dict[str, Fraction] = Field(
        min_length=1, description="By attribute, the fraction of the examples that have it."
    )


class NormalSpec(Section):
    """Numbers drawn from a normal distribution, in their unit."""

    example: ClassVar[str] = "{mean: 40, deviation: 15}"

    mean: Number = Field(description="The mean; of a vector, of each of its numbers.")
    deviation: PositiveFloat = Field(description="The standard deviation.")


class RangeSpec(Section):
    """Numbers drawn with equal density between two bounds, in their unit."""

    example: ClassVar[str] = "{low: -60, high: 60}"

    low: Number = Field(description="The smallest number; of a vector, of each of its numbers.")
    high: Number = Field(description="The largest number.")

    @model_validator(mode="after")
    def _low_is_below_high(self) -> RangeSpec:
        if self.low >= self.high:
            raise ValueError(f"low is {self.low:g} and high {self.high:g}; low must be below high")
        return self


class FileSpec(Section):
    """Values from a file."""

    example: ClassVar[str] = "{file: labels.txt}"

    file: FilePath = Field(
        description="A .csv or .txt file with one class name or number per line, an .npy file, or an .npz file with an "
        "array for each variable; a relative path starts at the data root."
    )


class StreamSpec(Section):
    """An endless sequence of batches that show one fixed set of variables. The plan of who learns what from which
    stream is derived from the graphs; `semivae show RECIPE` prints it.
    """

    example: ClassVar[str] = "{observe: [x, y], batch: 64, views: weak, mixup: 0.75, loss_weights: {x: 0}}"

    observe: tuple[Name, ...] = Field(
        description="The variables that the stream shows: [x, y] for labelled pairs, [x] for unlabelled images, [y] "
        "for labels without images, [] for samples of the prior."
    )
    batch: Positive = Field(64, description="The number of examples per step.")
    views: Name | PairOfViews | None = Field(
        None, description="The name of one augmentation for all images of the stream, or a pair for self-training."
    )
    vote: VoteSpec | None = Field(None, description="Unlabelled images only: the decoder votes on the label.")
    values: (
        Literal["labelled", "hidden", "uniform"]
        | CountsSpec
        | ProbabilitiesSpec
        | FrequenciesSpec
        | NormalSpec
        | RangeSpec
        | FileSpec
        | None
    ) = Field(
        None,
        description="Where a stream without images takes its values. `labelled` (the default for labels): as frequent "
        "as among the labelled examples; `hidden`: as among the examples whose labels the split hides; `uniform`: all "
        "classes equally often; class counts or class probabilities, frequencies of attributes; of numbers a mean and "
        "deviation, or a low and high; or a file.",
    )
    loss_weights: dict[Name, NonNegative | LossWeight | PlayerLossWeights] = Field(
        {},
        description="By variable, the weight of the loss terms that this stream gives to its factors. By default every "
        "term of the plan has weight 1; 0 switches it off.",
    )
    adjust: bool = Field(
        False,
        description="Labelled pairs only: logit adjustment, which learns the label as if the classes of the pairs were "
        "as frequent as the decoder's prior says.",
    )
    mixup: Annotated[float, Field(ge=0.01), NoTruth] | None = Field(  # below, draws of a Beta underflow
        None,
        description="Labelled pairs only: the encoder learns the label on mixtures of two images, with proportions "
        "from Beta(mixup, mixup).",
    )

    def named_views(self) -> tuple[str, ...]:
        """The names of the augmentations that the stream asks for."""
        if isinstance(self.views, PairOfViews):
            return tuple(dict.fromkeys((self.views.weak, self.views.strong)))
        return () if self.views is None else (self.views,)
