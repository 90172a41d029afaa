"""How single classes with strangers are shown."""

from __future__ import annotations

from dataclasses import replace

from semivae.page.kinds import Score
from semivae.page.kinds.classes import SHOWN as CLASSES

SHOWN = replace(
    CLASSES,
    scores=(
        *CLASSES.scores,
        Score("strangers_auroc", "AUROC of strangers", ".3f"),
        Score("strangers_found", "Strangers found", ".1%"),
        Score("known_lost", "Known ones lost", ".1%"),
    ),
)
