"""What data hold, before anything is trained: counts, sizes, duplicates, files that are not used, and all mistakes."""
