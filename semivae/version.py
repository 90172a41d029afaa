"""The version of semivae, on the lowest floor: runs keep it in their files."""

__version__ = "0.1.0"
