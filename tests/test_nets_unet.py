"""The U-Net: any size that its levels divide, local and global paths, no statistics of the batch."""

from __future__ import annotations

import pytest
import torch

from semivae.nets import Unet
from semivae.nets.body_unet import PretrainedUnet


def unet(**options: object) -> Unet:
    torch.manual_seed(0)
    return Unet((4, 16, 24), 5, (6, 16, 24), channels=(8, 16), hidden=12, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("patch, down", [(1, False), (2, False), (2, True)])
def test_shapes_signal_and_gradients(patch: int, down: bool) -> None:
    net = unet(patch=patch, modulate_down=down)
    images, vectors = torch.randn(8, 4, 16, 24), torch.randn(8, 5)
    outputs = net(images, vectors)
    assert outputs.shape == (8, 6, 16, 24) and 0.03 < outputs.std().item() < 5.0
    assert net.features(images, vectors).shape == (8, 12)
    assert net(torch.randn(1, 4, 8 * patch, 4 * patch), vectors[:1]).shape == (1, 6, 8 * patch, 4 * patch)
    outputs.square().sum().backward()
    assert [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()] == []
    assert torch.allclose(net(images[:1], vectors[:1]), outputs[:1], atol=1e-5), "one sample does not change another"


def test_the_vector_reaches_every_place_and_a_pixel_mostly_its_own() -> None:
    net = unet()
    images, vectors = torch.randn(1, 4, 16, 24), torch.randn(1, 5)
    with torch.no_grad():
        plain = net(images, vectors)
        by_vector = (net(images, vectors + 1) - plain).abs().sum(dim=1)[0]
        changed = images.clone()
        changed[0, :, 8, 12] += 1
        by_pixel = (net(changed, vectors) - plain).abs().sum(dim=1)[0]
    assert by_vector.min() > 0
    assert by_pixel[7:10, 11:14].mean() > 10 * by_pixel.mean()


def test_a_fresh_network_already_shows_its_vector() -> None:
    net = unet()
    images, vectors = torch.randn(1, 4, 16, 24).expand(64, -1, -1, -1), torch.randint(2, (64, 5)) * 2.0 - 1.0
    with torch.no_grad():
        shown = net(images, vectors).flatten(1)
    spread = shown.std(dim=0).mean()
    assert 0.1 < spread < 0.5, "codes that cannot be read at the start collapse"
    found = torch.linalg.lstsq(torch.cat([shown, torch.ones(64, 1)], dim=1), vectors).solution
    read = torch.cat([shown, torch.ones(64, 1)], dim=1) @ found
    assert torch.equal(read.sign(), vectors)


def pretrained(shape: tuple[int, int, int] = (3, 64, 48), **options: object) -> PretrainedUnet:
    torch.manual_seed(0)
    body = {"name": "torchvision", "model": "shufflenet_v2_x0_5"} | options
    return PretrainedUnet(shape, 5, (6, *shape[1:]), body, width=4, hidden=12, train="all", rate=1.0)


@pytest.mark.parametrize(("shape", "size"), [((3, 64, 48), None), ((1, 33, 64), None), ((3, 40, 40), 64)])
def test_on_a_body_every_size_gives_a_map_of_that_size(shape: tuple[int, int, int], size: int | None) -> None:
    net = pretrained(shape, size=size)
    images, vectors = torch.rand(2, *shape), torch.randn(2, 5)
    outputs = net(images, vectors)
    assert outputs.shape == (2, 6, *shape[1:])
    assert net.features(images, vectors).shape == (2, 12)
    torch.testing.assert_close(net(images[:1], vectors[:1]), outputs[:1], rtol=1e-4, atol=1e-5)


def test_on_a_body_every_new_weight_and_every_used_stage_gets_a_gradient() -> None:
    net = pretrained()
    net(torch.rand(2, 3, 64, 48), torch.randn(2, 5)).square().sum().backward()
    silent = {name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()}
    assert silent == set()


def test_on_a_body_the_vector_reaches_every_place() -> None:
    net, images, vectors = pretrained(), torch.rand(1, 3, 64, 48), torch.randn(1, 5)
    with torch.no_grad():
        assert ((net(images, vectors + 1) - net(images, vectors)).abs().sum(dim=1) > 0).all()


def test_vectors_reach_the_way_down_where_they_are_asked_to() -> None:
    """Of the two grids on the way down, the finest is the first that they reach."""
    images, vectors = torch.randn(1, 4, 16, 24), torch.randn(1, 5)
    for down in (False, True):
        net = unet(modulate_down=down)
        with torch.no_grad():
            one, other = (net._down(net._patches(images), given)[0][0] for given in (vectors, vectors + 1))
        assert torch.equal(one, other) is not down
