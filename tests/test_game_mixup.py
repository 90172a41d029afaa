"""Mixup: what mixtures of labelled images teach, and which streams may mix."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.distributions import Categorical

import semivae
from semivae.data.sources import load_source
from semivae.errors import RecipeError
from semivae.game.families import categorical_of
from semivae.game.teaching.class_teacher import LabelTeacher
from semivae.game.teaching.mixing import BOX_AREA, boxes, mixed, pasted
from semivae.recipe import read_recipe
from semivae.scenario.build import build_game, resolve
from semivae.scenario.plan import plan_of

SHORT = ["training.steps=4", "training.validate_every=4"]


def test_mixtures_lie_between_an_image_and_its_partner() -> None:
    torch.manual_seed(0)
    labels = torch.arange(50)
    images = labels.float().view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    mixtures, partners, share = mixed(images, labels, 0.75)
    assert sorted(partners.tolist()) == labels.tolist()
    assert 0.5 <= share.min() < share.max() <= 1.0
    torch.testing.assert_close(mixtures[:, 0, 1, 1], share * labels + (1 - share) * partners)


def test_tables_are_mixed_too_and_a_small_alpha_keeps_examples_apart() -> None:
    torch.manual_seed(0)
    rows, labels = torch.rand(50, 3), torch.arange(50)
    mixtures, _, share = mixed(rows, labels, 0.01)
    assert mixtures.shape == rows.shape
    assert (share > 0.99).float().mean() > 0.9


def test_a_pair_teaches_both_labels_of_its_mixture_by_their_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = read_recipe("digits_50labels", ["streams.labelled.mixup=0.75"])
    recipe = resolve(recipe, load_source(recipe.source, Path()))
    game = build_game(recipe, plan_of(recipe), torch.device("cpu"))
    images, labels, others = torch.rand(2, 1, 8, 8), torch.tensor([3, 4]), torch.tensor([5, 4])
    share = torch.tensor([0.75, 0.5])
    monkeypatch.setattr("semivae.game.teaching.pairs.mixed", lambda *given: (given[0] / 2, others, share))
    found = game.pairs["labelled", "y"].log_prob(game.encoder, game.decoder, {"x": images, "y": labels})
    log_q = categorical_of(game.encoder["y"]({"x": images / 2})).logits
    torch.testing.assert_close(found, torch.stack([0.75 * log_q[0, 3] + 0.25 * log_q[0, 5], log_q[1, 4]]))


def test_a_share_of_the_images_gets_one_box_each() -> None:
    marked = boxes(200, 16, 24, 0.5, torch.Generator().manual_seed(0))
    area = marked.float().mean(dim=(1, 2))
    assert 70 <= (area > 0).sum() <= 130  # 200 draws of a half: outside once in 50,000
    assert BOX_AREA[0] - 0.1 < area[area > 0].min() and area.max() < BOX_AREA[1] + 0.1  # whole pixels
    rows, columns = marked.any(dim=2).sum(dim=1), marked.any(dim=1).sum(dim=1)
    assert torch.equal(rows * columns, marked.sum(dim=(1, 2))), "each one rectangle"
    assert not boxes(5, 4, 4, 0.0, torch.Generator()).any()


def test_boxes_of_images_and_of_maps_come_from_the_next_one() -> None:
    maps = torch.arange(3).view(-1, 1, 1).expand(-1, 4, 4)
    images = maps[:, None].expand(-1, 2, -1, -1).float()
    places = torch.zeros(3, 4, 4, dtype=torch.bool)
    places[0, :2], places[2] = True, True
    assert pasted(maps, places)[:, [0, 3], 1].tolist() == [[1, 0], [1, 1], [0, 0]]
    assert torch.equal(pasted(images, places), pasted(maps, places)[:, None].expand(-1, 2, -1, -1).float())


def test_patched_views_are_taught_both_labels_that_are_sure_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    views = ["streams.unlabelled.views.cutmix=0.5", "streams.unlabelled.views.threshold=0.5"]
    recipe = read_recipe("digits_50labels", views)
    recipe = resolve(recipe, load_source(recipe.source, Path()))
    game = build_game(recipe, plan_of(recipe), torch.device("cpu"))
    teacher, images = game.teachers["stream_unlabelled"], torch.rand(3, 1, 8, 8)
    assert isinstance(teacher, LabelTeacher)
    given = Categorical(probs=torch.eye(10)[[3, 4, 5]] * 0.8 + 0.02)
    monkeypatch.setattr(LabelTeacher, "posterior", lambda *_: given)
    monkeypatch.setattr(LabelTeacher, "_strong", lambda *_: images)
    places = torch.zeros(3, 8, 8, dtype=torch.bool)
    places[0, :2], places[1, :, :4] = True, True  # a quarter and a half
    monkeypatch.setattr("semivae.game.teaching.class_teacher.boxes", lambda *_: places)
    loss, _ = teacher.loss(game.encoder, images, torch.Generator().manual_seed(0), 1.0)
    log_q = categorical_of(game.encoder["y"]({"x": pasted(images, places)})).logits
    expected = 0.75 * log_q[0, 3] + 0.25 * log_q[0, 4] + 0.5 * log_q[1, 4] + 0.5 * log_q[1, 5] + log_q[2, 5]
    torch.testing.assert_close(loss, -expected / 3)


def test_information_of_patched_views_is_refused() -> None:
    changes = ["streams.unlabelled.views.cutmix=0.5", "streams.unlabelled.views.information={weight: 1, start: 0.5}"]
    with pytest.raises(RecipeError, match="with cutmix a view shows two; remove one"):
        plan_of(read_recipe("digits_50labels", changes))


@pytest.mark.parametrize("adjust", ["true", "false"])
def test_a_run_with_mixtures_learns_something_else_and_its_twin_mixes_too(tmp_path: Path, adjust: str) -> None:
    changes = [*SHORT, f"streams.labelled.adjust={adjust}"]
    plain = semivae.train("digits_50labels", set=changes, out=tmp_path / "plain", device="cpu")
    mixing = [*changes, "streams.labelled.mixup=0.75"]
    run = semivae.train("digits_50labels", set=mixing, out=tmp_path / "mixed", device="cpu")
    images = plain.dataset().test["x"][:20]
    for phase in ("last", "twin"):
        one, other = (categorical_of(each.at(phase).posterior("y", x=images)).probs for each in (plain, run))
        assert not torch.equal(one, other)
        assert math.isfinite(other.sum().item())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["streams.unlabelled.mixup=1"], "streams.unlabelled.mixup: only pairs of x and a label can be mixed; remove"),
        (["streams.labels.mixup=1"], "streams.labels.mixup: only pairs"),
        (["streams.labelled.mixup=0"], "mixup"),
    ],
)
def test_streams_that_cannot_be_mixed_are_refused(changes: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        plan_of(read_recipe("digits_50labels", changes))


def test_maps_are_not_mixed() -> None:
    with pytest.raises(RecipeError, match=r"streams\.labelled\.mixup: only single classes can be mixed, s is a map"):
        plan_of(read_recipe("faces_masks", ["streams.labelled.mixup=1"]))
