"""How labels are learnt: self-training on unlabelled images, and losses of labelled pairs (docs/method.md, 5 and 6)."""
