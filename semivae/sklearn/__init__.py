"""semivae for scikit-learn: estimators that learn from rows or images of which some have a label."""

from __future__ import annotations

from semivae.sklearn.classifier import SemiVAEClassifier
from semivae.sklearn.multilabel import SemiVAEMultilabelClassifier
from semivae.sklearn.regressor import SemiVAERegressor

__all__ = ["SemiVAEClassifier", "SemiVAEMultilabelClassifier", "SemiVAERegressor"]
