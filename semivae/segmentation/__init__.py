"""Runs whose label is a map, a class at every place of the image: posteriors, scores, pictures, mask priors."""
