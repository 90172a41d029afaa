"""Features of pictures by a frozen network: computed once, kept on disk, and served of new pictures."""
