"""What the label is: nothing, a class, a map of classes, or a number."""
