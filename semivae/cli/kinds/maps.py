"""How maps of classes are shown."""

from __future__ import annotations

from semivae.cli.kinds import KindOfLabel
from semivae.cli.kinds.map_files import check_masks, finish_maps, map_arrays, picture_of, predict_masks
from semivae.cli.kinds.map_tables import class_iou_table, map_results_table, painted_lines
from semivae.cli.tables import seeds_table

SHOWN = KindOfLabel(
    results=lambda report: [map_results_table(report)],
    details=lambda report: [class_iou_table(report), *painted_lines(report)],
    seeds=lambda reports: [seeds_table(reports, "mean_iou", ".2%", "Mean IoU")],
    check_out=check_masks,
    predict=predict_masks,
    picture=picture_of,
    arrays=map_arrays,
    imputed=finish_maps,
)
