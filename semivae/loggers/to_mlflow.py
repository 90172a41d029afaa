"""MLflow: a run of the experiment `semivae` where MLFLOW_TRACKING_URI says, by default as MLflow itself chooses."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from semivae.loggers.logger import PROJECT, AboutRun, Picture, flat

LONGEST = 500  # signs of a parameter's value
MOST = 100  # parameters that one request may hold


class TheLogger:
    """A client of its own: MLflow's active run, which may be the user's, is left alone."""

    name = "mlflow"

    def start(self, about: AboutRun) -> str:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self.client: Any = MlflowClient()
        if about.id is not None:
            self.client.update_run(about.id, status="RUNNING")
            self.run_id = about.id
            return about.id
        called = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self.client.get_experiment_by_name(called)
        experiment = self.client.create_experiment(called) if found is None else found.experiment_id
        self.run_id = self.client.create_run(experiment, run_name=about.name).info.run_id
        settings = [Param(key, str(value)[:LONGEST]) for key, value in flat(about.settings).items()]
        for first in range(0, len(settings), MOST):
            self.client.log_batch(self.run_id, params=settings[first : first + MOST])
        return str(self.run_id)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self.client.log_batch(self.run_id, [Metric(name, value, now, step) for name, value in values.items()])

    def picture(self, step: int, name: str, pixels: Picture) -> None:
        from PIL import Image

        self.client.log_image(self.run_id, Image.fromarray(pixels), f"{name}/step_{step:07}.png")

    def end(self, finished: bool) -> None:
        self.client.set_terminated(self.run_id, "FINISHED" if finished else "KILLED")
