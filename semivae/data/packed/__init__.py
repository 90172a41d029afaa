"""Data packed into arrays on disk, which are read at random and need hardly any memory."""
