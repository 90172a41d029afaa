"""Random inputs through the real readers and commands: whatever is neither accepted nor refused with a typed error."""
