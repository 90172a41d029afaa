"""What a training tells of itself while it runs, and the same as text: one line of a log, and its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from semivae.tasks.task import Headline

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Progress:
    """What the loop tells while it runs. Losses are nats per sample, by "player.factor", means since the last.

    Args:
        validation_error: the headline figure of the label on the validation images.
        headline: what that figure is, and how it is written.
        confident: share of the unlabelled images that were sure enough to teach, since the last validation.
        confident_error: error on the validation images that are as sure.
        read_as_intended: share of the decoder's samples that the encoder reads as the class they were drawn for.
        model_error: of the twin's phase: the model's figure after as many steps.
        message: something to say apart from the numbers.
        about_data: what the data hold, in lines; said once, before the first step.
        steps_per_second: mean since the phase began or was resumed, with validations; None before its first step.
        examples_per_second: the same of examples that the data show, of all streams together.
        row: what a validation measured, a row of metrics.jsonl; None between validations.
        samples: draws x from the decoder at a validation, means [n, *shape], or None; None between validations.
        warnings: what this validation gives reason to warn of for the first time (`semivae.monitoring.failures`).
    """

    phase: str
    step: int
    steps: int
    seconds: float
    seconds_left: float
    losses: Mapping[str, float] = field(default_factory=dict)
    bits: Mapping[str, float] = field(default_factory=dict)
    validation_error: float | None = None
    confident: float | None = None
    message: str = ""
    confident_error: float | None = None
    read_as_intended: float | None = None
    model_error: float | None = None
    warnings: tuple[str, ...] = ()
    about_data: tuple[str, ...] = ()
    steps_per_second: float | None = None
    examples_per_second: float | None = None
    headline: Headline = field(default_factory=Headline)
    row: Mapping[str, Any] | None = None
    samples: Callable[[], Tensor | None] | None = None


Report = Callable[[Progress], None]


def progress_line(progress: Progress) -> str:
    """Returns one line of a log: phase, step, losses in nats per sample, what was measured, speed, time left."""
    parts = [f"{progress.phase} {progress.step:,}/{progress.steps:,}"]
    parts.append(" ".join(f"{name} {value:.4g}" for name, value in progress.losses.items()))
    parts.append(", ".join(f"{name} {bits_text(value)} bits" for name, value in progress.bits.items()))
    if progress.validation_error is not None:
        headline = progress.headline
        beside = "" if progress.model_error is None else f" (model {headline.text(progress.model_error)})"
        parts.append(f"validation {headline.name} {headline.text(progress.validation_error)}{beside}")
    if progress.confident is not None:
        parts.append(f"confident {progress.confident:.0%} of the unlabelled data{wrong_text(progress)}")
    if progress.read_as_intended is not None:
        parts.append(f"class consistency of samples {progress.read_as_intended:.0%}")
    parts += [speed_text(progress), f"{clock(progress.seconds_left)} left"]
    return " | ".join(part for part in parts if part)


def wrong_text(progress: Progress) -> str:
    """Returns the error rate of the validation data that are as confident as the unlabelled ones, as text."""
    if progress.confident_error is None:
        return ""
    return f"; {progress.confident_error:.1%} of the equally confident validation data are wrong"


def bits_text(bits: float) -> str:
    """Returns bits in use as text. A lower bound below 0 says no more than 0 does."""
    return f"{max(bits, 0.0):.1f}"


def speed_text(progress: Progress) -> str:
    """Returns steps and examples a second as text; empty before the first step."""
    if progress.steps_per_second is None or progress.examples_per_second is None:
        return ""
    return f"{rate_text(progress.steps_per_second)} steps/s, {rate_text(progress.examples_per_second)} examples/s"


def rate_text(rate: float) -> str:
    """Returns a rate with three digits or, from 100 on, as a whole number: 0.0512, 20.3, 3,045."""
    return f"{rate:,.0f}" if rate >= 99.95 else f"{rate:.3g}"


def clock(seconds: float) -> str:
    """Seconds as 0:07, 12:34 or 1:02:03."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
