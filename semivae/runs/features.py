"""The networks of features that a run keeps: with them it serves new pictures, and needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from semivae.data.features.attaching import feature_network
from semivae.data.features.network import FeatureNetwork
from semivae.errors import RecipeError, RunError
from semivae.files import whole_file
from semivae.recipe import Recipe
from semivae.runs.checkpoint import CHECKSUM, content_digest
from semivae.runs.folder import FEATURES_FILE


def write_features(folder: Path, networks: Mapping[str, FeatureNetwork]) -> None:
    """Keeps the networks of a run's features, by variable, with their standardisation and a checksum."""
    tensors = {
        f"{name}.{key}": tensor.detach().cpu().contiguous()
        for name, network in networks.items()
        for key, tensor in network.state_dict().items()
    }
    with whole_file(folder / FEATURES_FILE) as path:
        save_file(tensors, path, {CHECKSUM: content_digest(tensors, {})})


def kept_features(folder: Path, recipe: Recipe) -> dict[str, FeatureNetwork]:
    """Returns the networks of a run's features, by variable; none where it starts from what its data hold.

    Raises:
        RunError: the file is missing or damaged, or has not its checksum; or the library of a network is not installed.
    """
    if not recipe.features:
        return {}
    path = folder / FEATURES_FILE
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
            checksum = (file.metadata() or {}).get(CHECKSUM)  # None: of an earlier version
        if checksum not in (None, content_digest(tensors, {})):
            raise RunError(
                f"{path}: is damaged: its content does not have the checksum that it was written with; put a copy "
                "back, or train again with --overwrite"
            )
        networks = {}
        for name, spec in recipe.features.items():
            networks[name] = feature_network(name, spec, folder, pretrained=False)
            own = {
                key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")
            }
            networks[name].load_state_dict(own)
            networks[name].fitted = True
    except RecipeError as error:
        raise RunError(f"{folder}: its features cannot be computed here: {error}") from error
    except (OSError, SafetensorError, RuntimeError) as error:
        raise RunError(
            f"{path}: is missing or damaged, or of another network than the recipe's; put it back, or train again with "
            "--overwrite"
        ) from error
    return networks
