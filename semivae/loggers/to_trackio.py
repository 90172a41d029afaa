"""trackio: a run of the project `semivae`, on this machine unless TRACKIO_SPACE_ID says otherwise; `trackio show`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from semivae.loggers.logger import PROJECT, AboutRun, Picture, flat


class TheLogger:
    """Runs of trackio are told apart by their names, so a name holds the time at which training was started."""

    name = "trackio"

    def start(self, about: AboutRun) -> str:
        import trackio

        called = about.id or f"{about.name} {datetime.now():%Y-%m-%d %H:%M:%S}"
        self.run: Any = trackio.init(
            project=PROJECT,
            name=called,
            config={key: str(value) for key, value in flat(about.settings).items()},
            resume="never" if about.id is None else "allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        return called

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=step)

    def picture(self, step: int, name: str, pixels: Picture) -> None:
        import trackio

        self.run.log({name: trackio.Image(pixels)}, step=step)

    def end(self, finished: bool) -> None:
        self.run.finish()
