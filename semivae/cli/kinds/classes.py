"""How single classes are shown."""

from __future__ import annotations

from semivae.cli.kinds import KindOfLabel
from semivae.cli.kinds.class_files import check_csv, image_alone, images_alone, predict_csv, share_arrays
from semivae.cli.kinds.class_tables import details, results_table
from semivae.cli.tables import seeds_table

SHOWN = KindOfLabel(
    results=lambda report: [results_table(report)],
    details=details,
    seeds=lambda reports: [seeds_table(reports, "error", ".2%", "Test error")],
    check_out=check_csv,
    predict=predict_csv,
    picture=image_alone,
    arrays=share_arrays,
    imputed=images_alone,
    predicts_pieces=True,
)
