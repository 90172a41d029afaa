"""What is shown where there is no label: nothing of it. To predict it is refused by the run."""

from __future__ import annotations

from semivae.cli.kinds import KindOfLabel
from semivae.cli.kinds.class_files import check_csv, image_alone, images_alone, predict_csv

SHOWN = KindOfLabel(
    results=lambda report: [],
    details=lambda report: [],
    seeds=lambda reports: [],
    check_out=check_csv,
    predict=predict_csv,
    picture=image_alone,
    arrays=lambda imputed, classes: {},
    imputed=images_alone,
)
