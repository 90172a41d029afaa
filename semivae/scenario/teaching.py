"""How streams teach a label: their views and teachers, and the losses of their labelled pairs."""

from __future__ import annotations

from dataclasses import replace

import torch

from semivae.data.dataset import Dataset
from semivae.data.splits import Split
from semivae.data.views import View
from semivae.errors import RecipeError
from semivae.extending import TEACHERS
from semivae.game.schedules import Weight
from semivae.game.teaching.labelled_loss import LabelledLoss
from semivae.game.teaching.teacher import JointView, StoredView, StreamViews, Vote
from semivae.recipe import schema
from semivae.recipe.schema import Recipe
from semivae.scenario.plan import Roles, weight_of
from semivae.scenario.turning import turned_label


def labelled_losses(
    recipe: Recipe, roles: Roles, frequencies: torch.Tensor | None
) -> dict[tuple[str, str], LabelledLoss]:
    """Returns how streams change their pairs, by (stream, label); only those that change them.

    Without frequencies, as for the twin, nothing is adjusted.
    """
    found = {}
    for name, stream in recipe.streams.items():
        adjusted = frequencies if stream.adjust else None
        if adjusted is not None or stream.mixup is not None:
            label, *_ = roles.labels  # there is one, as the plan says
            found[name, label] = LabelledLoss(label, adjusted, stream.mixup)
    return found


def class_frequencies(recipe: Recipe, roles: Roles, dataset: Dataset, split: Split) -> torch.Tensor | None:
    """Returns the class frequencies of the labelled examples, [classes], where a stream adjusts its pairs by them."""
    if not any(stream.adjust for stream in recipe.streams.values()):
        return None
    label, *_ = roles.labels  # there is one, as the plan says
    counts = torch.bincount(dataset.train[label][split.labelled], minlength=len(dataset.labels[label].classes))
    return counts / counts.sum()


def stream_views(recipe: Recipe, roles: Roles, stream: schema.StreamSpec) -> StreamViews:
    """Returns what a stream says of its views; here the kind of the label chooses the teacher.

    Raises:
        RecipeError: the views turn a label and move maps.
    """
    spec = stream.views
    moved = next((name for name, task in roles.labels.items() if task.has_places), None)
    stored = stream.named_views() if roles.image in recipe.features else ()
    turned = turned_label(recipe, stream)
    if moved and turned:
        raise RecipeError(f"views: beside {moved}, which holds maps, {turned} cannot turn with the image; remove turn")
    common = StreamViews(roles.image, maps=moved, turned=turned, stored=stored)
    common = replace(common, teacher=roles.task.teacher, vote=_vote(stream.vote))
    if isinstance(spec, schema.PairOfViews):
        return replace(
            common,
            teacher=roles.task.teacher if spec.teacher is None else TEACHERS[spec.teacher],
            weak=_view(recipe, spec.weak, stored),
            strong=_view(recipe, spec.strong, stored),
            threshold=spec.threshold,
            weight=weight_of(spec.weight),
            distribution_alignment=spec.align,
            mutual_information=weight_of(spec.information),
            curriculum=spec.ramp,
            temperature=spec.temperature,
            cutmix=spec.cutmix,
        )
    common = replace(common, view=_view(recipe, spec, stored) if spec is not None else None)
    if stream.vote is None:
        return common
    return replace(common, threshold=stream.vote.threshold, weight=Weight(stream.vote.weight))


def _view(recipe: Recipe, name: str, stored: tuple[str, ...]) -> JointView:
    """A view by its name: computed, or picked out of stored draws."""
    return StoredView(stored.index(name)) if name in stored else View(recipe.views[name])


def _vote(spec: schema.VoteSpec | None) -> Vote | None:
    return Vote(spec.strength, spec.draws, spec.start, spec.classes) if spec is not None else None
