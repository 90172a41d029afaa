"""The encoder as a file of its own, for other programs."""
