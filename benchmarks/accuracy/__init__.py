"""Recipes beside their labels alone, their own parts and scikit-learn: `python -m benchmarks.accuracy RECIPE...`."""
