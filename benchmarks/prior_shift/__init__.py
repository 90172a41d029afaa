"""Whether estimated class frequencies help: errors and NLL under strong, mild and no shift."""
