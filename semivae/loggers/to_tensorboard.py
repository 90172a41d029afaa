"""TensorBoard: event files in RUN/tensorboard; `tensorboard --logdir runs` shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from semivae.loggers.logger import AboutRun, Picture


class TheLogger:
    """A folder of event files for each training; one that is resumed goes on in its folder."""

    name = "tensorboard"

    def start(self, about: AboutRun) -> str:
        from torch.utils.tensorboard import SummaryWriter

        started = about.id or f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
        self.writer: Any = SummaryWriter(str(about.folder / "tensorboard" / started))
        if about.id is None:
            settings = json.dumps(about.settings, indent=1, default=str)
            self.writer.add_text("recipe", f"```\n{settings}\n```", 0)
        return started

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def picture(self, step: int, name: str, pixels: Picture) -> None:
        self.writer.add_image(name, pixels, step, dataformats="HWC")

    def end(self, finished: bool) -> None:
        self.writer.close()
