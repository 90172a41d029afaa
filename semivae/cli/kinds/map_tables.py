"""What the command line shows of a run whose label is a map: intersection over union, per class and in the mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from semivae.cli.tables import NAMES, counted, new_table

if TYPE_CHECKING:
    from rich.table import Table


def map_results_table(report: Mapping[str, Any]) -> Table:
    """Shows mean IoU with its 95% interval, pixel accuracy and calibration, for each checkpoint."""
    title = counted(report)
    table = new_table("", "mean IoU", "95% interval", "pixels right", "NLL", "Brier", "ECE", title=title)
    for key, name in NAMES.items():
        scores = report.get(key)
        if scores:
            interval = scores["mean_iou_interval"]
            between = "-" if interval is None else f"{interval[0]:.2%} to {interval[1]:.2%}"
            numbers = (f"{scores[number]:.4f}" for number in ("nll", "brier", "ece"))
            shares = (f"{scores['mean_iou']:.2%}", between, f"{scores['pixel_accuracy']:.2%}")
            table.add_row(name, *shares, *numbers)
    return table


def class_iou_table(report: Mapping[str, Any]) -> Table:
    """Shows the IoU of each class for each checkpoint, and the class's share of the pixels."""
    keys = [key for key in NAMES if report.get(key)]
    table = new_table("class", "of the pixels", *(NAMES[key] for key in keys), title="IoU per class")
    confusion = report["last"]["confusion"]
    total = max(1, sum(map(sum, confusion)))
    for row, name in enumerate(report["last"]["per_class"]):
        found = (report[key]["per_class"][name] for key in keys)
        share = f"{sum(confusion[row]) / total:.2%}"
        table.add_row(name, share, *("-" if iou is None else f"{iou:.2%}" for iou in found))
    return table


def painted_lines(report: Mapping[str, Any]) -> list[str]:
    """Returns the line on the agreement of generated images with the masks that they were generated for."""
    painted = report.get("painted")
    if painted is None:
        return []
    return [
        f"Images generated for these masks: {painted['judge']} agrees with {painted['agreement']:.2%} of the pixels"
    ]
