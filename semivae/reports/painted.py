"""How well painted images show the mask that they were painted for, as another network reads them."""

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
    """{"painted": {"agreement": ..., "judge": ...}} for held-out maps [n, height, width]; {} where nobody can judge.

    Args:
        run: whose decoder paints.
        judge: another run; None: the run's own supervised twin.
        twin: that twin, which shares nothing with the decoder but the labelled pairs; None if there is no finished one.
        maps: what to paint for.

    Raises:
        RunError: the judge is no segmentation of the same classes and size.
    """
    if judge is None:
        if twin is None:
            return {}
        return {"painted": {"agreement": agreement(run, twin, maps), "judge": "its supervised twin"}}
    same = judge.task is run.task and judge.classes == run.classes
    if not same or judge.recipe.variables[judge.label].shape != run.recipe.variables[run.label].shape:
        raise RunError(
            f"{judge.path}: no segmentation of the same classes and size as {run.path}, so it cannot judge it"
        )
    return {"painted": {"agreement": agreement(run, judge, maps), "judge": str(judge.path)}}


def agreement(run: TrainedModel, judge: TrainedModel, maps: Tensor, batch: int = 64) -> float:
    """Share of the pixels of `maps` [n, height, width] that `judge` reads in images that `run` paints for them.

    One image is painted for each map, with codes of its own from a fixed seed; void places are left out.
    """
    right = known = 0
    for number, part in enumerate(torch.split(maps.long(), batch)):
        images = draw(run, len(part), {run.label: part}, seed=number)[run.image]
        read = torch.from_numpy(Classifier(judge).predict(images))
        right += int(((read == part) & (part >= 0)).sum())
        known += int((part >= 0).sum())
    return right / max(1, known)
