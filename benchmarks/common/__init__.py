"""What all benchmarks share: facts of the machine, pages and their JSON files, errors of commands."""
