"""Lessons on unlabelled data: the average as a teacher of the label (docs/method.md, sections 5 and 6)."""
