"""Networks: shapes for odd sizes, unit signal at the start, a gradient for every weight, dropout."""

from __future__ import annotations

from functools import partial
from typing import get_args

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from semivae.nets import NETS, Conv, Deconv, Mlp, PooledResnet, Unet, ValidConv, ValidDeconv, WideResnet
from semivae.nets.layers import Tanh, channels_last, doubled, gradient_laid_last, mean_over_places
from semivae.recipe.networks import Net

CASES: dict[str, tuple[nn.Module, tuple[int, ...] | None, int, tuple[int, ...]]] = {
    "mlp on image and vector": (Mlp((1, 5, 7), 3, (4,)), (1, 5, 7), 3, (4,)),
    "mlp to image": (Mlp(None, 6, (2, 5, 7)), None, 6, (2, 5, 7)),
    "conv": (Conv((3, 28, 30), 0, (10,), channels=(8, 16)), (3, 28, 30), 0, (10,)),
    "conv with vector": (Conv((1, 9, 9), 5, (10,), channels=(8, 16)), (1, 9, 9), 5, (10,)),
    "conv with stem": (Conv((3, 29, 30), 0, (10,), channels=(8, 16), stem=4), (3, 29, 30), 0, (10,)),
    "deconv": (Deconv(None, 12, (6, 28, 30), channels=(32, 16)), None, 12, (6, 28, 30)),
    "mlp with skip": (Mlp(None, 6, (4,), hidden=(8,), activation="tanh", skip=True), None, 6, (4,)),
    "mlp without hidden layers": (Mlp((1, 5, 7), 3, (4,), hidden=()), (1, 5, 7), 3, (4,)),
    "valid_conv": (ValidConv((1, 28, 28), 0, (10,), width=4, hidden=32), (1, 28, 28), 0, (10,)),
    "valid_conv with vector": (ValidConv((3, 17, 30), 5, (10,), width=4, hidden=32), (3, 17, 30), 5, (10,)),
    "valid_deconv": (ValidDeconv(None, 12, (2, 28, 28), width=4), None, 12, (2, 28, 28)),
    "valid_deconv, odd": (ValidDeconv(None, 12, (2, 17, 30), width=4, activation="relu"), None, 12, (2, 17, 30)),
    "pooled_resnet": (PooledResnet((3, 32, 32), 0, (10,), 8, (8, 16, 16)), (3, 32, 32), 0, (10,)),
    "pooled_resnet, odd, with vector": (PooledResnet((1, 9, 13), 5, (4,), 4, (8, 16)), (1, 9, 13), 5, (4,)),
    "pooled_resnet without blocks": (PooledResnet((3, 16, 16), 0, (10,), 8, (16, 16), 0), (3, 16, 16), 0, (10,)),
    "wide_resnet": (WideResnet((3, 32, 32), 0, (10,), depth=10, width=1), (3, 32, 32), 0, (10,)),
}


def inputs(image_shape: tuple[int, ...] | None, vector_size: int, batch: int = 64) -> list[torch.Tensor | None]:
    torch.manual_seed(0)
    return [
        torch.randn(batch, *image_shape) if image_shape else None,
        torch.randn(batch, vector_size) if vector_size else None,
    ]


@pytest.mark.parametrize("case", CASES)
def test_shapes_signal_and_gradients(case: str) -> None:
    net, image_shape, vector_size, output_shape = CASES[case]
    given = inputs(image_shape, vector_size)
    outputs = net(*given)
    assert outputs.shape == (64, *output_shape)
    assert 0.03 < outputs.std().item() < 5.0, "a fresh network neither dies nor explodes"
    features = net.features(*given)  # type: ignore[operator]
    assert features.shape[0] == 64 and features.dim() == 2
    # zero-initialised residual branches block the gradient of what lies before them only for the first step
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.01)
    net(*given).square().sum().backward()
    silent = [name for name, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert silent == []


def test_one_sample_does_not_change_another() -> None:
    """No batch statistics: the two players' batches differ."""
    for case, (net, image_shape, vector_size, _) in CASES.items():
        given = inputs(image_shape, vector_size, 4)
        alone = net(*(None if part is None else part[:1] for part in given))
        assert torch.allclose(net(*given)[:1], alone, atol=1e-5), case


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
def test_channels_lie_last_in_every_layer(precision: torch.dtype) -> None:
    """Those of grey images, whose strides fit either layout, too: on CPUs the other one is far slower."""
    cases: dict[str, tuple[nn.Module, tuple[int, ...] | None, int]] = {
        name: (net, image_shape, vector_size) for name, (net, image_shape, vector_size, _) in CASES.items()
    }
    cases["wide_resnet of grey images"] = WideResnet((1, 8, 8), 0, (10,), depth=10, width=1), (1, 8, 8), 0
    cases["unet of grey images"] = Unet((1, 16, 16), 0, (3, 16, 16), channels=(8, 8)), (1, 16, 16), 0
    for case, (net, image_shape, vector_size) in cases.items():
        otherwise: list[str] = []

        def look(
            name: str, module: nn.Module, given: object, found: torch.Tensor, otherwise: list[str] = otherwise
        ) -> None:
            if found.dim() == 4 and found.shape[1] > 1 and found.stride(1) != 1:
                otherwise.append(f"{name}: {type(module).__name__}")

        hooks = [
            module.register_forward_hook(partial(look, name))
            for name, module in net.named_modules()
            if not isinstance(module, nn.ModuleList) and module is not net
        ]
        with torch.autocast("cpu", precision, enabled=precision == torch.bfloat16):
            net(*inputs(image_shape, vector_size, 4))
        assert otherwise == [], case
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize("shape", [(4, 1, 5, 7), (1, 1, 5, 7), (4, 3, 5, 7)])
def test_channels_last_changes_no_value_and_no_gradient(shape: tuple[int, ...]) -> None:
    images = torch.randn(shape, requires_grad=True)
    laid = channels_last(images)
    torch.testing.assert_close(laid, images, rtol=0, atol=0)
    weights = torch.randn(shape)
    (gradient,) = torch.autograd.grad((laid * weights).sum(), images)
    torch.testing.assert_close(gradient, weights, rtol=0, atol=0)
    turned = torch.randn(shape).transpose(2, 3)
    torch.testing.assert_close(channels_last(turned), turned, rtol=0, atol=0)


def test_the_mean_over_places_and_its_gradient_lie_as_the_images_do() -> None:
    images = channels_last(torch.randn(4, 6, 5, 3)).requires_grad_()
    found = mean_over_places(images)
    torch.testing.assert_close(found, images.mean(dim=(2, 3)))
    weights = torch.randn(4, 6)
    gradients: list[torch.Tensor] = []
    doubled = images * 2.0
    doubled.register_hook(gradients.append)
    (mean_over_places(doubled) * weights).sum().backward()
    torch.testing.assert_close(gradients[0], (weights / 15.0)[:, :, None, None].expand_as(images))
    assert gradients[0].stride(1) == 1 and gradients[0].stride(3) != 1


FEWER = {
    **{name: case for name, case in CASES.items() if case[1] is not None and case[2]},
    "mlp with skip, on image and vector": (Mlp((1, 5, 7), 3, (4,), (8,), skip=True), (1, 5, 7), 3, (4,)),
    "mlp without hidden layers, with vector": (Mlp((1, 5, 7), 3, (4,), ()), (1, 5, 7), 3, (4,)),
    "wide_resnet with vector": (WideResnet((1, 8, 8), 5, (4,), depth=10, width=1), (1, 8, 8), 5, (4,)),
}


@pytest.mark.parametrize("case", FEWER)
def test_each_of_fewer_images_goes_with_several_vectors(case: str) -> None:
    net, image_shape, vector_size, _ = FEWER[case]
    assert net.takes_fewer_images
    (images, _), (_, vectors) = inputs(image_shape, vector_size, 4), inputs(None, vector_size, 12)
    assert images is not None
    net = net.eval()
    torch.testing.assert_close(net(images, vectors), net(images.repeat_interleave(3, 0), vectors), rtol=1e-4, atol=1e-5)


def test_a_compiled_network_takes_fewer_images_too() -> None:
    net = Mlp((1, 5, 7), 3, (4,), (8,)).eval()
    compiled = torch.compile(net, backend="eager")
    (images, _), (_, vectors) = inputs((1, 5, 7), 3, 4), inputs(None, 3, 12)
    torch.testing.assert_close(compiled(images, vectors), net(images, vectors))


DROPPING: dict[str, dict[str, object]] = {
    "mlp": {"hidden": [64]},
    "conv": {"channels": [8], "hidden": 64},
    "wide_resnet": {"depth": 10, "width": 1},
    "pooled_resnet": {"stem": 8, "channels": [8, 64]},
    "unet": {"channels": [8, 8], "hidden": 64},
    "torchvision": {"model": "shufflenet_v2_x0_5", "weights": "none", "size": 32, "train": "all"},
    "pretrained_unet": {"body": {"name": "torchvision", "model": "shufflenet_v2_x0_5", "size": 32}},
}
ON_BODIES = {"timm", "run"}  # whose heads are those of `torchvision`


def test_every_network_with_dropout_is_tested() -> None:
    fields = {spec.model_fields["name"].annotation: spec.model_fields for spec in get_args(get_args(Net)[0])}
    assert {get_args(name)[0] for name, of_spec in fields.items() if "dropout" in of_spec} == {
        *DROPPING,
        *ON_BODIES,
    }


@pytest.mark.parametrize("name", DROPPING)
def test_dropout_drops_in_training_alone_and_the_more_the_larger(name: str) -> None:
    output_shape = (6, 16, 16) if name.endswith("unet") else (6,)
    images, _ = inputs((3, 16, 16), 0, batch=8)

    def built(dropout: float) -> nn.Module:
        torch.manual_seed(0)
        spec = TypeAdapter(Net).validate_python({"name": name, "dropout": dropout, **DROPPING[name]})
        net = NETS[name]((3, 16, 16), 0, output_shape, **spec.model_dump(exclude={"name"}))
        with torch.no_grad():  # residual branches start at zero
            for parameter in net.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
        return net

    with torch.no_grad():
        plain = built(0.0)(images, None)
        noise = []
        for dropout in (0.0, 0.1, 0.5):
            net = built(dropout)
            noise.append((net(images, None) - net(images, None)).std().item())
            assert torch.equal(net.eval()(images, None), plain)
    assert 0.0 == noise[0] < noise[1] < noise[2]


def test_the_papers_shapes() -> None:
    """The sides that Flach et al. pass through: 28 28 27 13 11 9 4 1, and back without the first."""

    def sides(net: nn.Module, *given: torch.Tensor | None) -> list[int]:
        found: list[int] = []
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.register_forward_hook(lambda _, __, output: found.append(output.shape[2]))
        net(*given)
        return found

    assert sides(ValidConv((1, 28, 28), 0, (10,)), torch.zeros(1, 1, 28, 28), None) == [28, 27, 13, 11, 9, 4]
    down = ValidDeconv(None, 100, (1, 28, 28))
    assert down.grid == (128, 4, 4)
    assert sides(down, None, torch.zeros(1, 100)) == [9, 11, 13, 27, 28, 28]


def test_valid_conv_on_signs_is_the_papers_convolution_on_bits() -> None:
    """Weights of a network that reads 0 and 1, padded with 0, carry over to one that reads -1 and +1, borders too."""
    paper = nn.Conv2d(1, 4, 3, padding=1)
    net = ValidConv((1, 28, 28), 0, (2,), width=4, hidden=8)
    first = net.body[0]
    assert isinstance(first, nn.Conv2d) and first.bias is not None and paper.bias is not None
    with torch.no_grad():
        first.weight.copy_(paper.weight / 2)
        first.bias.copy_(paper.bias + paper.weight.sum((1, 2, 3)) / 2)
    found: list[torch.Tensor] = []
    first.register_forward_hook(lambda _, __, output: found.append(output.clone()))
    bits = torch.rand(2, 1, 28, 28).round()
    net(2 * bits - 1, None)
    torch.testing.assert_close(found[0], paper(bits))


def test_doubled_images_and_the_gradient_of_a_part_of_more_channels() -> None:
    images = channels_last(torch.arange(24.0).view(1, 2, 3, 4)).requires_grad_()
    skipped = torch.zeros(1, 3, 6, 8)
    twice = doubled(images)
    found: list[torch.Tensor] = []
    twice.register_hook(found.append)
    joined = torch.cat([twice, skipped], dim=1)
    assert torch.equal(joined[0, 0, :4, :4], torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1], [4, 4, 5, 5], [4, 4, 5, 5]]))
    weights = channels_last(torch.randn(1, 5, 6, 8))
    (joined * weights).sum().backward()
    expected = weights[:, :2].unflatten(3, (4, 2)).unflatten(2, (3, 2)).sum(dim=(3, 5))
    torch.testing.assert_close(images.grad, expected)
    assert found[0].is_contiguous(memory_format=torch.channels_last)


def test_flattened_images_get_a_gradient_that_lies_as_they_do() -> None:
    images = channels_last(torch.randn(2, 3, 4, 5)).requires_grad_()
    inner = gradient_laid_last(images * 1.0)
    found: list[torch.Tensor] = []
    inner.register_hook(found.append)
    inner.flatten(1).square().sum().backward()
    torch.testing.assert_close(images.grad, 2.0 * images.detach())
    assert found[0].stride() == images.stride()


@pytest.mark.parametrize("inplace", [False, True])
def test_quick_tanh_is_tanh(inplace: bool) -> None:
    values = torch.linspace(-12.0, 12.0, 4001).requires_grad_()
    outputs = Tanh(inplace)(values * 1.0)
    assert (outputs - values.tanh()).abs().max() < 3e-7
    outputs.square().sum().backward()
    expected = 2.0 * values.tanh() * (1.0 - values.tanh().square())
    torch.testing.assert_close(values.grad, expected, rtol=1e-4, atol=1e-6)
    kept = values.detach()
    Tanh()(kept)
    assert kept[0] == -12.0, "only where it is asked for does it write over its input"


@pytest.mark.parametrize("channels_lie_last", [False, True])
def test_quick_tanh_in_bfloat16_is_tanh_and_keeps_the_layout(channels_lie_last: bool) -> None:
    values = torch.linspace(-12.0, 12.0, 2 * 3 * 20 * 20).view(2, 3, 20, 20).bfloat16()
    if channels_lie_last:
        values = channels_last(values)
    values.requires_grad_()
    outputs = Tanh()(values)
    assert outputs.dtype == torch.bfloat16 and outputs.stride() == values.stride()
    exact = values.float().tanh()
    torch.testing.assert_close(outputs.float(), exact, rtol=2**-8, atol=1e-7)
    outputs.float().sum().backward()
    assert values.grad is not None
    torch.testing.assert_close(values.grad.float(), 1.0 - exact.square(), rtol=0.01, atol=0.005)


def test_quick_tanh_in_bfloat16_takes_every_second_number() -> None:
    values = torch.linspace(-3.0, 3.0, 9).bfloat16()[::2].requires_grad_()
    outputs = Tanh()(values)
    torch.testing.assert_close(outputs, values.tanh(), rtol=2**-7, atol=1e-7)
    outputs.sum().backward()
    assert values.grad is not None
    torch.testing.assert_close(values.grad, 1.0 - values.tanh().square(), rtol=0.01, atol=0.005)


def test_a_small_gain_scales_the_first_weights_of_the_last_layer_alone() -> None:
    torch.manual_seed(0)
    usual = Mlp(None, 6, (4,), hidden=(8,))
    torch.manual_seed(0)
    small = Mlp(None, 6, (4,), hidden=(8,), gain=0.1)
    torch.testing.assert_close(small.head.weight, 0.1 * usual.head.weight)
    torch.testing.assert_close(small.body.state_dict(), usual.body.state_dict())
