"""Which file of a folder is of which class and part, by what its source says: folders of classes, several, a table."""

from __future__ import annotations

from semivae.data.formats.file_trees import Files
from semivae.data.readers.class_folders import arrange
from semivae.data.readers.label_table import arrange_by_table
from semivae.data.readers.parts import Layout, Refuse, at_once
from semivae.data.readers.several_folders import arrange_by_folders
from semivae.recipe.schema import FolderSource


def arranged(files: Files, source: FolderSource, refuse: Refuse = at_once) -> Layout:
    """Sorts the files of a folder into classes and parts.

    Args:
        files: what lies there.
        source: the recipe's section.
        refuse: takes mistakes after which the other files can still be sorted.

    Raises:
        DataError: the files have not the structure that the source names.
    """
    if source.folders:
        return arrange_by_folders(files, source, refuse)
    return arrange(files, refuse) if source.labels is None else arrange_by_table(files, source)
