"""Errors for users: typed, one message each, shown without a traceback.

Everything that a user can cause (a recipe, a file, a folder, an argument) raises a `SemivaeError`; anything else that
escapes is a mistake of ours and keeps its traceback.
"""

from __future__ import annotations


class SemivaeError(Exception):
    """Base of all errors that a user can cause. The message says what was wrong, where, and what to do."""


class RecipeError(SemivaeError):
    """A recipe cannot be read, is not valid, or describes a scenario that cannot teach."""


class DataError(SemivaeError):
    """Data are missing, unreadable, or do not fit the recipe or the split that is asked for."""


class RunError(SemivaeError):
    """A run folder is missing, half written, in the way, or does not fit what is asked of it."""


class TrainingError(SemivaeError):
    """Training had to stop, for example at a loss that is not finite. The last good checkpoint is kept."""


class LostProcessError(TrainingError):
    """Another process of the same training has ended or cannot be reached. The last checkpoint is kept."""


class ExportError(SemivaeError):
    """An exported model could not be written, or did not agree with the model it came from."""


class DataWarning(UserWarning):
    """Data that a user gives to a run can be read, but perhaps not as they are meant."""
