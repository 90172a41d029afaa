"""Which networks fit between which shapes: what is let through runs, and all else is refused with a reason."""

from __future__ import annotations

import itertools

import pytest
import torch
from pydantic import TypeAdapter

from semivae.errors import RecipeError
from semivae.nets import NETS
from semivae.recipe import Recipe, change_recipe, read_recipe
from semivae.recipe.fitting import Shape, check_fit
from semivae.recipe.networks import Net
from semivae.scenario.build import build_players
from semivae.scenario.shapes import has_shapes, net_mistakes

SMALL: dict[str, dict[str, object]] = {  # every network, as narrow as it goes
    "mlp": {"hidden": [4]},
    "conv": {"channels": [2, 2], "hidden": 4},
    "wide_resnet": {"depth": 10, "width": 1},
    "pooled_resnet": {"stem": 2, "channels": [2, 2]},
    "valid_conv": {"width": 2, "hidden": 4},
    "valid_deconv": {"width": 2},
    "deconv": {"channels": [2, 2]},
    "unet": {"channels": [2, 2, 2], "hidden": 4},
    "torchvision": {"model": "shufflenet_v2_x0_5", "weights": "none", "hidden": [4]},
    "timm": {"model": "test_efficientnet", "weights": "none", "hidden": [4]},
    "run": {"path": "runs/other", "network": {"name": "conv", "channels": [2], "hidden": 4}, "family": "bernoulli"},
    "pretrained_unet": {"body": {"name": "torchvision", "model": "shufflenet_v2_x0_5"}, "width": 4, "hidden": 4},
}
IMAGES: tuple[Shape | None, ...] = (None, (1, 8, 8), (3, 12, 6), (2, 16, 20), (1, 1, 1), (3, 32, 40))
OUTPUTS: tuple[Shape, ...] = ((5,), (2, 8, 8), (2, 16, 20), (3, 12, 6), (1, 1, 1), (2, 32, 40))


@pytest.fixture(autouse=True)
def _timm(request: pytest.FixtureRequest) -> None:
    if getattr(request.node, "callspec", None) and request.node.callspec.params.get("name") == "timm":
        pytest.importorskip("timm")


def net_of(name: str, **options: object) -> Net:
    net: Net = TypeAdapter(Net).validate_python({"name": name, **options})
    return net


@pytest.mark.parametrize("name", [name for name in NETS if name != "run"])  # that one is given a network
def test_what_fits_runs(name: str) -> None:
    net, fitting = net_of(name, **SMALL[name]), 0
    for image, output, vectors in itertools.product(IMAGES, OUTPUTS, (0, 3)):
        try:
            check_fit(net, image, output)
        except ValueError:
            continue
        if image is None and not vectors:
            continue  # a factor that is given nothing has no network
        module = NETS[name](image, vectors, output, **net.model_dump(exclude={"name"}))
        given = (None if image is None else torch.rand(2, *image), torch.rand(2, vectors) if vectors else None)
        assert module(*given).shape == (2, *output), (image, vectors, output)
        fitting += 1
    assert fitting


@pytest.mark.parametrize(
    ("name", "image", "output", "message"),
    [
        ("conv", None, (10,), "net conv reads an image, but no given variable is one; use mlp or deconv"),
        ("wide_resnet", (3, 32, 32), (3, 32, 32), "net wide_resnet puts out a vector, but the variable has rows and"),
        ("pooled_resnet", None, (10,), "net pooled_resnet reads an image, but no given variable is one"),
        ("pooled_resnet", (3, 32, 32), (3, 32, 32), "net pooled_resnet puts out a vector, but the variable has rows"),
        ("deconv", (3, 32, 32), (3, 32, 32), "net deconv reads vectors, but an image is given"),
        ("deconv", None, (10,), "net deconv puts out an image .*, and the variable is none; use mlp"),
        ("deconv", None, (1, 3, 2), "net deconv doubles the grid 3 times; for this image 2 stages are enough"),
        ("valid_conv", (1, 8, 8), (10,), "net valid_conv needs images of at least 16 pixels a side"),
        ("valid_deconv", None, (1, 8, 8), "net valid_deconv needs images of at least 16 pixels a side"),
        ("valid_deconv", (1, 28, 28), (1, 28, 28), "net valid_deconv reads vectors, but an image is given"),
        ("valid_deconv", None, (10,), "net valid_deconv puts out an image .*, and the variable is none; use mlp"),
        ("unet", None, (6, 16, 16), "net unet reads an image, but no given variable is one"),
        ("unet", (4, 16, 16), (6,), "net unet puts out an image or a map, and the variable is none"),
        ("unet", (4, 16, 16), (6, 8, 8), r"net unet keeps the size, but \[16, 16\] are given for \[8, 8\]"),
        ("unet", (4, 18, 16), (6, 18, 16), "needs sides that are multiples of 4, not"),
        ("torchvision", None, (10,), "net torchvision reads an image, but no given variable is one"),
        ("timm", (2, 64, 64), (10,), "net timm reads one image in grey or in colour, and 2 channels are given"),
        ("torchvision", (3, 28, 28), (10,), r"of at least 32 pixels a side, not \[28, 28\]; say a size"),
        ("pretrained_unet", (3, 64, 64), (6,), "net pretrained_unet puts out an image or a map, and the variable is"),
        ("pretrained_unet", (3, 64, 64), (6, 32, 32), r"keeps the size, but \[64, 64\] are given for \[32, 32\]"),
        ("pretrained_unet", (3, 16, 16), (6, 16, 16), "net pretrained_unet needs images of at least 32 pixels a side"),
        ("timm", (3, 64, 64), (6, 64, 64), "net timm puts out a vector, but the variable has rows and"),
    ],
)
def test_what_does_not_fit(name: str, image: Shape | None, output: Shape, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_fit(
            net_of(name, **(SMALL[name] if name in ("torchvision", "timm", "pretrained_unet") else {})), image, output
        )


def first_refusal(recipe: Recipe) -> str | None:
    try:
        build_players(recipe)
    except RecipeError as error:
        return str(error)
    return None


@pytest.mark.parametrize("shipped", ["digits_50labels", "mnist_ladder_100labels"])
@pytest.mark.parametrize("name", NETS)
def test_check_finds_what_building_would_refuse(shipped: str, name: str) -> None:
    """In each place where a recipe asks for a network."""
    recipe = read_recipe(shipped)
    places = [
        f"{player}.{factor}.net"
        for player, factors in (("encoder", recipe.encoder), ("decoder", recipe.decoder))
        for factor, spec in factors.items()
        if hasattr(spec, "net")
    ]
    for place in [*places, *(["bottom_up"] if recipe.bottom_up is not None else [])]:
        changed = change_recipe(recipe, {place: {"name": name, **SMALL[name]}})
        assert net_mistakes(changed)[:1] == [message for message in [first_refusal(changed)] if message]


def test_check_finds_every_mistake_at_once() -> None:
    changes = {
        "encoder.y.net": {"name": "deconv"},
        "decoder.x.net": {"name": "conv"},
    }
    recipe = change_recipe(read_recipe("digits_50labels"), changes)
    found = net_mistakes(recipe)
    assert [message.partition(":")[0] for message in found] == ["encoder.y.net", "decoder.x.net"]
    assert first_refusal(recipe) == found[0]


def test_one_network_reads_images_of_one_size() -> None:
    changes = {"variables.h.shape": [1, 4, 4], "encoder.y.given": ["x", "h"]}
    recipe = read_recipe("digits_50labels").model_copy()
    order = {"h": recipe.encoder["h"].model_copy(update={"given": ("x",)}), "y": recipe.encoder["y"]}
    changed = change_recipe(recipe.model_copy(update={"encoder": order}), changes)
    assert any("x has sides [8, 8] and h has [4, 4]; one network reads" in text for text in net_mistakes(changed))


def test_a_map_whose_size_only_the_data_know_is_no_single_class() -> None:
    recipe = read_recipe("faces_masks")
    assert has_shapes(recipe)
    assert not has_shapes(change_recipe(recipe, {"variables.s.shape": None}))
    assert not has_shapes(change_recipe(recipe, {"variables.x.shape": None}))
