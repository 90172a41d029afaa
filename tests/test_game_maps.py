"""Labels that are maps: void places count in nothing, the average's map moves with the view that it teaches."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Categorical

from semivae.data.views import View
from semivae.game.conditionals import NetworkConditional
from semivae.game.distributions import VoidableCategorical, over_classes
from semivae.game.families import FAMILIES
from semivae.game.players import Player
from semivae.game.schedules import Weight
from semivae.game.teaching.map_teacher import MapTeacher, pseudo_label_maps, sample_maps
from semivae.game.teaching.teacher import StreamViews
from semivae.recipe.schema import ViewSpec
from semivae.variables import VOID, Variable

IMAGE = Variable("x", "gaussian", (3, 16, 16))
MAP = Variable("s", "categorical", (16, 16), classes=2)


class Threshold(nn.Module):
    """Class 1 where the first channel is bright, the more surely the further from grey."""

    def forward(self, images: Tensor, vectors: None) -> Tensor:
        score = 20.0 * (images[:, :1] - 0.5)
        return torch.cat([-score, score], dim=1)


def teacher() -> NetworkConditional:
    return NetworkConditional(MAP, (IMAGE,), Threshold())


def view(**entries: object) -> View:
    return View(ViewSpec.model_validate(entries))


def halves(count: int = 32) -> Tensor:
    """Images dark on one side of a slanted line and bright on the other."""
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    side = (rows + 2 * columns - 24).clamp(-1, 1) * 0.5 + 0.5
    return side.expand(count, 3, 16, 16).clone()


def test_void_places_add_nothing_to_a_probability_and_nothing_to_an_input() -> None:
    family, variable = FAMILIES["categorical"], Variable("s", "categorical", (2, 2), classes=3)
    logits = torch.randn(1, 3, 2, 2)
    distribution = family.distribution(variable, logits)
    places = logits.log_softmax(1)[0]
    value = torch.tensor([[[0, VOID], [2, 1]]])
    expected = places[0, 0, 0] + places[2, 1, 0] + places[1, 1, 1]
    assert torch.allclose(distribution.log_prob(value), expected)
    assert distribution.log_prob(torch.full((1, 2, 2), VOID)).item() == 0
    shown = family.as_input(variable, value)
    assert shown[0, :, 0, 1].tolist() == [0, 0, 0] and shown[0, :, 1, 0].tolist() == pytest.approx([0, 0, math.sqrt(3)])


def test_a_map_can_be_handed_over_as_its_most_likely_classes() -> None:
    mode = NetworkConditional(Variable("s", "categorical", (16, 16), 2, "mode"), (IMAGE,), Threshold())
    images = torch.rand(3, 3, 16, 16)
    assert torch.equal(mode.draw({"x": images}, 3), (images[:, 0] > 0.5).long())


def test_the_teachers_map_lies_over_the_strong_view() -> None:
    weak = view(shift=0.1, flip=True)
    strong = view(shift=0.1, rotate=40, scale=0.3, elastic=0.05, flip=True)
    strongly, maps, share = pseudo_label_maps(
        teacher(), "x", halves(), weak, strong, 0.5, torch.Generator().manual_seed(0)
    )
    known = maps != VOID
    assert 0.5 < known.float().mean() < 1 and share == 1
    right = (maps == (strongly[:, 0] > 0.5))[known].float().mean()
    assert right > 0.97, "but for the places on the line, which lie between two pixels"
    images = halves()
    unmoved = pseudo_label_maps(teacher(), "x", images, view(), view(noise=0.1), 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(unmoved[1], (images[:, 0] > 0.5).long()) and not torch.equal(unmoved[0], images)


def test_places_that_the_teacher_is_not_sure_of_are_void() -> None:
    images = torch.full((1, 3, 16, 16), 0.5)
    images[:, :, :, 8:] = 1.0
    _, maps, share = pseudo_label_maps(teacher(), "x", images, view(), view(), 0.9, torch.Generator())
    assert (maps[..., :8] == VOID).all() and (maps[..., 8:] == 1).all() and share == 0.5


def test_the_surest_places_of_every_class_are_taught_first() -> None:
    images = torch.full((2, 3, 16, 16), 0.1)  # the class of most places, surer than
    images[0, :, 4:6, 4:6] = torch.tensor([[0.55, 0.6], [0.65, 0.7]])  # the few of the other
    _, maps, share = pseudo_label_maps(teacher(), "x", images, view(), view(), 0.5, torch.Generator(), fraction=0.5)
    assert maps[0, 4:6, 4:6].tolist() == [[VOID, VOID], [1, 1]]
    assert share > 0.9, "equally sure places are taught together"
    _, maps, share = pseudo_label_maps(teacher(), "x", images, view(), view(), 0.99, torch.Generator(), fraction=0.5)
    assert maps[0, 4:6, 4:6].tolist() == [[VOID, VOID], [1, 1]], "the threshold holds beside"


def test_cutmix_pastes_what_the_teacher_said_of_the_other_image() -> None:
    images = torch.cat([torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)])
    draws = torch.Generator().manual_seed(0)
    strongly, maps, _ = pseudo_label_maps(teacher(), "x", images, view(), view(), 0.5, draws, cutmix=1.0)
    assert torch.equal(maps, strongly[:, 0].long()) and all(len(one.unique()) == 2 for one in maps)


def test_drawn_maps_are_as_frequent_as_the_sharpened_posterior_says() -> None:
    posterior = Categorical(probs=torch.tensor([0.6, 0.3, 0.1]).expand(4, 50, 50, 3))
    generator = torch.Generator().manual_seed(0)
    for temperature, expected in ((1.0, [0.6, 0.3, 0.1]), (0.5, [0.36 / 0.46, 0.09 / 0.46, 0.01 / 0.46])):
        drawn = sample_maps(posterior, temperature, generator)
        assert drawn.shape == (4, 50, 50) and drawn.dtype == torch.int64
        shares = torch.bincount(drawn.flatten(), minlength=3) / drawn.numel()
        assert torch.allclose(shares, torch.tensor(expected), atol=0.02)
    one, other = (sample_maps(posterior, 1.0, torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(one, other), "all draws are from the generator"


def test_places_are_taught_as_drawn_where_a_temperature_is_given() -> None:
    images = torch.full((8, 3, 16, 16), 0.51)  # class 1 has probability 0.6
    draws = torch.Generator().manual_seed(0)
    _, likely, _ = pseudo_label_maps(teacher(), "x", images, view(), view(), 0.0, draws)
    _, drawn, _ = pseudo_label_maps(teacher(), "x", images, view(), view(), 0.0, draws, temperature=1.0)
    assert (likely == 1).all() and 0.55 < drawn.float().mean() < 0.65
    _, void, _ = pseudo_label_maps(teacher(), "x", images, view(), view(), 0.7, draws, temperature=1.0)
    assert (void == VOID).all(), "the threshold holds for the most likely class"


def test_joint_views_move_images_and_maps_alike_and_colour_images_alone() -> None:
    images, maps = halves(), (halves()[:, 0] > 0.5).long()
    both = view(rotate=30, flip=True, scale=0.2, brightness=0.5, noise=0.05, cutout=0.3)
    moved, moved_maps = both.joint(images, maps, torch.Generator().manual_seed(3))
    assert torch.equal(moved, both(images, torch.Generator().manual_seed(3))), "the same draws as without maps"
    assert set(moved_maps.unique().tolist()) == {VOID, 0, 1} and moved_maps.dtype == torch.int64
    _, colour_alone = view(brightness=0.5, contrast=0.5, cutout=0.5).joint(images, maps, torch.Generator())
    assert torch.equal(colour_alone, maps)
    flipped, flipped_maps = view(flip=True).joint(images, maps, torch.Generator().manual_seed(0))
    mirrored = (flipped_maps == maps.flip(2)).all(dim=(1, 2))
    assert torch.equal(mirrored, (flipped - images.flip(3)).abs().amax(dim=(1, 2, 3)) < 1e-5)
    assert mirrored.any() and not mirrored.all()


def test_void_stays_void_when_it_moves() -> None:
    maps = torch.full((4, 16, 16), VOID)
    _, moved = view(shift=0.2, rotate=20).joint(halves(4), maps, torch.Generator())
    assert (moved == VOID).all()


def learner(views: StreamViews) -> tuple[MapTeacher, Player]:
    """A teacher of maps, and an encoder of two convolutions that learns from it."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 2, 1))

    class OfImages(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, images: Tensor, vectors: None) -> Tensor:
            found: Tensor = self.net(images)
            return found

    encoder = Player([NetworkConditional(MAP, (IMAGE,), OfImages())])
    return MapTeacher("s", views, Player([teacher()])), encoder


def gradient(views: StreamViews, progress: float = 0.0) -> Tensor:
    of_maps, encoder = learner(views)
    loss, _ = of_maps.loss(encoder, halves(4), torch.Generator().manual_seed(0), progress)
    return torch.cat([each.flatten() for each in torch.autograd.grad(loss, list(encoder.parameters()))])


def test_a_map_counts_as_much_as_the_weight_of_its_views() -> None:
    pair = StreamViews("x", weak=view(), strong=view(noise=0.1), threshold=0.5)
    full = gradient(pair)
    assert full.abs().max() > 1e-3
    torch.testing.assert_close(gradient(replace(pair, weight=Weight(0.25))), 0.25 * full)
    growing = Weight(0.5, start=0.2, full=0.6)
    for progress, share in ((0.3, 0.25), (0.6, 1.0)):
        torch.testing.assert_close(gradient(replace(pair, weight=growing), progress), 0.5 * share * full)


def test_all_that_a_stream_says_of_its_views_reaches_its_maps() -> None:
    views = StreamViews(
        "x", weak=view(shift=0.1), strong=view(noise=0.1), threshold=0.6, curriculum=0.5, temperature=0.7, cutmix=0.8
    )
    of_maps, encoder = learner(views)
    loss, parts = of_maps.loss(encoder, halves(4), torch.Generator().manual_seed(0), 0.25)
    assert views.weak is not None and views.strong is not None
    strongly, maps, confident = pseudo_label_maps(
        teacher(),
        "x",
        halves(4),
        views.weak,
        views.strong,
        threshold=0.6,
        generator=torch.Generator().manual_seed(0),
        fraction=0.55,
        cutmix=0.8,
        temperature=0.7,
    )
    assert torch.equal(parts["mask_rate"], confident) and 0.1 < confident < 0.9
    torch.testing.assert_close(loss, -encoder.log_prob({"x": strongly, "s": maps}, ["s"])["s"].mean())
    torch.testing.assert_close(parts["views"], loss.detach())
    assert loss.requires_grad and not parts["views"].requires_grad


def test_a_share_of_the_strong_views_gets_a_box() -> None:
    images = torch.arange(40.0).view(-1, 1, 1, 1).expand(-1, 3, 16, 16) / 40
    strongly, _, _ = pseudo_label_maps(
        teacher(), "x", images, view(), view(), 0.5, torch.Generator().manual_seed(0), cutmix=0.5
    )
    plain, _, _ = pseudo_label_maps(teacher(), "x", images, view(), view(), 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(plain, images), "none unless asked"
    patched = [len(one.unique()) == 2 for one in strongly]
    assert 8 <= sum(patched) <= 32  # 40 draws of a half: outside once in 5,000
    for own, following, one in zip(images, images.roll(-1, 0), strongly, strict=True):
        assert set(one.unique().tolist()) <= {own[0, 0, 0].item(), following[0, 0, 0].item()}


def test_classes_of_places_are_normalised_as_those_of_examples_are() -> None:
    """On CPUs in another layout, with the same log-probabilities, probabilities and gradients."""
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 5).requires_grad_()
    of_maps, of_rows = VoidableCategorical(logits=logits), VoidableCategorical(logits=logits.flatten(0, 2))
    weights = torch.randn(24, 5)
    for found, expected in ((of_maps.logits, of_rows.logits), (of_maps.probs, of_rows.probs)):
        assert found.shape == (2, 3, 4, 5)
        torch.testing.assert_close(found.flatten(0, 2), expected)
        gradients = [
            torch.autograd.grad((values * weights).sum(), logits, retain_graph=True)[0]
            for values in (found.flatten(0, 2), expected)
        ]
        torch.testing.assert_close(*gradients)
    torch.testing.assert_close(of_maps.probs, logits.softmax(dim=-1))
    torch.testing.assert_close(over_classes(F.softmax, logits), logits.softmax(dim=-1))
