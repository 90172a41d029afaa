"""How training shows itself: a live table in a terminal, plain lines in a notebook or a log file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from semivae.errors import RunError
from semivae.training.progress import bits_text, clock, progress_line, speed_text, wrong_text

if TYPE_CHECKING:
    from semivae.training.progress import Progress, Report


# kept on show until measured again
MEASURED = ("losses", "bits", "validation_error", "confident_error", "read_as_intended", "model_error")
SILENCE = 30.0  # seconds after which a log gets a line even without a validation


class ProgressDisplay:
    """Shows each `Progress` of a training; use as a context manager and pass as `progress=`.

    In a terminal one table is redrawn in place. Elsewhere each validation, each message and the end of a phase become
    one line. Warnings stay where they came up.

    `heading` is shown once training begins, so that data that cannot be read give an error and nothing else.
    """

    def __init__(self, console: Console, heading: RenderableType | None = None) -> None:
        self.console = console
        self.heading = heading
        self.begun = False  # whether a step was made
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._latest: Progress | None = None
        self._line_at = 0.0

    def __enter__(self) -> ProgressDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, progress: Progress) -> None:
        self.begun |= progress.step > 0
        if self.heading is not None:
            self.console.print(self.heading)
            self.heading = None
        for line in progress.about_data:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)
        if progress.about_data:
            return
        if progress.message:
            self.console.print(f"note: {progress.message}", markup=False, highlight=False, soft_wrap=True)
        elif self._live:
            self._redraw(self._live, progress)
        elif self._is_news(progress):
            self.console.print(progress_line(progress), markup=False, highlight=False, soft_wrap=True)
            self._line_at = progress.seconds
        for warning in progress.warnings:
            self.console.print(Text(f"warning: {warning}", style="yellow"), soft_wrap=True)

    def _redraw(self, live: Live, progress: Progress) -> None:
        if self._latest is not None and self._latest.phase != progress.phase:
            self.console.print(progress_table(self._latest))  # stays above, where the phase ended
        self._latest = with_last_validation(progress, self._latest)
        live.start()  # has no effect once it runs
        live.update(progress_table(self._latest))

    def _is_news(self, progress: Progress) -> bool:
        validated = progress.validation_error is not None or bool(progress.bits)
        self._line_at = min(self._line_at, progress.seconds)  # a new phase starts at 0 again
        return validated or progress.step == progress.steps or progress.seconds - self._line_at >= SILENCE


def with_last_validation(progress: Progress, earlier: Progress | None) -> Progress:
    """`progress` with what was found at the last validation of the same phase, where it brings nothing newer."""
    if earlier is None or earlier.phase != progress.phase:
        return progress
    kept = {name: getattr(earlier, name) for name in MEASURED if getattr(progress, name) in (None, {})}
    return replace(progress, **kept)


@contextmanager
def heard_by(progress: bool | Report | None) -> Iterator[Report | None]:
    """Yields what a training reports to: a display, the function `progress` itself, or None where nothing is shown.

    Args:
        progress: None shows a display on standard output where somebody looks, in a terminal or a notebook; True
            shows it everywhere, False nowhere; a function is called instead.

    Raises:
        RunError: it is none of these.
    """
    if progress is not None and not isinstance(progress, bool):
        if not callable(progress):
            raise RunError(f"progress={progress!r}: give True, False, None or a function of one `Progress`")
        yield progress
        return
    console = Console(highlight=False, markup=False, emoji=False)
    if progress or (progress is None and (console.is_jupyter or console.file.isatty())):
        with ProgressDisplay(console) as display:
            yield display
    else:
        yield None


def progress_table(progress: Progress) -> RenderableType:
    """Returns the same as a block for a terminal: a bar, then one row per player."""
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        Text("supervised twin" if progress.phase == "twin" else progress.phase, style="bold"),
        ProgressBar(total=progress.steps, completed=progress.step, width=30),
        f"{progress.step:,} / {progress.steps:,}",
        Text(f"{clock(progress.seconds)} gone, {clock(progress.seconds_left)} left", style="cyan"),
    )
    rows = Table.grid(padding=(0, 2))
    if speed := speed_text(progress):
        rows.add_row(Text("  speed", style="dim"), Text(speed))
    for player, losses in losses_by_player(progress.losses).items():
        text = "  ".join(f"{factor} {value:.4g}" for factor, value in losses.items())
        rows.add_row(Text(f"  {player}", style="dim"), Text(text + "  nats"))
    if progress.bits:
        text = "  ".join(f"{code} {bits_text(value)}" for code, value in progress.bits.items())
        rows.add_row(Text("  bits in use", style="dim"), Text(text))
    if progress.confident is not None:
        text = f"{progress.confident:.0%} of the unlabelled data{wrong_text(progress)}"
        rows.add_row(Text("  confident", style="dim"), Text(text))
    if progress.read_as_intended is not None:
        rows.add_row(Text("  samples", style="dim"), Text(f"{progress.read_as_intended:.0%} class consistency"))
    if progress.validation_error is not None:
        headline = progress.headline
        beside = "" if progress.model_error is None else f"; the model's was {headline.text(progress.model_error)}"
        error = Text(f"{headline.name} {headline.text(progress.validation_error)}{beside}", style="green")
        rows.add_row(Text("  validation", style="dim"), error)
    return Group(bar, rows)


def losses_by_player(losses: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Returns `{"decoder.x": 1.0}` as `{"decoder": {"x": 1.0}}`."""
    players: dict[str, dict[str, float]] = {}
    for name, value in losses.items():
        player, _, factor = name.partition(".")
        players.setdefault(player, {})[factor or player] = value
    return players
