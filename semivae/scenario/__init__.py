"""A recipe made real: its plan, its streams, its players and their game."""
