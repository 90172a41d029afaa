"""Bodies by the name of their library: built without a connection, then given their weights.

Errors are ValueErrors with a message for users; callers add the place in the recipe.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from types import ModuleType

import torch

from semivae.nets import timm_bodies
from semivae.nets.body import Body, BodySpec
from semivae.nets.weights import load_weights, read_weights

__all__ = ["Body", "BodySpec", "build_body", "is_at_hand", "load_pretrained", "refuse_unknown"]


def _library_of(spec: BodySpec) -> ModuleType:
    """Returns our module for the library of a body; it is imported here, since importing torchvision takes seconds."""
    if spec.name == "torchvision":
        from semivae.nets import torchvision_bodies

        return torchvision_bodies
    return timm_bodies


def refuse_unknown(spec: BodySpec) -> None:
    """Refuses a model that its library does not have, or a library that is not installed.

    Raises:
        ValueError: so; the message suggests a name that there is.
    """
    names: list[str] = _library_of(spec).model_names()
    if spec.model.partition(".")[0] in names:  # timm's names may go on with those of their weights
        return
    close = difflib.get_close_matches(spec.model, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(names[:8])}, ..."
    raise ValueError(f"{spec.name} has no model {spec.model}; {hint}")


def build_body(spec: BodySpec, pretrained: bool = True) -> Body:
    """Builds a body.

    Args:
        spec: which one, and with which weights.
        pretrained: load the weights that `spec` names; otherwise they are random, and nothing is downloaded or read.

    Raises:
        ValueError: the library or the model is not there, or its weights cannot be had or do not fit.
    """
    refuse_unknown(spec)
    library = _library_of(spec)
    try:
        body: Body = library.build(spec)
    except NotImplementedError:  # a few models compute with their own numbers, which the meta device has not
        device = torch.empty(0).device
        with torch.device("cpu"):
            body = library.build(spec)
        body.to(device)
    if pretrained:
        load_pretrained(body, spec)
    return body


def load_pretrained(body: Body, spec: BodySpec, file: Path | None = None) -> None:
    """Loads the weights that a spec names into a body that was built from it.

    Args:
        body: the body.
        spec: its spec.
        file: where the file that `spec.weights` names lies; by default where it says.

    Raises:
        ValueError: they cannot be had, or do not fit; the message says what to do.
    """
    if spec.weights == "none":
        return
    if spec.weights == "default":
        weights, origin = _library_of(spec).download(spec), f"weights of {spec.model}"
    else:
        path = file or Path(spec.weights)
        weights, origin = read_weights(path), str(path)
    load_weights(body.network, weights, origin, body.head)


def is_at_hand(spec: BodySpec) -> bool:
    """Whether the default weights of a model are on this machine, where its library keeps them."""
    try:
        refuse_unknown(spec)
        kept: bool = _library_of(spec).is_kept(spec)
        return kept
    except ValueError:  # no such library here
        return False
