"""Reports on a finished run: evaluation and diagnosis."""
