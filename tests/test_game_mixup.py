"""Mixup: what mixtures of labelled images teach, and which streams may mix."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.distributions import Categorical

import semivae
from semivae.errors import RecipeError
from semivae.game.distributions import categorical_of
from semivae.game.teaching import mixing
from semivae.game.teaching.class_teacher import ClassTeacher, target_probabilities
from semivae.game.teaching.mixing import BOX_AREA, mix_examples, paste_boxes, random_boxes
from semivae.recipe import read_recipe
from semivae.scenario.plan import plan_of
from tests import narrow
from tests.game_steps import PAIR, STILL, batches, certain_players, make_game, play

SHORT = [f"{key}={value}" for key, value in narrow.DIGITS.items()] + ["training.steps=4", "training.validate_every=4"]


def test_mixtures_lie_between_an_image_and_its_partner() -> None:
    torch.manual_seed(0)
    labels = torch.arange(50)
    images = labels.float().view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    mixtures, partners, share = mix_examples(images, labels, 0.75)
    assert sorted(partners.tolist()) == labels.tolist()
    assert 0.5 <= share.min() < share.max() <= 1.0
    torch.testing.assert_close(mixtures[:, 0, 1, 1], share * labels + (1 - share) * partners)


def test_tables_are_mixed_too_and_a_small_alpha_keeps_examples_apart() -> None:
    torch.manual_seed(0)
    rows, labels = torch.rand(50, 3), torch.arange(50)
    mixtures, _, share = mix_examples(rows, labels, 0.01)
    assert mixtures.shape == rows.shape
    assert (share > 0.99).float().mean() > 0.9


def test_shares_are_drawn_from_beta() -> None:
    """Under Beta(1, 1) the larger share is uniform in [0.5, 1]; the mean of 4,000 is off by 0.01 once in 10^5."""
    torch.manual_seed(0)
    _, _, share = mix_examples(torch.zeros(4000, 1), torch.zeros(4000), 1.0)
    assert share.mean().item() == pytest.approx(0.75, abs=0.01)
    assert share.std().item() == pytest.approx(0.5 / math.sqrt(12), abs=0.01)


@pytest.mark.parametrize("adjusts", [False, True])
def test_a_pair_teaches_both_labels_of_its_mixture_by_their_shares(adjusts: bool) -> None:
    prior, frequencies = torch.tensor([0.8, 0.15, 0.05]), torch.tensor([0.2, 0.3, 0.5])
    game = make_game(certain_players(prior.log()), mixup=0.75, frequencies=frequencies if adjusts else None)
    pairs = batches()["labelled"]
    losses = play(game, rates=STILL, seed=7).losses
    torch.manual_seed(7)  # nothing else is drawn in this game
    mixtures, others, share = mix_examples(pairs["x"], pairs["y"], 0.75)
    assert (others != pairs["y"]).any() and (share < 0.95).any()
    log_q = categorical_of(game.encoder["y"]({"x": mixtures})).logits.detach()
    if adjusts:
        log_q = (log_q + (frequencies / prior).log()).log_softmax(-1)
    rows = torch.arange(4)
    expected = share * log_q[rows, pairs["y"]] + (1 - share) * log_q[rows, others]
    torch.testing.assert_close(losses["encoder.labelled.y"], -expected.mean())


def test_only_what_teaches_the_encoder_its_label_is_mixed() -> None:
    plain, mixing = (play(make_game(certain_players(), mixup=alpha), rates=STILL).losses for alpha in (None, 0.75))
    assert {name for name in plain if not torch.equal(plain[name], mixing[name])} == {"encoder.labelled.y"}


def test_a_share_of_the_images_gets_one_box_each() -> None:
    marked = random_boxes(200, 16, 24, 0.5, torch.Generator().manual_seed(0))
    area = marked.float().mean(dim=(1, 2))
    assert 70 <= (area > 0).sum() <= 130  # 200 draws of a half: outside once in 50,000
    assert BOX_AREA[0] - 0.1 < area[area > 0].min() and area.max() < BOX_AREA[1] + 0.1  # whole pixels
    rows, columns = marked.any(dim=2).sum(dim=1), marked.any(dim=1).sum(dim=1)
    assert torch.equal(rows * columns, marked.sum(dim=(1, 2))), "each one rectangle"
    assert not random_boxes(5, 4, 4, 0.0, torch.Generator()).any()


def test_places_kept_from_inference_are_no_tensor_of_inference() -> None:
    with torch.inference_mode():
        assert not mixing._centres.__wrapped__(4, 6, torch.device("cpu")).is_inference()


def test_boxes_of_images_and_of_maps_come_from_the_next_one() -> None:
    maps = torch.arange(3).view(-1, 1, 1).expand(-1, 4, 4)
    images = maps[:, None].expand(-1, 2, -1, -1).float()
    places = torch.zeros(3, 4, 4, dtype=torch.bool)
    places[0, :2], places[2] = True, True
    assert paste_boxes(maps, places)[:, [0, 3], 1].tolist() == [[1, 0], [1, 1], [0, 0]]
    assert torch.equal(paste_boxes(images, places), paste_boxes(maps, places)[:, None].expand(-1, 2, -1, -1).float())


def test_boxes_take_all_areas_ratios_and_places() -> None:
    """Of images of 100 x 50 places, so that whole pixels hardly matter."""
    marked = random_boxes(1000, 100, 50, 1.0, torch.Generator().manual_seed(0))
    area = marked.float().mean(dim=(1, 2))
    assert BOX_AREA == (0.1, 0.5)
    assert 0.09 < area.min() < 0.11 and 0.48 < area.max() < 0.51
    assert area.mean().item() == pytest.approx(0.3, abs=0.015)  # of a uniform draw; 4 standard errors
    rows, columns = marked.any(dim=2).sum(dim=1) / 100, marked.any(dim=1).sum(dim=1) / 50
    ratio = rows / columns
    assert 0.47 < ratio.min() < 0.53 and 1.9 < ratio.max() < 2.1
    assert (ratio > 1).float().mean().item() == pytest.approx(0.5, abs=0.05)
    corners = marked.flatten(1).int().argmax(dim=1) // 50 / (100 - 100 * rows + 1e-6)  # 0 at the top, 1 at the bottom
    drawn = torch.stack([area, ratio.log(), corners])
    independent = torch.corrcoef(drawn) - torch.eye(3)
    assert independent.abs().max() < 0.15, "area, ratio and place are independent; a correlation is off once in 10^5"
    often = marked.float().mean(dim=0)
    assert often[5:-5, 3:-3].min() > 0 and often[50, 25] > 5 * often[5, 3], "all places, the middle most often"
    for sides in (0, 1, (0, 1)):
        torch.testing.assert_close(often, often.flip(sides), atol=0.1, rtol=0)  # four standard errors


@pytest.mark.parametrize("temperature", [None, 0.5])
def test_patched_views_are_taught_both_labels_that_are_sure_enough(temperature: float | None) -> None:
    game = make_game(certain_players())
    images = torch.rand(6, 1, 2, 2, generator=torch.Generator().manual_seed(3))
    believed = categorical_of(game.ema_encoder["y"]({"x": images})).probs
    threshold = believed.max(dim=-1).values.median().item()
    pair = replace(PAIR, threshold=threshold, cutmix=0.7, temperature=temperature)
    of_pair = ClassTeacher("y", pair, game.decoder, game.ema_encoder)
    loss, _ = of_pair.loss(game.encoder, images, torch.Generator().manual_seed(0), 1.0)

    places = random_boxes(6, 2, 2, 0.7, torch.Generator().manual_seed(0))
    log_q = categorical_of(game.encoder["y"]({"x": paste_boxes(1.0 - images, places)})).logits
    expected = []
    for row, covered in enumerate(places.float().mean(dim=(1, 2)).tolist()):
        for source, part in ((row, 1 - covered), ((row + 1) % 6, covered)):
            if believed[source].max() >= threshold:
                target = target_probabilities(Categorical(probs=believed[source][None]), temperature)[0]
                expected.append(-part * (target * log_q[row]).sum())
    assert 6 < len(expected) < 12 and not torch.equal(paste_boxes(images, places), images)
    torch.testing.assert_close(loss, torch.stack(expected).sum() / 6)


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
    with pytest.raises(RecipeError, match="only single classes can be mixed, but s is a map"):
        plan_of(read_recipe("faces_masks", ["streams.labelled.mixup=1"]))
