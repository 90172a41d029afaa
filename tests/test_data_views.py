"""Views: each entry does what its name says and no more, draws depend on the generator alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from semivae.data import views
from semivae.data.views import View
from semivae.errors import DataError
from semivae.recipe.schema import ViewSpec


def view(x: Tensor, seed: int = 0, **entries: object) -> Tensor:
    return View(ViewSpec.model_validate(entries))(x, torch.Generator().manual_seed(seed))


def spot(height: int = 21, width: int = 21, row: int = 10, column: int = 10, count: int = 64) -> Tensor:
    """Images with a blurred bright spot, whose place can be measured as a centre of mass."""
    rows, columns = torch.arange(height).view(-1, 1), torch.arange(width).view(1, -1)
    one = torch.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 4.0)
    return one.expand(count, 1, height, width).clone()


def centre(x: Tensor) -> tuple[Tensor, Tensor]:
    mass = x.sum(dim=(1, 2, 3))
    rows = (x.sum(dim=(1, 3)) * torch.arange(x.shape[2])).sum(dim=1) / mass
    columns = (x.sum(dim=(1, 2)) * torch.arange(x.shape[3])).sum(dim=1) / mass
    return rows, columns


def test_no_entry_changes_nothing() -> None:
    x = torch.rand(3, 1, 5, 5)
    assert view(x) is x


def test_the_same_generator_draws_the_same_view_and_every_image_its_own() -> None:
    x = torch.rand(1, 3, 12, 12).expand(8, 3, 12, 12)
    entries = {"shift": 0.2, "rotate": 30, "scale": 0.3, "shear": 10, "flip": True, "brightness": 0.3, "contrast": 0.3}
    entries |= {"saturation": 0.3, "noise": 0.1, "cutout": 0.3}
    one = view(x, 1, **entries)
    assert torch.equal(one, view(x, 1, **entries)) and not torch.equal(one, view(x, 2, **entries))
    assert len({tuple(image.flatten().tolist()) for image in one}) == 8
    assert one.shape == x.shape and one.dtype == x.dtype and one.min() >= 0 and one.max() <= 1


def test_shift_moves_by_at_most_its_share_of_the_side() -> None:
    rows, columns = centre(view(spot(21, 31, 10, 15, 400), shift=0.2))
    assert 0.9 * 4.2 < (rows - 10).abs().max() <= 4.21 and 0.9 * 6.2 < (columns - 15).abs().max() <= 6.21
    assert abs((rows - 10).mean()) < 0.5  # to both sides: 0.5 is four standard errors


def test_rotation_keeps_the_distance_from_the_centre_also_where_the_image_is_no_square() -> None:
    rows, columns = centre(view(spot(21, 41, 10, 26), rotate=60))
    rows, columns = rows - 10, columns - 20
    assert torch.allclose((rows**2 + columns**2).sqrt(), torch.full_like(rows, 6.0), atol=0.05)
    angles = torch.atan2(rows, columns).rad2deg().abs()
    assert 50 < angles.max() <= 61


def test_scale_and_shear_move_what_is_off_the_centre() -> None:
    rows, columns = centre(view(spot(row=10, column=14), scale=0.3))
    assert torch.allclose(rows, torch.full_like(rows, 10.0), atol=0.05)
    assert 2.7 < (columns - 10).min() < 3.2 and 4.8 < (columns - 10).max() < 5.3
    rows, columns = centre(view(spot(row=14, column=10), shear=20))
    assert torch.allclose(rows, torch.full_like(rows, 14.0), atol=0.05)
    assert 1.2 < (columns - 10).abs().max() < 1.5  # 4 tan 20 degrees is 1.46


def test_flip_mirrors_half_of_the_images_and_changes_nothing_else() -> None:
    x = torch.rand(400, 3, 6, 5)
    out = view(x, flip=True)
    mirrored = torch.tensor([torch.allclose(a, b.flip(-1), atol=1e-5) for a, b in zip(out, x, strict=True)])
    same = torch.tensor([torch.allclose(a, b, atol=1e-5) for a, b in zip(out, x, strict=True)])
    assert (mirrored ^ same).all() and 150 < mirrored.sum() < 250  # five standard deviations


def test_outside_is_black_for_grey_images_and_the_mirror_image_for_colour() -> None:
    assert view(torch.ones(16, 1, 8, 8), shift=0.5).min() == 0
    assert torch.allclose(view(torch.ones(16, 3, 8, 8), shift=0.5, rotate=90), torch.ones(()))


def test_brightness_contrast_and_saturation() -> None:
    x = torch.full((200, 3, 4, 4), 0.5)
    factors = view(x, brightness=0.4)[:, 0, 0, 0] / 0.5
    assert 0.6 <= factors.min() < 0.65 and 1.35 < factors.max() <= 1.4
    assert torch.allclose(view(x, contrast=0.9, saturation=0.9), x, atol=1e-6)  # one grey has no contrast, no colour
    x = torch.rand(50, 3, 4, 4) * 0.2 + 0.4
    grey = (x * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1)
    out = view(x, saturation=0.8)
    assert torch.allclose((out * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1), grey, atol=1e-5)
    out = view(x, contrast=0.8)
    assert out.std(dim=(1, 2, 3)).min() < 0.5 * x.std() < 1.5 * x.std() < out.std(dim=(1, 2, 3)).max()


def test_gamma_and_shade_light_images_differently() -> None:
    x = torch.full((200, 3, 8, 8), 0.5)
    exponents = view(x, gamma=0.5)[:, 0, 0, 0].log() / math.log(0.5)
    assert math.exp(-0.5) <= exponents.min() < 0.65 and 1.55 < exponents.max() <= math.exp(0.5) + 1e-5
    light = (view(x.repeat(1, 1, 4, 4), shade=0.2) / 0.5).log()
    assert torch.equal(light[:, 0], light[:, 1]) and 0.1 < light.std() < 0.25
    assert (light[..., 1:] - light[..., :-1]).abs().max() < 0.2 * light.abs().max(), "smoothly"


def test_noise_has_its_standard_deviation_and_is_all_that_a_table_takes() -> None:
    table = torch.full((500, 40), 5.0)
    assert abs(view(table, noise=0.3).std() - 0.3) < 0.01 and view(table, noise=0.3).mean() > 4.9  # 20,000 draws
    with pytest.raises(DataError, match=r"rows of a table \(here \[500, 40\]\) can only add noise"):
        view(table, noise=0.3, shift=0.1)


@pytest.mark.parametrize(("channels", "fill"), [(1, 0.0), (3, 0.5)])
def test_cutout_blanks_one_square_that_may_reach_over_the_edge(channels: int, fill: float) -> None:
    out = view(torch.ones(300, channels, 12, 16), cutout=0.5)
    blank = (out == fill).all(dim=1)
    assert ((out == 1) | (out == fill)).all()
    heights, widths = blank.any(dim=2).sum(dim=1), blank.any(dim=1).sum(dim=1)
    assert torch.equal(blank.sum(dim=(1, 2)), heights * widths)
    assert heights.max() == 6 and widths.max() == 6 and heights.min() == 3 and widths.min() == 3
    assert blank.any(dim=0).all()  # everywhere in the image


def test_elastic_bends_smoothly_and_no_further_than_it_says() -> None:
    """On an image whose grey level is the column, the change of level is the displacement."""
    columns = torch.linspace(0.0, 1.0, 40).expand(32, 1, 40, 40)
    bent = View(ViewSpec(elastic=0.05))(columns, torch.Generator().manual_seed(0))
    moved = (bent - columns)[:, :, 5:-5, 5:-5]
    assert 0.02 < moved.abs().max() < 0.05 * 1.3  # interpolation may overshoot a little
    assert moved.diff(dim=2).abs().max() < 0.02, "neighbours move together"
    assert not torch.allclose(moved[0], moved[1])


def test_a_view_first_taken_in_inference_lets_gradients_through_later() -> None:
    views._luma.cache_clear()
    images = torch.rand(2, 3, 8, 8)
    with torch.inference_mode():
        expected = view(images, rotate=10, contrast=0.2, saturation=0.2)
    found = view(images.requires_grad_(), rotate=10, contrast=0.2, saturation=0.2)
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    assert images.grad is not None


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (views._constants.__wrapped__, (((0.0, 1.0),),)),
        (views._fields.__wrapped__, (4, 4, True)),
        (views._luma.__wrapped__, ()),
        (views._pixels.__wrapped__, (4, 0.0)),
    ],
)
def test_what_is_kept_is_no_tensor_of_inference(
    make: Callable[..., Tensor | tuple[Tensor, ...]], arguments: tuple[object, ...]
) -> None:
    with torch.inference_mode():
        made = make(*arguments, torch.device("cpu"), torch.float32)
    assert not any(tensor.is_inference() for tensor in (made if isinstance(made, tuple) else [made]))


def test_views_are_as_exact_within_autocast() -> None:
    x = torch.rand(4, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    exact = view(x, shift=0.1, rotate=10, scale=0.1, flip=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(view(x, shift=0.1, rotate=10, scale=0.1, flip=True), exact)
