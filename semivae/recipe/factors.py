"""Variables, and the factors of the two players: what a recipe's graphs are made of."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from semivae.family_facts import has_classes
from semivae.recipe.networks import Net
from semivae.recipe.registered import FamilyName
from semivae.recipe.section import (
    LARGEST,
    MOST_LAYERS,
    ClassName,
    Fraction,
    Name,
    NonNegative,
    NoTruth,
    Number,
    Positive,
    PositiveFloat,
    ProperShare,
    Section,
)

Numbers = Number | Annotated[tuple[Number, ...], Field(min_length=1)]
Deviations = PositiveFloat | Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]


class StrangersSpec(Section):
    """Open classes: unlabelled examples that belong to none of the label's classes. The label gets one value more,
    `strangers`, which no example shows: the alignment of unlabelled views gives it its share (docs/method.md, 5).
    """

    example: ClassVar[str] = "{share: 0.3, classes: [other]}"

    share: ProperShare | Literal["estimate"] = Field(
        "estimate",
        description="The fraction of strangers among the unlabelled examples; `estimate` takes it from how far these "
        "differ from the labelled ones.",
    )
    classes: tuple[ClassName, ...] = Field(
        (),
        description="Classes of the data that are strangers: their training examples show no label, and those of the "
        "test part measure how well strangers are found.",
    )


class VariableSpec(Section):
    """One random variable of the model.

    The data call images and rows `x`, classes and numbers `y` and segmentation maps `s`; every other variable is a
    latent code. A `gaussian` variable that a stream shows beside x is a number as label, which users see in its unit.
    An `ordinal` one is a grade, by a cumulative link.
    """

    example: ClassVar[str] = "{family: bernoulli, shape: [1, 28, 28], complete_with: mean}"

    family: FamilyName = Field(
        description="The family of distributions: bits (or grey values in [0, 1], scored as the mean over random "
        "binarisation), classes, ordered classes (grades), real numbers, 8-bit pixels, or one of your own "
        "(`semivae.extending`)."
    )
    shape: tuple[Positive, ...] | None = Field(
        None,
        description="The shape of one value: [channels, height, width] of an image, [length] of a code, "
        "[height, width] of a map; [] for a single class or number. May be left out where the data determine it.",
    )
    classes: Annotated[int, Field(ge=2, le=LARGEST), NoTruth] | None = Field(
        None,
        description="The number of classes of a categorical variable. May be left out where the data determine it.",
    )
    strangers: StrangersSpec | None = Field(
        None,
        description="Of a single class: that some unlabelled examples belong to none of its classes. `classes` counts "
        "them as one class more.",
    )
    order: tuple[ClassName, ...] = Field(
        (),
        description="Of an ordinal variable: the names of the grades from the lowest to the highest. May be left out "
        "where all are numbers.",
    )
    complete_with: Literal["sample", "mean", "mode"] = Field(
        "sample",
        description="What a player hands to the other one for an unobserved value: a random draw (the method's own "
        "rule), or with less noise the mean (not for categorical variables) or the most likely class (only for them).",
    )

    mean: Numbers | None = Field(
        None,
        description="Of a number as label: where its standardised scale starts, in its unit; one for each number of a "
        "vector, or one for all. By default the mean of the labelled examples.",
    )
    deviation: Deviations | None = Field(
        None,
        description="Of a number as label: the step of its standardised scale, in its unit. By default the standard "
        "deviation of the labelled examples.",
    )
    unit: str = Field("", description="Of a number as label: its unit, for tables and charts. By default the data's.")

    @model_validator(mode="after")
    def _classes_belong_to_categorical(self) -> VariableSpec:
        if self.classes is not None and not self.has_classes:
            raise ValueError(f"classes belong to a categorical variable, not to a {self.family} one; remove classes")
        if self.complete_with == "mean" and self.has_classes:
            raise ValueError(f"a {self.family} variable has no mean; use complete_with: sample, or mode")
        if self.complete_with == "mode" and not self.has_classes:
            raise ValueError(f"mode is for categorical variables; a {self.family} one completes with sample or mean")
        if self.shape == () and not self.has_classes and self.family != "gaussian":
            raise ValueError(
                f"shape [] is for a single class or gaussian number; a single {self.family} number has shape [1]"
            )
        return self

    @property
    def has_classes(self) -> bool:
        """Whether its values are classes."""
        return has_classes(self.family)

    @model_validator(mode="after")
    def _order_belongs_to_grades(self) -> VariableSpec:
        if self.family != "ordinal":
            if self.order:
                raise ValueError(f"order belongs to an ordinal variable, not to a {self.family} one; remove order")
            return self
        if self.shape:
            raise ValueError("an ordinal variable is a single grade of each example; remove shape")
        if self.order and (len(set(self.order)) < len(self.order) or len(self.order) < 2):
            raise ValueError("order names each grade once, two at least, from the lowest to the highest")
        return self

    @model_validator(mode="after")
    def _strangers_belong_to_classes(self) -> VariableSpec:
        if self.strangers is not None and (self.family != "categorical" or self.shape):
            raise ValueError("strangers belong to a single class, a categorical variable without a shape; remove them")
        return self

    @model_validator(mode="after")
    def _units_belong_to_numbers(self) -> VariableSpec:
        for key in ("mean", "deviation", "unit"):
            given = getattr(self, key)
            if given in (None, ""):
                continue
            if self.family != "gaussian" or (self.shape is not None and len(self.shape) > 1):
                raise ValueError(f"{key} belongs to a gaussian number, or a short vector of them; remove {key}")
            if isinstance(given, tuple) and self.shape is not None and len(given) != math.prod(self.shape):
                raise ValueError(f"{key} has {len(given)} entries for shape {list(self.shape)}; give one for each")
        if (self.mean is None) != (self.deviation is None):
            raise ValueError("mean and deviation describe one scale; give both, or leave both to the data")
        return self


class FlowSpec(Section):
    """A flow: the value is reached from noise in a few steps, and scored by a bound (docs/method.md, section 12)."""

    example: ClassVar[str] = "{steps: 8, guidance: 2, guides: [y]}"

    steps: Annotated[int, Field(ge=1, le=MOST_LAYERS), NoTruth] = Field(
        8, description="The steps of a draw. Each evaluates the network once, with guidance twice."
    )
    guidance: NonNegative = Field(
        1.0,
        description="How strongly draws are led by `guides`: 1 as learnt; more makes clearer and less varied values "
        "(Ho and Salimans 2022).",
    )
    guides: tuple[Name, ...] = Field(
        (), description="The given variables that lead draws, usually the label. Learning leaves them out now and then."
    )
    drop: Fraction = Field(0.1, description="The fraction of samples that learn without the guides.")
    levels: Annotated[int, Field(ge=1, le=MOST_LAYERS), NoTruth] = Field(
        32,
        description="The levels of noise at which a log-probability is estimated, each with one evaluation. Learning "
        "takes one level per sample.",
    )

    @model_validator(mode="after")
    def _guidance_has_guides(self) -> FlowSpec:
        if self.guidance != 1.0 and not self.guides:
            raise ValueError("guidance needs variables that lead; add guides: [y], or remove guidance")
        return self


class ConditionalSpec(Section):
    """A factor that is learned: the distribution of one variable given others, by a network."""

    example: ClassVar[str] = "{given: [x, y], net: {name: mlp, hidden: [512, 512]}}"

    given: tuple[Name, ...] = Field(
        description="The variables it depends on; each must be observed or drawn earlier by this player. Only a flow "
        "may depend on none."
    )
    flow: FlowSpec | None = Field(
        None,
        description="Decoder only: the factor is a flow, which the network leads; {} takes every default. For any "
        "variable but a single class.",
    )
    net: Net = Field(description="The network that computes the parameters of the distribution.")
    scale: Literal["given", "shared", "covariance"] = Field(
        "given",
        description="Of real numbers and pixels: whether the network says how widely each spreads, or that is learnt "
        "once for all that may be given (`shared`). `covariance` learns once how real numbers vary together too, as in "
        "a linear discriminant; decoder only.",
    )
    ladder: bool = Field(
        False,
        description="Encoder only: this factor is a level of a ladder, whose natural parameters are the decoder's plus "
        "those of `net`, which reads the shared network `bottom_up`.",
    )

    @model_validator(mode="after")
    def _something_is_given(self) -> ConditionalSpec:
        if not self.given and self.flow is None:
            raise ValueError("given needs at least 1 entry, has 0")
        return self


class ProbabilitiesSpec(Section):
    """Fixed class probabilities."""

    example: ClassVar[str] = "{probabilities: [0.7, 0.2, 0.1]}"

    probabilities: tuple[NonNegative, ...] = Field(
        min_length=2, description="One probability per class; they sum to 1."
    )


class ConfusionSpec(Section):
    """How what was written down differs from the label: p(written given label), learnt from near the identity."""

    example: ClassVar[str] = "{start: 0.8, per: class}"

    start: ProperShare = Field(
        0.8, description="The probability of the right class before training; the others share the rest."
    )
    per: Literal["class", "annotator"] = Field(
        "class",
        description="What is learnt: a row of probabilities for each class of the label, or one accuracy for the "
        "`annotator` who wrote, with all wrong classes alike; better where an annotator wrote little.",
    )


class TableSpec(Section):
    """A factor of the decoder without a network: a variable that depends on one class alone. Where a stream shows it
    and not the class, it is evidence of the class (docs/method.md, section 2).

    Exactly one of `table`, `groups`, `confusion` and `candidates` says what the factor is.
    """

    example: ClassVar[str] = "{given: [y], groups: {cats: [lion, lynx], dogs: [wolf]}}"

    given: tuple[Name] = Field(description="The one class that it depends on.")
    table: tuple[tuple[NonNegative, ...], ...] | None = Field(
        None,
        min_length=2,
        description="Probabilities, a row for each class of the label, a column for each class of this variable.",
    )
    groups: dict[ClassName, tuple[ClassName, ...]] | None = Field(
        None,
        description="For coarse classes: by coarse class, the classes of the label in it. A class in several groups "
        "may be called either.",
    )
    confusion: ConfusionSpec | None = Field(None, description="For labels that may be wrong, and annotators.")
    candidates: Literal[True] | None = Field(
        None, description="For sets of candidates, of which one is right and the others say nothing."
    )
    learn: bool = Field(False, description="Learn the probabilities, starting near `table` or `groups`.")

    @model_validator(mode="after")
    def _one_form(self) -> TableSpec:
        forms = [name for name in ("table", "groups", "confusion", "candidates") if getattr(self, name) is not None]
        if len(forms) != 1:
            said = " and ".join(forms) or "none"
            raise ValueError(f"needs exactly one of table, groups, confusion and candidates, has {said}")
        if self.learn and forms[0] not in ("table", "groups"):
            raise ValueError(
                f"learn: {forms[0]} {'always learns' if self.confusion else 'has nothing to learn'}; remove learn"
            )
        if self.table and (len({len(row) for row in self.table}) != 1 or not all(map(sum, self.table))):
            raise ValueError("table: all rows need the same length, and a probability above 0")
        return self

    @property
    def form(self) -> str:
        """What it is, in words: "a confusion that is learnt"."""
        if self.confusion is not None:
            return "a confusion that is learnt" if self.confusion.per == "class" else "an accuracy that is learnt"
        if self.candidates:
            return "sets of candidates"
        return f"a table of {'groups' if self.groups else 'probabilities'}" + (" that is learnt" if self.learn else "")

    @property
    def learnable(self) -> bool:
        """Whether the decoder learns it."""
        return self.learn or self.confusion is not None


Prior = Literal["uniform", "standard", "learned", "samples"]
Factor = Prior | ProbabilitiesSpec | ConditionalSpec | TableSpec
