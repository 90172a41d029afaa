"""Bodies: features, normalisation, sizes; weights from files, and every way in which they can be wrong."""

from __future__ import annotations

import importlib.util
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from semivae.nets.bodies import Body, build_body, load_pretrained
from semivae.nets.body import scaled_sides
from semivae.recipe.bodies import TimmBody, TorchvisionBody

NEEDS_TIMM = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")
SMALL = "shufflenet_v2_x0_5"  # the smallest of torchvision


def torchvision_body(model: str = SMALL, weights: str = "none", size: int | None = None) -> Body:
    return build_body(TorchvisionBody(name="torchvision", model=model, weights=weights, size=size))


def timm_body(model: str, weights: str = "none", size: int | None = None) -> Body:
    return build_body(TimmBody(name="timm", model=model, weights=weights, size=size))


@pytest.mark.parametrize(
    "model",
    ["resnet18", "efficientnet_b0", "convnext_tiny", "mobilenet_v3_small", "regnet_y_400mf", "vit_b_16", "swin_t"],
)
def test_the_usual_families_of_torchvision_give_their_number_of_features(model: str) -> None:
    with torch.device("meta"):  # shapes alone
        body = torchvision_body(model)
        features = body(torch.rand(2, 3, 64, 64))
    assert features.shape == (2, body.features)
    assert body.size == 224


@NEEDS_TIMM
@pytest.mark.parametrize(
    "model", ["resnet18", "tf_efficientnet_lite0", "mobilenetv3_small_050", "vit_tiny_patch16_224"]
)
def test_models_of_timm_give_their_number_of_features(model: str) -> None:
    with torch.device("meta"):
        body = timm_body(model)
        features = body(torch.rand(2, 1, 64, 64))
    assert features.shape == (2, body.features)


def test_pictures_are_normalised_as_the_model_was_trained_and_grey_ones_are_repeated() -> None:
    body = torchvision_body()
    images = torch.rand(2, 3, 32, 48)
    preset = models.get_model_weights(SMALL).DEFAULT.transforms()
    mean, deviation = (torch.tensor(each).view(3, 1, 1) for each in (preset.mean, preset.std))
    torch.testing.assert_close(body(images), body.network((images - mean) / deviation))
    grey = images[:, :1]
    torch.testing.assert_close(body(grey), body(grey.repeat(1, 3, 1, 1)))


def test_statistics_and_outputs_do_not_change_in_training() -> None:
    body = torchvision_body("mobilenet_v2")  # with batch norm and dropout
    images = torch.rand(4, 3, 32, 32)
    before, plain = {name: value.clone() for name, value in body.state_dict().items()}, body(images)
    body.train()
    assert torch.equal(body(images), plain)
    assert all(torch.equal(value, before[name]) for name, value in body.state_dict().items())


def test_size_scales_the_shorter_side_and_models_of_one_size_always_scale() -> None:
    found: list[tuple[int, ...]] = []
    body = torchvision_body(size=40)
    body.network.register_forward_pre_hook(lambda _, given: found.append(tuple(given[0].shape[2:])))
    body(torch.rand(1, 3, 80, 100))
    assert found == [(40, 50)]
    with torch.device("meta"):
        transformer = torchvision_body("vit_b_16", size=32)
        assert transformer.normalised(torch.rand(1, 3, 90, 100)).shape[2:] == (32, 32)
        assert torchvision_body("vit_b_16").normalised(torch.rand(1, 3, 90, 100)).shape[2:] == (224, 224)
    assert scaled_sides((30, 20), 20, square=False) == (30, 20)


def test_unknown_models_are_refused_with_a_suggestion() -> None:
    with pytest.raises(ValueError, match="torchvision has no model resnet180; did you mean resnet18"):
        torchvision_body("resnet180")


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_weights_of_a_file_are_loaded_without_its_classifier(tmp_path: Path, ending: str) -> None:
    torch.manual_seed(1)
    whole = models.get_model(SMALL, weights=None, num_classes=7).eval()
    path, images = tmp_path / f"mine{ending}", torch.rand(2, 3, 32, 32)
    if ending == ".pth":
        torch.save({"state_dict": {f"module.{name}": value for name, value in whole.state_dict().items()}}, path)
    else:
        save_file(whole.state_dict(), path)
    body = torchvision_body(weights=str(path))
    torch.testing.assert_close(whole.fc(body(images)), whole((images - body.mean) / body.deviation))


class Touch:
    """Writes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_pickled_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"fc.weight": torch.zeros(2), "more": Touch(tmp_path / "ran")}, path)
    with pytest.raises(ValueError, match=r"evil\.pth: holds pickled code or objects, which are not run; convert it"):
        torchvision_body(weights=str(path))
    assert not (tmp_path / "ran").exists()


def test_weights_that_do_not_fit_are_listed_and_change_nothing(tmp_path: Path) -> None:
    weights = dict(torchvision_body().network.state_dict())
    first, second, *_ = weights
    weights["stranger.weight"] = weights.pop(first)
    weights[second] = torch.zeros(2, 2)
    save_file(weights, tmp_path / "other.safetensors")
    with pytest.raises(
        ValueError, match=rf"lacks {first}; it has unknown stranger.weight; it has other shapes: {second}"
    ):
        torchvision_body(weights=str(tmp_path / "other.safetensors"))


def test_files_that_hold_no_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no such file"):
        torchvision_body(weights=str(tmp_path / "nothing.pth"))
    for name, content in (("a.safetensors", b"nonsense"), ("b.pth", b"nonsense"), ("c.pt", pickle.dumps([1, 2]))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}: cannot be read as weights|c.pt: holds no weights"):
            torchvision_body(weights=str(tmp_path / name))
    (tmp_path / "weights.txt").write_text("none")
    with pytest.raises(ValueError, match=r"not from \.txt"):
        torchvision_body(weights=str(tmp_path / "weights.txt"))
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="holds no weights"):
        torchvision_body(weights=str(tmp_path / "list.pt"))


def test_without_a_connection_the_message_says_which_file_goes_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody answers there
    with pytest.raises(ValueError, match=r"cannot be downloaded .* Fetch https.*\.pth .* weights: FILE") as refused:
        torchvision_body(weights="default")
    address = str(models.get_model_weights(SMALL).DEFAULT.url)
    assert str(tmp_path / "hub" / "checkpoints" / address.rpartition("/")[2]) in str(refused.value)


@NEEDS_TIMM
def test_without_a_connection_timms_message_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ValueError, match=r"timm's resnet18 cannot be downloaded .*resnet18.*safetensors.* weights: FILE"
    ):
        timm_body("resnet18", weights="default")


def test_default_weights_are_taken_from_the_librarys_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    published = models.get_model_weights(SMALL).DEFAULT
    whole = models.get_model(SMALL, weights=None)
    place = tmp_path / "hub" / "checkpoints" / published.url.rpartition("/")[2]
    place.parent.mkdir(parents=True)
    torch.save(whole.state_dict(), place)
    body = torchvision_body(weights="default")
    name = "conv1.0.weight"
    assert torch.equal(body.network.state_dict()[name], whole.state_dict()[name])


def test_building_without_weights_reads_nothing() -> None:
    spec = TorchvisionBody(name="torchvision", model=SMALL, weights="nowhere/file.pth")
    assert build_body(spec, pretrained=False).features == 1024


@pytest.mark.parametrize("model", ["resnet18", "efficientnet_b0", "convnext_tiny", "regnet_y_400mf", "swin_t", SMALL])
def test_grids_become_coarser_step_by_step(model: str) -> None:
    with torch.device("meta"):
        shapes = torchvision_body(model).grid_shapes((3, 96, 64))
    heights = [height for _, height, _ in shapes]
    assert heights in ([48, 24, 12, 6, 3], [24, 12, 6, 3]) and all(
        3 * width == 2 * height for _, height, width in shapes
    )


def test_the_last_grid_is_what_the_features_are_pooled_from() -> None:
    body, images = torchvision_body(), torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(body.grids(images)[-1].mean(dim=(2, 3)), body(images))


@NEEDS_TIMM
@pytest.mark.parametrize("model", ["test_efficientnet", "test_convnext", "test_resnet"])
def test_what_lies_behind_the_grids_can_be_dropped_and_files_that_have_it_still_fit(model: str, tmp_path: Path) -> None:
    body, images = timm_body(model), torch.rand(2, 3, 64, 64)
    save_file(body.network.state_dict(), tmp_path / "whole.safetensors")
    before = body.grids(images)
    short = timm_body(model)
    short.keep_grids()
    load_pretrained(short, TimmBody(name="timm", model=model, weights=str(tmp_path / "whole.safetensors")))
    for grid, expected in zip(short.grids(images), before, strict=True):
        torch.testing.assert_close(grid, expected)
    sum(grid.sum() for grid in short.grids(images)).backward()  # type: ignore[union-attr]
    assert all(parameter.grad is not None for parameter in short.parameters())


def test_models_without_coarser_grids_are_refused() -> None:
    with torch.device("meta"), pytest.raises(ValueError, match="has no grids that become coarser step by step"):
        torchvision_body("vit_b_16").grid_shapes((3, 64, 64))
