"""Weights & Biases: a run of the project `semivae`, or as WANDB_PROJECT, WANDB_ENTITY and WANDB_MODE say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from semivae.loggers.logger import PROJECT, AboutRun, Picture


class TheLogger:
    """Values carry their step as a value too, so that a run which is resumed may say one again."""

    name = "wandb"

    def start(self, about: AboutRun) -> str:
        import wandb

        self.run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=about.name,
            dir=str(about.folder),
            config=dict(about.settings),
            id=about.id,
            resume=None if about.id is None else "allow",
            reinit="create_new",
            allow_val_change=True,
        )
        self.run.define_metric("step")
        self.run.define_metric("*", step_metric="step")
        return str(self.run.id)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log({**values, "step": step})

    def picture(self, step: int, name: str, pixels: Picture) -> None:
        import wandb

        self.run.log({name: wandb.Image(pixels), "step": step})

    def end(self, finished: bool) -> None:
        self.run.finish(exit_code=0 if finished else 1)
