"""How attributes are shown."""

from __future__ import annotations

from semivae.cli.kinds import KindOfLabel
from semivae.cli.kinds.attribute_files import predict_attributes, share_arrays
from semivae.cli.kinds.attribute_tables import KEY, attribute_results_table, attribute_table
from semivae.cli.kinds.class_files import check_csv, image_alone, images_alone
from semivae.cli.kinds.class_tables import reliability_table
from semivae.cli.tables import seeds_table

SHOWN = KindOfLabel(
    results=lambda report: [attribute_results_table(report)],
    details=lambda report: [reliability_table(report), attribute_table(report)],
    seeds=lambda reports: [seeds_table(reports, KEY, ".2%", "Mean average precision")],
    check_out=check_csv,
    predict=predict_attributes,
    picture=image_alone,
    arrays=share_arrays,
    imputed=images_alone,
    predicts_pieces=True,
)
