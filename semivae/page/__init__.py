"""A run, or several side by side, on one page: numbers, curves, pictures."""
