"""Values of variables whose prior is known by samples only, drawn from where training took them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from semivae.data.streams import ArrayStream, Stream
from semivae.errors import RunError
from semivae.recipe.schema import StreamSpec
from semivae.runs.model import TrainedModel
from semivae.scenario.streams import make_streams
from semivae.seeds import seed_for
from semivae.variables import Sample


def without_prior(run: TrainedModel, given: Mapping[str, Tensor]) -> set[str]:
    """Variables that the decoder's others depend on, but of which it has no prior, and which are not given."""
    parents = {parent.name for name in run.decoder.names for parent in run.decoder[name].given}
    return parents - set(run.decoder.names) - set(given)


def prior_samples(run: TrainedModel, count: int, given: Mapping[str, Tensor], seed: int | None = None) -> Sample:
    """Values of all that has no prior in the decoder and is not given, on the run's device, [count, *shape].

    They are rows of the recipe's streams without images. Where a stream shows them together with a class that is
    given, its rows of that class are drawn.

    Args:
        run: the run.
        count: how many of each.
        given: the variables that are fixed, [count, *shape].
        seed: of the draw; None: a random one.

    Raises:
        RunError: no stream shows such a variable without the image, or never with the class that is given.
        DataError: the data are gone.
    """
    if not without_prior(run, given):
        return {}  # before the generator is asked: other draws stay what they are
    chosen = int(torch.randint(2**31, ()).item()) if seed is None else seed
    found: Sample = {}
    while missing := without_prior(run, {**given, **found}):
        name, spec = _widest(run, missing, {*given, *found})
        stream = _stream(run, name, spec, count, chosen)
        shared = [variable for variable in spec.observe if variable not in missing]
        drawn = _matching(run, stream, {variable: {**given, **found}[variable] for variable in shared}, count, chosen)
        found |= {variable: drawn[variable].to(run.device) for variable in spec.observe if variable in missing}
    return found


def _widest(run: TrainedModel, missing: set[str], known: set[str]) -> tuple[str, StreamSpec]:
    """Returns the stream without images that shows most of the missing variables, and otherwise only known classes."""
    fitting = [
        (name, spec)
        for name, spec in run.recipe.streams.items()
        if run.image not in spec.observe
        and missing & set(spec.observe)
        and all(variable in missing or (variable in known and _is_class(run, variable)) for variable in spec.observe)
    ]
    if not fitting:
        names = ", ".join(sorted(missing))
        raise RunError(
            f"{run.path}: the decoder has no prior of {names} to draw from, and no stream shows {names} without "
            f"{run.image}; give a value for it, as {min(missing)}=VALUE"
        )
    return max(fitting, key=lambda entry: len(missing & set(entry[1].observe)))


def _is_class(run: TrainedModel, name: str) -> bool:
    variable = run.recipe.variables[name]
    return variable.has_classes and not variable.shape


def _stream(run: TrainedModel, name: str, spec: StreamSpec, count: int, seed: int) -> Stream:
    drawing = run.recipe.model_copy(update={"streams": {name: spec.model_copy(update={"batch": count})}})
    cpu = torch.device("cpu")
    return make_streams(drawing, run.dataset(), run.split(), cpu, seed_for(seed, "maps"), run.data_root)[name]


def _matching(run: TrainedModel, stream: Stream, classes: Sample, count: int, seed: int) -> Sample:
    """A batch of the stream; of its rows that have the given classes, [count] each, where there are any."""
    if not classes or not isinstance(stream, ArrayStream):
        return stream.batch(0)
    stream.batch_size = stream.size
    rows = stream.batch(0)
    generator = torch.Generator().manual_seed(seed_for(seed, "rows"))
    chosen = torch.empty(count, dtype=torch.int64)
    keys = torch.stack([value.cpu() for value in classes.values()], dim=1)
    offered = torch.stack([rows[name] for name in classes], dim=1)
    for key in torch.unique(keys, dim=0):
        places, fitting = (keys == key).all(dim=1), (offered == key).all(dim=1).nonzero()[:, 0]
        if not len(fitting):
            wanted = ", ".join(f"{name}={number}" for name, number in zip(classes, key.tolist(), strict=True))
            raise RunError(f"{run.path}: stream {stream.name} has no values for {wanted}; give another class")
        chosen[places] = fitting[torch.randint(len(fitting), (int(places.sum()),), generator=generator)]
    return {name: values[chosen] for name, values in rows.items()}
