"""Several processes and several parts of a batch, which train as one process with the whole batch does."""
