"""How good a run generates: likelihood, distances of samples to data, the limiting chain; and imputation."""
