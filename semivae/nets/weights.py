"""Weights from files without pickled code, and whether they fit a network."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

KINDS = (".safetensors", ".pt", ".pth", ".bin")
INNER = ("state_dict", "model", "model_state_dict", "state_dict_ema")  # under which training scripts keep weights
LISTED = 6  # names in a message
IDLE = "num_batches_tracked"  # counts that no computation uses; older files lack them

Tensors = dict[str, Tensor]


def read_weights(path: Path) -> Tensors:
    """Reads the named tensors of a file, on the CPU. No code that a file may hold is run.

    Args:
        path: a .safetensors file, or one that `torch.save` wrote of a state_dict (.pt, .pth, .bin).

    Raises:
        ValueError: there is no such file, it holds pickled code, or something else than weights.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; correct weights, or put the file there")
    if path.suffix.lower() not in KINDS:
        raise ValueError(f"{path}: weights are read from {', '.join(KINDS)} files, not from {path.suffix or 'this'}")
    try:
        found = load_file(path) if path.suffix.lower() == ".safetensors" else _read_pickle(path)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as weights ({_first_line(error)}); fetch the file again") from error
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: holds pickled code or objects, which are not run; convert it where you trust it: "
            f"safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
        ) from error
    tensors = _tensors_of(found)
    if not tensors:
        raise ValueError(f"{path}: holds no weights (a state_dict of named tensors); save model.state_dict()")
    return tensors


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], origin: str, head: tuple[str, ...] = ()) -> None:
    """Copies weights into a network, all or none.

    Args:
        network: the network.
        weights: by the names of its `state_dict()`.
        origin: where they come from, for messages.
        head: the names of layers that the network lacks, whose weights are ignored.

    Raises:
        ValueError: names are missing or unknown, or shapes differ; the message lists them.
    """
    own = network.state_dict()
    given = {name: value for name, value in weights.items() if not name.startswith(tuple(f"{part}." for part in head))}
    missing = [name for name in own if name not in given and not name.endswith(IDLE)]
    unknown = [name for name in given if name not in own and not name.endswith(IDLE)]
    shaped = [
        f"{name} {list(given[name].shape)} for {list(own[name].shape)}"
        for name in given
        if name in own and given[name].shape != own[name].shape
    ]
    wrong = [
        f"{what} {_some(names)}"
        for what, names in (("lacks", missing), ("has unknown", unknown), ("has other shapes:", shaped))
        if names
    ]
    if wrong:
        raise ValueError(
            f"{origin}: does not hold the weights of this model: it {'; it '.join(wrong)}; choose the model that the "
            "file was made from"
        )
    if broken := next((name for name in given if name in own and not given[name].isfinite().all()), None):
        raise ValueError(f"{origin}: {broken} holds NaN or infinity; fetch the file again")
    network.load_state_dict({name: given.get(name, own[name]) for name in own})


def _read_pickle(path: Path) -> object:
    try:
        with warnings.catch_warnings(action="ignore"):  # of unusual protocols, which are read or refused all the same
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" not in str(error):  # it names nothing to be run, but cannot be read either
            raise ValueError("it is no file of torch.save, or damaged") from error
        raise
    except (KeyError, AttributeError, IndexError, TypeError) as error:  # of a damaged file
        raise ValueError(str(error)) from error


def _tensors_of(found: object) -> Tensors:
    """Returns the named tensors in what a file holds, without the prefix of wrapped models."""
    while isinstance(found, Mapping) and (inner := next((found[key] for key in INNER if key in found), None)):
        found = inner
    if not isinstance(found, Mapping):
        return {}
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    for prefix in ("module.", "_orig_mod."):  # of DistributedDataParallel and torch.compile
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _some(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
