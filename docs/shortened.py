"""The one way in which trainings of the documentation are shortened, when a test or a quick build executes them."""

from __future__ import annotations

import re


def shorten(text: str, steps: int) -> str:
    """The same code or page, with `steps` training steps wherever it states `training.steps` or those of a painter."""
    text = re.sub(r'("training\.steps": |training\.steps=)[\d_]+', rf"\g<1>{steps}", text)
    return re.sub(r"(?m)(^painter:\n(?:  .*\n)*?  steps: )\d+", rf"\g<1>{steps}", text)
