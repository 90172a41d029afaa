"""semivae for scikit-learn: an estimator that learns from rows or images of which some have a label."""

from __future__ import annotations

from semivae.sklearn.classifier import SemiVAEClassifier

__all__ = ["SemiVAEClassifier"]
