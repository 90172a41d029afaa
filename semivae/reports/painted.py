"""The agreement of generated images with the masks that they were generated for, by an external classifier."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from semivae.classification import Classifier
from semivae.errors import RunError
from semivae.generative.sampling import draw
from semivae.runs.model import TrainedModel


def painted_report(
    run: TrainedModel, judge: TrainedModel | None, twin: TrainedModel | None, maps: Tensor
) -> dict[str, Any]:
    """Returns {"painted": {"agreement": ..., "judge": ...}} for held-out maps [n, height, width]; {} without a judge.

    Args:
        run: the run whose decoder generates the images.
        judge: another run, which segments them; None for the run's own supervised twin.
        twin: that twin, which shares nothing with the decoder but the labelled pairs; None if there is no finished one.
        maps: the maps to generate images for.

    Raises:
        RunError: the judge does not segment images of the same size into the same classes.
    """
    if judge is None:
        if twin is None:
            return {}
        return {"painted": {"agreement": agreement(run, twin, maps), "judge": "its supervised twin"}}
    same = judge.task is run.task and judge.classes == run.classes
    if not same or judge.recipe.variables[judge.label].shape != run.recipe.variables[run.label].shape:
        raise RunError(
            f"{judge.path} cannot judge {run.path}: it does not segment images of the same size into the same classes"
        )
    return {"painted": {"agreement": agreement(run, judge, maps), "judge": str(judge.path)}}


def agreement(run: TrainedModel, judge: TrainedModel, maps: Tensor, batch: int = 64) -> float:
    """Returns the pixel accuracy of `judge` on images that `run` generates for `maps` [n, height, width].

    There is one image per map, with codes of its own from a fixed seed. Void pixels do not count.
    """
    right = known = 0
    for number, part in enumerate(torch.split(maps.long(), batch)):
        images = draw(run, len(part), {run.label: part}, seed=number)[run.image]
        read = torch.from_numpy(Classifier(judge).predict(images))
        right += int(((read == part) & (part >= 0)).sum())
        known += int((part >= 0).sum())
    return right / max(1, known)
