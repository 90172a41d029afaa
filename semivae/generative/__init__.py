"""Generation and its quality: likelihood, distances of samples to data, the limiting chain; and imputation."""
