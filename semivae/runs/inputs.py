"""What a trained model reads: examples in files and arrays, as its encoder takes them and its decoder draws them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from semivae.data.features.attaching import feature_preprocessing
from semivae.data.features.network import FeatureNetwork
from semivae.data.formats.preprocessing import Preprocessing, preprocessing_of
from semivae.data.inputs.examples import Examples
from semivae.data.inputs.features import Features
from semivae.data.inputs.inputs import Inputs, inputs_of, pictures_of_inputs
from semivae.data.inputs.pieces import AnyExamples, Pieces
from semivae.data.inputs.reading import Reading
from semivae.errors import DataError, DataWarning, RunError
from semivae.recipe import Recipe
from semivae.recipe.schema import BuiltInSource, FolderSource, MasksSource, MemorySource, TableSource
from semivae.runs.features import kept_features
from semivae.runs.folder import ENCODING_FILE, kept_encoding
from semivae.scenario.plan import Roles
from semivae.text import Nouns
from semivae.variables import Sample

if TYPE_CHECKING:
    from semivae.data.inputs.table_encoding import TableEncoding


class ModelInputs:
    """The inputs of a trained model, and the pictures beside features; `TrainedModel` is one.

    Attributes:
        path: the run's folder.
        recipe: as resolved.
        roles: of its variables.
        image, shown: the primary input, and what people look at (`Roles.shown`).
        device: where the players are.
    """

    path: Path
    recipe: Recipe
    roles: Roles
    image: str
    shown: str
    device: torch.device

    @cached_property
    def encoding(self) -> TableEncoding | None:
        """How the columns of the table that the run learnt from became numbers; None for all other data.

        Raises:
            RunError: the file was changed, damaged or lost.
        """
        kept = kept_encoding(self.path)
        if kept is None and isinstance(self.recipe.source, TableSource):
            raise RunError(
                f"{self.path}: this run lacks {ENCODING_FILE}, by which rows are read: it was copied in part; copy all "
                "of it, or train it again"
            )
        return kept

    @cached_property
    def feature_networks(self) -> dict[str, FeatureNetwork]:
        """The networks whose features the run starts from, by variable; none where its data hold its inputs."""
        return kept_features(self.path, self.recipe)

    @property
    def nouns(self) -> Nouns:
        """What messages call one of the run's examples, and several (`Roles.nouns`)."""
        return self.roles.nouns

    @cached_property
    def inputs(self) -> Inputs:
        """What one example of the run's primary input is: how it is read, and what the model takes."""
        return self.inputs_of(self.image)

    @cached_property
    def shown_inputs(self) -> Inputs:
        """What one example is of what people look at (`Roles.shown`)."""
        return self.inputs_of(self.shown)

    @cached_property
    def canvas(self) -> Inputs:
        """What one picture is as the encoder sees it, before a network makes features of it; or one row of a table."""
        return pictures_of_inputs(self.inputs) or self.inputs

    def inputs_of(self, name: str) -> Inputs:
        """What one example of one of the inputs is, or of the pictures beside features."""
        shape = self.recipe.variables[name].shape
        assert shape is not None
        if name in self.recipe.features:
            return self._features(name)
        if name not in (self.image, self.shown):
            return inputs_of(shape)
        return inputs_of(shape, self.threshold, self.encoding, self.preprocessing)

    def _features(self, name: str) -> Features:
        network = self.feature_networks[name]
        how = feature_preprocessing(self.recipe.features[name], self.recipe.source, int(network.channels))
        return Features(network, how, self.device)

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How the recipe's source makes examples of picture files; None where it holds none."""
        source = self.recipe.source
        return preprocessing_of(source) if isinstance(source, FolderSource | MasksSource) else None

    @property
    def threshold(self) -> float | None:
        """Where the recipe's source parts black and white, in [0, 1]; None where it leaves images as they are."""
        source = self.recipe.source
        return source.binarize if isinstance(source, BuiltInSource | MemorySource) else None

    def examples(self, arrays: Sample) -> Tensor | Examples:
        """The inputs among the arrays of a data set, as `read` gives them."""
        if not self.roles.further:
            return arrays[self.image]
        return Examples({name: arrays[name] for name in self.roles.inputs})

    def read(self, given: object) -> tuple[Tensor, list[str]]:
        """Examples in files, arrays or Pillow images as they are kept, bytes or floats [n, *shape], and their names.

        Of a run that learnt from a table file, `given` may be another one with the same columns. See
        `semivae.data.inputs.images.Images.read`; for a run of several inputs, `read_all`.

        Warns (`semivae.errors.DataWarning`) of what a user should know of them, which `reading` returns.

        Raises:
            DataError: nothing there, or what does not fit.
        """
        found = _said(self.reading(given))
        return found.values, found.names

    def reading(self, given: object, *, skip_unreadable: bool = False) -> Reading:
        """As `read`, with all that was found there: files that are left out, and what a user should know of the others.

        Args:
            given: as for `read`.
            skip_unreadable: pass over image files that cannot be read, and name them.

        Raises:
            DataError: nothing there, or what does not fit.
        """
        return self.inputs.read(given, skip_unreadable=skip_unreadable)

    def pieces(self, given: object, *, skip_unreadable: bool = False, kept: bool = False) -> Pieces | None:
        """Many image files that are read a piece at a time, beside what is computed of them; None for all else.

        Args:
            given, skip_unreadable: as for `reading`.
            kept: whether the pieces stay in memory, for whoever looks at them again.
        """
        return None if self.roles.further else self.inputs.pieces(given, skip_unreadable=skip_unreadable, kept=kept)

    @contextmanager
    def examples_of(self, given: object, *, kept: bool = False) -> Iterator[tuple[AnyExamples, list[str]]]:
        """As `read_all`, but many image files come in pieces (`pieces`), whose names are there when all were used.

        Raises:
            DataError: as `read_all`; of files in pieces when they are used.
        """
        found = self.pieces(given, kept=kept)
        if found is None:
            yield self.read_all(given)
            return
        yield found, found.names
        _said(found.reading())

    def read_all(self, given: object) -> tuple[Tensor | Examples, list[str]]:
        """As `read`; of a run of several inputs, `given` maps the name of each to what `read` takes.

        Raises:
            DataError: an input is missing, or what does not fit.
        """
        if not self.roles.further:
            return self.read(given)
        if not isinstance(given, Mapping) or (lacking := [name for name in self.roles.inputs if name not in given]):
            needed = ", ".join(f"{name!r}: ..." for name in self.roles.inputs)
            raise DataError(f"{self.path} starts from {' and '.join(self.roles.inputs)}; give {{{needed}}}")
        del lacking
        read = {name: _said(self.inputs_of(name).read(given[name])) for name in self.roles.inputs}
        return Examples({name: part.values for name, part in read.items()}), read[self.image].names

    def with_pictures(self, values: Tensor, given: object, *, skip_unreadable: bool = False) -> Tensor | Examples:
        """Returns the primary input, and beside features the pictures that they are of, as the decoder scores them.

        Args:
            values: the input as `read` returns it.
            given, skip_unreadable: what it was read from, as for `reading`.
        """
        if self.shown == self.image:
            return values
        pictures = self.shown_inputs.read(given, skip_unreadable=skip_unreadable).values
        return Examples({self.image: values, self.shown: pictures})

    def of_pictures(self, pictures: Tensor) -> Tensor:
        """Returns the primary input of pictures in [0, 1], such as samples, [n, *shape] on the run's device.

        It is the pictures themselves, or their features, whatever size the network of these sees.
        """
        if not isinstance(self.inputs, Features):
            return pictures.to(self.device)
        return self.inputs.of_pictures(pictures).to(self.device)

    def values(self, raw: Tensor | Examples) -> Sample:
        """Inputs as `read_all` gives them, as the model takes them: float32 [n, *shape] on the run's device."""
        parts = {self.image: raw} if isinstance(raw, Tensor) else raw.parts
        return {name: self.inputs_of(name).values(part.to(self.device)).float() for name, part in parts.items()}

    def preprocess(self, given: object) -> Tensor:
        """The primary input, as `read` takes it, as the model takes it: float32 [n, *shape] on the run's device.

        Images lie in [0, 1], black and white where the recipe's source says so.

        Raises:
            DataError: nothing there, or what does not fit.
        """
        return self.values(self.read(given)[0])[self.image]


def _said(found: Reading) -> Reading:
    """Examples, after what a user should know of them was warned of."""
    for line in found.remarks():
        warnings.warn(line, DataWarning, stacklevel=4)
    return found
