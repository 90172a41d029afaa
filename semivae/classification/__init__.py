"""From a run to class probabilities: q(y | x), calibrated, with the decoder's vote, under another prior."""

from semivae.classification.classifier import Classifier

__all__ = ["Classifier"]
