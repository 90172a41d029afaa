"""How a recipe is trained: objective, optimizer, length."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from semivae.recipe.registered import ObjectiveName
from semivae.recipe.section import Count, NonNegative, NoTruth, Positive, PositiveFloat, Section, Seed


class PlayerRates(Section):
    """A learning rate for each player."""

    example: ClassVar[str] = "{encoder: 1e-2, decoder: 3e-3}"

    encoder: PositiveFloat = Field(description="The encoder's peak learning rate.")
    decoder: PositiveFloat = Field(description="The decoder's peak learning rate.")


Algorithm = Literal["adam", "adamw", "muon"]


class PlayerOptimizers(Section):
    """An optimizer for each player."""

    example: ClassVar[str] = "{encoder: muon, decoder: adam}"

    encoder: Algorithm = Field(description="The encoder's optimizer.")
    decoder: Algorithm = Field(description="The decoder's optimizer.")


class TrainingSpec(Section):
    """The training loop. One step is one update of the decoder and one of the encoder (docs/method.md, section 3)."""

    example: ClassVar[str] = "{steps: 2500, learning_rate: 1e-3, warmup: 50, ema_decay: 0.995, twin: true}"

    steps: Positive = Field(description="The number of steps.")
    objective: ObjectiveName = Field(
        "symmetric",
        description="The game of two players; or, for comparison, the evidence lower bound of the same two networks; "
        "or a game of your own (`semivae.extending`).",
    )
    estimator: Literal["zgr", "leave_one_out"] = Field(
        "zgr",
        description="For `objective: elbo`, the gradient estimator of discrete draws: `zgr` is a second-order "
        "straight-through estimator, `leave_one_out` is unbiased but noisier.",
    )
    learning_rate: PositiveFloat | PlayerRates = Field(1e-3, description="The peak learning rate, of both players.")
    optimizer: Algorithm | PlayerOptimizers = Field(
        "adam",
        description="The optimizer, of both players. `muon` moves weight matrices by their orthogonalised momentum, "
        "and AdamW moves all other parameters.",
    )
    weight_decay: NonNegative = Field(
        0.0, description="The weight decay; decoupled for `adamw` and `muon`, an L2 penalty for `adam`."
    )
    warmup: Count = Field(0, description="The number of steps over which the learning rate rises linearly to its peak.")
    schedule: Literal["constant", "cosine"] = Field(
        "cosine", description="The learning rate after the warm-up: constant, or a half cosine down to 0."
    )
    clip: PositiveFloat | None = Field(
        None, description="Gradient clipping: the largest norm of a player's gradient. By default nothing is clipped."
    )
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0), NoTruth] = Field(
        0.999,
        description="The decay of the exponential moving average (EMA) of the encoder's weights, which labels "
        "unlabelled images and is what the run evaluates and exports.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="The arithmetic of the networks; `auto` takes bfloat16 if the device is faster in it."
    )
    validate_every: Positive = Field(200, description="The number of steps between validations.")
    checkpoint_every: Positive = Field(500, description="The number of steps between checkpoints.")
    shards: Positive = Field(
        1,
        description="The number of parts into which every batch is cut, each computed by itself. With 1, several "
        "processes (`semivae train --devices`) give the same result to rounding; with more, the same bits for every "
        "number of processes that divides it, at some cost in speed.",
    )
    capture: bool = Field(
        False,
        description="Whether a GPU (CUDA) takes steps as one graph, captured once and replayed; a step that cannot be "
        "captured is taken as always, and the run says why. Not tried on a GPU yet.",
    )
    seed: Seed = Field(0, description="Seeds the initial weights, the batches and all random draws.")
    twin: bool = Field(
        False,
        description="Also train the supervised twin: the same network on the labelled examples alone, for comparison.",
    )
