"""Readers: from a source of a recipe to a data set in memory."""
