"""The curriculum: the most certain labels and pixels of every class come first; and the targets of a posterior."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.distributions import Categorical

from semivae.game.conditionals import NetworkConditional
from semivae.game.distributions import categorical_of
from semivae.game.players import Player
from semivae.game.teaching.class_teacher import ClassTeacher, target_probabilities
from semivae.game.teaching.curriculum import curriculum_mask
from semivae.game.teaching.map_teacher import pixel_curriculum_mask
from semivae.game.teaching.teacher import StreamViews
from semivae.nets import Mlp
from semivae.recipe.streams import PairOfViews
from semivae.variables import Variable
from tests.game_steps import PAIR, STILL, batches, certain_players, make_game, play

# log-odds of six labels: 1, 2, 3 and 4 for class 0, and 5 and 6 for class 1; class 2 is far behind
LABELS = Categorical(
    logits=torch.tensor([[1.0, 0, -9], [2.0, 0, -9], [0, 5.0, -9], [3.0, 0, -9], [4.0, 0, -9], [0, 6.0, -9]])
)


@pytest.mark.parametrize(
    ("share", "marked"),
    [
        (1.0, [1, 1, 1, 1, 1, 1]),
        (0.75, [0, 1, 1, 1, 1, 1]),  # 3 of 4, and of 2 also the second half
        (0.5, [0, 0, 0, 1, 1, 1]),
        (0.25, [0, 0, 0, 0, 1, 1]),  # of 2 a half, so the one that is always taught
        (0.0, [0, 0, 0, 0, 1, 1]),
    ],
)
def test_a_share_of_every_class_is_taught_the_surest_first(share: float, marked: list[int]) -> None:
    assert curriculum_mask(LABELS, share).tolist() == marked


@pytest.mark.parametrize(
    ("share", "prior", "marked"),
    [
        (0.5, [0.5, 0.5, 0.0], [0, 0, 1, 1, 1, 1]),  # 1.5 of each: two, since a rank below 1.5 is marked
        (0.5, [1.0, 0.0, 0.0], [0, 1, 0, 1, 1, 1]),  # three of class 0; of class 1 the one that is always taught
        (0.5, [0.0, 1.0, 0.0], [0, 0, 1, 0, 1, 1]),
    ],
)
def test_with_a_prior_the_share_is_of_what_the_class_should_have(
    share: float, prior: list[float], marked: list[int]
) -> None:
    assert curriculum_mask(LABELS, share, torch.tensor(prior)).tolist() == marked


def test_certainty_is_the_margin_before_the_second_class() -> None:
    """The first label has the higher probability, the second the wider margin."""
    labels = Categorical(probs=torch.tensor([[0.52, 0.47, 0.01], [0.5, 0.25, 0.25]]))
    assert curriculum_mask(labels, 0.5).tolist() == [0, 1]


def test_a_label_as_sure_as_the_threshold_is_learnt() -> None:
    """Without weights the encoder's answer is one of four classes, with a probability of a quarter each."""
    image, four = Variable("x", "bernoulli", (1, 2, 2)), Variable("y", "categorical", (), classes=4)
    encoder = Player([NetworkConditional(four, (image,), Mlp((1, 2, 2), 0, (4,), ()))])
    for parameter in encoder.parameters():
        nn.init.zeros_(parameter)
    for threshold, share in ((0.25, 1.0), (0.2501, 0.0)):
        teacher = ClassTeacher("y", replace(PAIR, threshold=threshold), Player([]), encoder)
        _, parts = teacher.loss(encoder, torch.zeros(3, 1, 2, 2), torch.Generator(), 0.5)
        assert parts["mask_rate"] == share


def test_two_classes_are_enough_for_an_order() -> None:
    """Margins 4, 2 and 1 of class 0, and 3 of class 1: the first half of each, and at least one."""
    labels = Categorical(logits=torch.tensor([[2.0, 0.0], [4.0, 0.0], [0.0, 3.0], [1.0, 0.0]]))
    assert curriculum_mask(labels, 0.5).tolist() == [1, 1, 1, 0]
    assert curriculum_mask(labels, 0.1).tolist() == [0, 1, 1, 0]


def test_a_ramp_goes_from_a_tenth_to_all() -> None:
    views = StreamViews("x", curriculum=0.5)
    assert [views.curriculum_fraction(share) for share in (0.0, 0.25, 0.5, 0.9)] == pytest.approx([0.1, 0.55, 1.0, 1.0])
    assert StreamViews("x").curriculum_fraction(0.0) == 1.0


@pytest.mark.parametrize(("progress", "taught"), [(0.0, 0.1), (0.2, 0.46), (0.4, 0.82), (0.5, 1.0)])
def test_a_ramp_teaches_the_surest_of_the_batch(progress: float, taught: float) -> None:
    game = make_game(certain_players(), replace(PAIR, curriculum=0.5))
    images = batches()["unlabelled"]["x"]
    posterior = categorical_of(game.ema_encoder["y"]({"x": images}))
    expected = curriculum_mask(posterior, taught, torch.full((3,), 1 / 3))
    assert (expected.mean() < 1) == (progress < 0.5)
    losses = play(game, rates=STILL, progress=progress).losses
    torch.testing.assert_close(losses["share.unlabelled"], expected.mean())


def test_the_surest_places_of_every_class() -> None:
    """Class 0 holds four places by 1, 2, 3 and 4; class 1 holds two by 0.1 and 0.2, which no threshold would let by."""
    margins = torch.tensor([[[1.0, 2.0, 3.0], [4.0, -0.1, -0.2]]])
    posterior = Categorical(logits=torch.stack([margins, torch.zeros(1, 2, 3), torch.full((1, 2, 3), -9.0)], dim=-1))
    assert pixel_curriculum_mask(posterior, 1.0).all()
    assert pixel_curriculum_mask(posterior, 0.5).tolist() == [[[False, False, True], [True, False, True]]]
    assert pixel_curriculum_mask(posterior, 0.25).tolist() == [[[False, False, False], [True, False, True]]]
    assert pixel_curriculum_mask(posterior, 0.0).tolist() == [[[False, False, False], [True, False, True]]]


def test_places_belong_to_their_most_likely_class_whatever_comes_second() -> None:
    """Two places of class 0, before class 1 and class 2, and one of class 2: by margin 1, 2 and 0.5."""
    logits = torch.tensor([[[[1.0, 0.0, -9.0], [2.0, -9.0, 0.0], [0.0, -9.0, 0.5]]]])
    assert pixel_curriculum_mask(Categorical(logits=logits), 0.0).tolist() == [[[False, True, True]]]
    four = torch.tensor([[[[1.0, 0.0, -9.0, -9.0]], [[-9.0, -9.0, 0.0, 3.0]], [[-9.0, -9.0, 0.0, 2.0]]]])
    assert pixel_curriculum_mask(Categorical(logits=four), 0.0).tolist() == [[[True], [True], [False]]]


def test_places_are_ordered_over_the_whole_batch() -> None:
    margins = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
    posterior = Categorical(logits=torch.stack([margins, torch.zeros(2, 1, 2)], dim=-1))
    assert pixel_curriculum_mask(posterior, 0.5).tolist() == [[[False, False]], [[True, True]]]


def test_the_target_is_the_most_likely_class_or_the_posterior_sharpened() -> None:
    """Under temperature 1/2 probabilities are squared: 0.36, 0.09 and 0.01, normalised."""
    posterior = Categorical(probs=torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]]))
    assert target_probabilities(posterior, None).tolist() == [[1, 0, 0], [0, 0, 1]]
    torch.testing.assert_close(target_probabilities(posterior, 1.0), posterior.probs)
    expected = torch.tensor([[36, 9, 1], [4, 4, 36]]) / torch.tensor([[46], [44]])
    torch.testing.assert_close(target_probabilities(posterior, 0.5), expected)


def test_views_have_the_threshold_of_a_recipe_unless_they_say_otherwise() -> None:
    assert StreamViews("x").threshold == PairOfViews().threshold == 0.95
