"""The recipe as typed objects: what a YAML file may say, with every default and description in one place.

The models check one value at a time and what can be checked inside one section. Whether the streams can teach the
players is decided from the graphs, by `semivae.game.plan`; whether the data fit is decided where the data are read.
The package imports no torch, so that a recipe can be checked in milliseconds.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from semivae.recipe.factors import (
    ConditionalSpec,
    ConfusionSpec,
    Factor,
    FlowSpec,
    Prior,
    ProbabilitiesSpec,
    StrangersSpec,
    TableSpec,
    VariableSpec,
)
from semivae.recipe.features import FeatureSpec
from semivae.recipe.folder_source import FolderSource
from semivae.recipe.former_names import renamed
from semivae.recipe.networks import Net
from semivae.recipe.painting import PainterSpec
from semivae.recipe.pair_sources import DigitPairsSource
from semivae.recipe.section import Name, Section
from semivae.recipe.simulated import SimulatedLabel
from semivae.recipe.sources import (
    ArraysSource,
    BuiltInSource,
    CelebAMaskSource,
    MasksSource,
    MemorySource,
    Source,
    TableSource,
)
from semivae.recipe.splits import LongTailSpec, SplitSpec
from semivae.recipe.streams import (
    CountsSpec,
    FileSpec,
    FrequenciesSpec,
    LossWeight,
    NormalSpec,
    PairOfViews,
    PlayerLossWeights,
    RangeSpec,
    StreamSpec,
    TurnSpec,
    ViewSpec,
    VoteSpec,
)
from semivae.recipe.training import Algorithm, PlayerOptimizers, PlayerRates, TrainingSpec
from semivae.recipe.turned import TurnedSource

__all__ = [
    "Algorithm",
    "ArraysSource",
    "BuiltInSource",
    "CelebAMaskSource",
    "ConditionalSpec",
    "ConfusionSpec",
    "CountsSpec",
    "DigitPairsSource",
    "Factor",
    "FeatureSpec",
    "FileSpec",
    "FlowSpec",
    "FolderSource",
    "FrequenciesSpec",
    "LongTailSpec",
    "LossWeight",
    "MasksSource",
    "MemorySource",
    "NormalSpec",
    "PainterSpec",
    "PairOfViews",
    "PlayerLossWeights",
    "PlayerOptimizers",
    "PlayerRates",
    "Prior",
    "ProbabilitiesSpec",
    "RangeSpec",
    "Recipe",
    "SimulatedLabel",
    "Source",
    "SplitSpec",
    "StrangersSpec",
    "StreamSpec",
    "TableSource",
    "TableSpec",
    "TrainingSpec",
    "TurnSpec",
    "TurnedSource",
    "VariableSpec",
    "ViewSpec",
    "VoteSpec",
]


class Recipe(Section):
    """A whole scenario, as written in a YAML file."""

    about: str = Field("", description="One line about the recipe, shown by `semivae recipes` and `semivae show`.")
    source: Source = Field(description="The data: a public data set, or your own files.")
    split: SplitSpec = Field(description="Which training examples show their label.")
    features: dict[Name, FeatureSpec] = Field(
        {},
        max_length=1,
        description="A variable that is a known function of the pictures, by its name: features by a frozen network. "
        "The encoder then starts from it.",
    )
    variables: dict[Name, VariableSpec] = Field(
        min_length=1, description="The random variables, by name (lower-case letters, digits and _)."
    )
    decoder: dict[Name, Factor] = Field(
        description="The generative player p, by variable, in the order in which it draws them. A factor is a network, "
        "or a prior: `uniform` (bits and classes), `standard` (normal, for real numbers), `learned` (parameters "
        "without a network), `samples` (known only by a stream that shows the variable), or `probabilities`; or a "
        "table, of a variable that depends on one class alone."
    )
    encoder: dict[Name, ConditionalSpec] = Field(
        min_length=1, description="The inference player q, by variable, in the order in which it draws them."
    )
    bottom_up: Net | None = Field(
        None, description="The network of x that all factors of the encoder with `ladder: true` share."
    )
    views: dict[Name, ViewSpec] = Field({}, description="Augmentations, by name, for use in `streams`.")
    streams: dict[Name, StreamSpec] = Field(min_length=1, description="The streams of batches, by name.")
    training: TrainingSpec = Field(description="How long and how to train.")
    painter: PainterSpec | None = Field(
        None, description="A flow that paints the run's pictures, once the game is over."
    )

    @model_validator(mode="before")
    @classmethod
    def _former_names(cls, data: object) -> object:
        """Reads recipes that were kept under the names of earlier versions."""
        new = renamed(data)
        if new.twice:
            raise ValueError(f"{new.twice[0][-1]} is given under its former and its present name; keep one")
        return new.data
