"""The painter: a second decoder of the image, which learns once the game is over."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from semivae.recipe.factors import FlowSpec
from semivae.recipe.networks import Net
from semivae.recipe.section import Count, NoTruth, Positive, PositiveFloat, Section
from semivae.recipe.training import Algorithm


class PainterSpec(Section):
    """A flow that paints the pictures of a run (docs/method.md, section 12).

    The decoder teaches the codes and drafts a picture. Once the game is over, the painter learns to paint over the
    draft, from the streams that teach the decoder its images. All pictures of the run's last checkpoint are then the
    painter's; classifier, likelihoods and votes stay what they are.
    """

    example: ClassVar[str] = (
        "{net: {name: unet, channels: [32, 64], modulate_down: true}, flow: {guidance: 2, guides: [y]}, steps: 3000}"
    )

    net: Net = Field(
        description="Its network, from the noisy picture, the draft, the time, and what the decoder's image is given."
    )
    flow: FlowSpec = Field(description="Its steps and guidance. Where it learns without its guides, it sees no draft.")
    choose: Positive = Field(
        1,
        description="Paint so many pictures of each sample, and keep the one that the encoder is surest to show its "
        "label. It is not learnt, so it may be changed afterwards.",
    )
    steps: Positive = Field(description="The number of its steps.")
    batch: Positive = Field(64, description="The number of examples per step and stream.")
    learning_rate: PositiveFloat = Field(2e-3, description="Its peak learning rate.")
    optimizer: Algorithm = Field("adam", description="Its optimizer.")
    warmup: Count = Field(100, description="The number of steps over which its learning rate rises.")
    clip: PositiveFloat | None = Field(
        None, description="The largest norm of its gradient. By default nothing is clipped."
    )
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0), NoTruth] = Field(
        0.998, description="The decay of the moving average of its weights, which is what paints."
    )
