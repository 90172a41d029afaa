"""Tables and files of each kind of label."""
