"""Users' own images in folders, as a source, and the keys that it shares with other sources of files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from semivae.recipe.section import FilePath, Name, Pixels, PositiveFloat, ProperShare, Section

Fit = Literal["crop", "pad", "stretch"]
LabelKind = Literal["classes", "candidates", "attributes", "numbers"]
Background = Literal["white", "black", "none"]

CHANNELS: Any = Field(3, description="1 converts the images to grey, 3 to colour (RGB).")
FIT: Any = Field(
    "crop",
    description="How a picture of another ratio of sides gets this size: `crop` cuts off what protrudes around its "
    "centre, `pad` keeps all of it and fills up with the background, `stretch` changes its ratio.",
)
BACKGROUND: Any = Field(
    "white", description="What is seen through transparent pixels, and what `fit: pad` fills up with."
)
WHITE: Any = Field(
    None,
    description="The value of white in files of more than 8 bits, such as 4095 of a 12-bit camera. By default it is "
    "the largest value that the file can hold.",
)
KINDS: Any = Field(
    {},
    description="What labels are, by their names: `classes` (the default), `numbers`, `attributes`, which may all be "
    "there at once, or `candidates`, sets of classes of which one is right. {y: numbers} makes the label a number.",
)


def refuse_further(
    named: Mapping[str, object], kinds: Mapping[str, str], key: str, own: tuple[str, ...] = ("classes", "numbers")
) -> None:
    """Raises ValueError for further labels that are called like what data hold, or have a kind and no place."""
    if taken := sorted(set(named) & {"x", "y", "s"}):
        raise ValueError(
            f"{key}: {taken[0]} is what data call their own x, y or s; give the further label another name"
        )
    if (kind := kinds.get("y", own[0])) not in own:
        raise ValueError(f"kinds: here y is {' or '.join(own)}, not {kind}")
    if lost := sorted(set(kinds) - set(named) - {"y"}):
        raise ValueError(f"kinds: {lost[0]} is not among {key}; say there where it is")


class FolderSource(Section):
    """Image files in one folder per class, or a .zip of them.

    The layout is `train/CLASS/*.png`, with optional `val/CLASS/*.png`, `test/CLASS/*.png` and `unlabelled/*.png`; or
    `CLASS/*.png` alone, of which a part is set aside for testing. `valid`, `validation`, `training`, `testing` and
    `unlabeled` are read too, in any case. With `labels`, a table says the class of each image, and folders below the
    parts mean nothing. With `folders`, several folders below `path` sort the same images, or others, each by a label of
    its own, as `breeds/CLASS/*.png` and `families/CLASS/*.png`; files of the same bytes are one image.
    """

    example: ClassVar[str] = "{name: folder, path: pets, size: 32, channels: 3}"

    name: Literal["folder"] = Field(description="Selects this kind of source.")
    path: FilePath = Field(
        description="The folder or .zip file; a relative path starts at the data root (`--data-root`)."
    )
    size: Pixels | tuple[Pixels, Pixels] = Field(
        32, description="The side, or [height, width], to which images are scaled, in pixels."
    )
    channels: Literal[1, 3] = CHANNELS
    fit: Fit = FIT
    background: Background = BACKGROUND
    white: PositiveFloat | None = WHITE
    test_share: ProperShare = Field(
        0.2, description="Fraction of each class that is set aside for testing where there is no `test` folder."
    )
    labels: FilePath | None = Field(
        None,
        description="A .csv or .tsv file with the class of each image, by its name relative to `path`; or one of this "
        "name in each part. Images without a class are unlabelled.",
    )
    file_column: str = Field("file_name", description="The column of `labels` that holds the names of the files.")
    label_column: str | tuple[str, ...] = Field(
        "label",
        description="The column of `labels` that holds the class, or with {y: numbers} in `kinds` a number. A list of "
        "columns, or {y: attributes} in `kinds`, makes the label a vector of attributes: 1, 0 or nothing in each "
        "column, or one column such as `hat;smiling`.",
    )
    columns: dict[Name, str | tuple[str, ...]] = Field(
        {},
        description="Columns of `labels` that hold further labels, by the names that the recipe gives them, such as "
        "{c: family}. Empty cells mean that a label is not known. Candidates are parted by a vertical bar, attributes "
        "by a semicolon, or a list names a column for each.",
    )
    folders: dict[Name, FilePath] = Field(
        {},
        description="Folders below `path` that each sort images by one label, by the names that the recipe gives the "
        "labels, such as {y: breeds, c: families, ann: annotator_1}. Each has the layout above, or lies within each "
        "part. An image that lies in several has several labels.",
    )
    kinds: dict[Name, LabelKind] = KINDS
    unlabelled: tuple[str, ...] | None = Field(
        None,
        description='Further texts in `labels` that mean that an image has no label, such as "-1" or unknown. An empty '
        "list says that there are none, so that no class is warned of.",
    )

    @model_validator(mode="after")
    def _columns_are_of_labels(self) -> FolderSource:
        fields = type(self).model_fields
        asked = (
            key
            for key in ("file_column", "label_column", "columns", "kinds", "unlabelled")
            if getattr(self, key) != fields[key].default and not (key == "kinds" and self.folders)
        )
        if self.labels is None and (key := next(asked, None)):
            raise ValueError(f"{key}: speaks of a table of labels; name it as labels, or remove {key}")
        if self.folders:
            self._refuse_folders()
            return self
        if self.kinds.get("y") == "candidates":
            raise ValueError(
                "kinds: y is a class, a number or a vector of attributes; candidates are a further label beside it"
            )
        refuse_further(self.columns, self.kinds, "columns", ("classes", "numbers", "attributes"))
        if not isinstance(self.label_column, str) and self.holds_numbers:
            raise ValueError("label_column: several columns hold attributes; name one column, or correct kinds.y")
        if self.holds_attributes and (lost := [name for name, kind in self.kinds.items() if kind == "candidates"]):
            raise ValueError(
                f"kinds.{lost[0]}: candidates are classes of the label, but the label is a vector of attributes"
            )
        for name, column in self.columns.items():
            if not isinstance(column, str) and self.kinds.get(name, "attributes") != "attributes":
                raise ValueError(f"columns.{name}: several columns hold attributes; correct kinds.{name}")
        return self

    def _refuse_folders(self) -> None:
        """Raises ValueError for folders that cannot each hold one label."""
        if self.labels is not None:
            raise ValueError("labels: classes lie in `folders` here; remove labels, or folders")
        if "y" not in self.folders:
            raise ValueError("folders: none holds the label y; name the folder of its classes, as {y: breeds}")
        if len(self.folders) < 2:
            raise ValueError("folders: name one for each of several labels; the folder of one alone is the path")
        refuse_further({name: 0 for name in self.folders if name != "y"}, self.kinds, "folders", ("classes",))
        ends = {
            name: tuple(part for part in folder.rstrip("/").split("/") if part != ".")
            for name, folder in self.folders.items()
        }
        for name, parts in ends.items():
            if not parts or "" in parts or ".." in parts or "\\" in self.folders[name]:
                raise ValueError(f"folders.{name}: name a folder below path, as breeds or by/breeds, with slashes")
            if inside := [other for other, its in ends.items() if other != name and its[: len(parts)] == parts]:
                raise ValueError(
                    f"folders.{name}: {self.folders[name]} also holds {inside[0]}; give each its own folder"
                )

    @property
    def holds_attributes(self) -> bool:
        """Whether the label is a vector of attributes."""
        return not isinstance(self.label_column, str) or self.kinds.get("y") == "attributes"

    @property
    def holds_numbers(self) -> bool:
        """Whether the label is a number."""
        return self.kinds.get("y") == "numbers"

    def kind_of(self, label: str) -> LabelKind:
        """What a further label is."""
        return self.kinds.get(label, "attributes" if self.columns_of(label) else "classes")

    def columns_of(self, label: str) -> tuple[str, ...]:
        """The columns of a further label that has several; () of all others."""
        column = self.columns.get(label, "")
        return () if isinstance(column, str) else column

    def where_is(self, label: str) -> str:
        """Where a further label is, for messages."""
        if label in self.folders:
            return f"the folder {self.folders[label]}"
        return str(self.labels) if self.columns_of(label) else f"{self.labels}: column {self.columns[label]}"
