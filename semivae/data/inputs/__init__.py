"""What one example is: an image, or a row of a table."""
