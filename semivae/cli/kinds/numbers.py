"""How numbers are shown."""

from __future__ import annotations

from semivae.cli.kinds import KindOfLabel
from semivae.cli.kinds.class_files import check_csv, image_alone, images_alone
from semivae.cli.kinds.number_files import number_arrays, predict_numbers
from semivae.cli.kinds.number_tables import details, results_table
from semivae.cli.tables import seeds_table

SHOWN = KindOfLabel(
    results=lambda report: [results_table(report)],
    details=details,
    seeds=lambda reports: [seeds_table(reports, "rmse", ".4g", "RMSE")],
    check_out=check_csv,
    predict=predict_numbers,
    picture=image_alone,
    arrays=number_arrays,
    imputed=images_alone,
    predicts_pieces=True,
)
