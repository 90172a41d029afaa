"""What was found in data: typed facts; printed, a page of text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from semivae.data.readers.parts import LabelFolder
from semivae.inspection import text
from semivae.inspection.facts import ColumnFacts, Counts, Duplicates, ImageFacts, LabelFacts, MaskFacts, Unused
from semivae.text import count_of, join_names


@dataclass(frozen=True, repr=False)
class DataReport:
    """What was found in data, as `semivae.inspect` returns it.

    Attributes:
        place: where the data lie, or the name of a data set.
        kind: of the source: folder, masks, arrays, table, or a data set's name.
        chosen: why this kind, where a path was given and no recipe; else "".
        parts: how many examples each part has.
        classes: how many examples of each class each part has, in the order of the class numbers.
        further: what is known of each further label, by name.
        folders: of which label each is, where several folders sort the same images.
        numbers: of a label that is a number, how many examples of each range of numbers each part has.
        images, columns, masks: what is known of them; None or () where there are none.
        duplicates: examples that are there more than once.
        unreadable: files that cannot be read, with the reasons.
        unused: files that nobody reads.
        mistakes: all that training would refuse.
        warnings: all that training would warn of, and more.
    """

    place: str
    kind: str
    chosen: str
    parts: Counts
    classes: Mapping[str, Counts]
    images: ImageFacts | None = None
    columns: tuple[ColumnFacts, ...] = ()
    masks: MaskFacts | None = None
    duplicates: Duplicates = field(default_factory=Duplicates)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[Unused, ...] = ()
    mistakes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    further: Mapping[str, LabelFacts] = field(default_factory=dict)
    numbers: Mapping[str, Counts] = field(default_factory=dict)
    folders: tuple[LabelFolder, ...] = ()

    def __repr__(self) -> str:
        """The page that `semivae inspect` prints."""
        return "\n".join(self.lines())

    def to_dict(self) -> dict[str, Any]:
        """The same as plain lists and mappings, for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The page that `semivae inspect` prints."""
        chosen = f" ({self.chosen})" if self.chosen else ""
        lines = [f"{self.place}: source {self.kind}{chosen}"]
        if self.parts:
            lines += ["", text.parts_line(self.parts)]
        lines += text.number_table(self.numbers, self.classes) if self.numbers else text.class_table(self.classes)
        lines += text.further_lines(self.further)
        lines += text.folder_lines(self.folders)
        if self.images is not None:
            lines += ["", *text.image_lines(self.images)]
        if self.masks is not None:
            lines += ["", *text.mask_lines(self.masks)]
        if self.columns:
            lines += ["", *text.column_table(self.columns)]
        lines += ["", text.duplicate_line(self.duplicates)]
        for group in self.unused:
            advice = f": {group.advice}" if group.advice else ""
            lines.append(f"not used: {join_names(group.names, 3)} ({group.reason}{advice})")
        lines += [f"warning: {warning}" for warning in self.warnings]
        lines += [f"mistake: {mistake}" for mistake in self.mistakes]
        count = len(self.mistakes)
        lines += ["", f"{count_of(count, 'mistake', 'mistakes')}, which training refuses" if count else "no mistakes"]
        return lines
