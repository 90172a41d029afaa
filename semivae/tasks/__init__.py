"""What the label is: nothing, a class, or a map of classes."""
