"""How maps of classes are shown."""

from __future__ import annotations

from semivae.cli.kinds import KindOfLabel
from semivae.cli.kinds.map_files import check_masks, finish_maps, map_arrays, picture_of, predict_masks
from semivae.cli.kinds.map_tables import class_iou_table, map_results_table, map_seeds_table, painted_lines

SHOWN = KindOfLabel(
    results=lambda report: [map_results_table(report)],
    details=lambda report: [class_iou_table(report), *painted_lines(report)],
    seeds=lambda reports: [map_seeds_table(reports)],
    check_out=check_masks,
    predict=predict_masks,
    picture=picture_of,
    arrays=map_arrays,
    imputed=finish_maps,
)
