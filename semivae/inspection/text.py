"""Facts about data as lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from semivae.data.readers.parts import LabelFolder
from semivae.inspection.facts import PARTS, ColumnFacts, Counts, Duplicates, ImageFacts, LabelFacts, MaskFacts
from semivae.text import count_of, join_names, shortened

MOST_CLASSES = 30  # rows of the table of classes; JSON has all
MOST_COLUMNS = 60
MOST_SIZES = 4
WIDEST_BAR = 20  # signs


def parts_line(parts: Counts) -> str:
    """How many examples each part has."""
    return ", ".join(f"{parts[part]:,} {part}" for part in PARTS if part in parts)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: bool = False) -> list[str]:
    """Rows below each other, the first column to the left; the others to the left, or right for numbers."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        places = zip(cells[1:], widths[1:], strict=True)
        rest = [cell.rjust(width) if right else cell.ljust(width) for cell, width in places]
        return "  ".join([cells[0].ljust(widths[0]), *rest]).rstrip()

    return [line(header), *map(line, rows)]


def class_table(classes: Mapping[str, Counts]) -> list[str]:
    """How many examples of each class each part has, below an empty line; nothing without classes."""
    if not classes:
        return []
    rows = [[shortened(name, 30), *(f"{counts.get(part, 0):,}" for part in PARTS)] for name, counts in classes.items()]
    more = (
        [f"and {count_of(len(rows) - MOST_CLASSES, 'more class', 'more classes')}"] if len(rows) > MOST_CLASSES else []
    )
    return ["", *table(["class", *PARTS], rows[:MOST_CLASSES], right=True), *more]


def number_table(numbers: Mapping[str, Counts], others: Mapping[str, Counts]) -> list[str]:
    """How many numbers of each part lie in which range, with a bar for all together; last, `others` without one."""
    totals = {text: sum(counts.values()) for text, counts in numbers.items()}
    widest = max(totals.values())
    rows = [[text, *(f"{counts[part]:,}" for part in PARTS)] for text, counts in {**numbers, **others}.items()]
    lines = table(["number", *PARTS], rows, right=True)
    bars = ["", *("#" * round(WIDEST_BAR * total / widest) for total in totals.values()), *("" for _ in others)]
    return ["", *(f"{line}  {bar}".rstrip() for line, bar in zip(lines, bars, strict=True))]


def further_lines(further: Mapping[str, LabelFacts]) -> list[str]:
    """What is known of which further label, below an empty line; nothing without any."""
    lines = []
    for name, facts in further.items():
        counts = [f"{facts.shown[part]:,} {part}" for part in PARTS if facts.shown.get(part)]
        hidden = f"; the split hides {facts.hidden:,}" if facts.hidden else ""
        lines.append(f"{name} ({facts.kind}: {join_names(facts.classes, 6)}): {', '.join(counts) or 'none'}{hidden}")
    return ["", "further labels", *lines] if lines else []


def folder_lines(folders: Sequence[LabelFolder]) -> list[str]:
    """How many images each of several folders labels, below an empty line; nothing of a single one."""
    lines = [
        f"{each.folder} ({each.label}): {count_of(each.images, 'image', 'images')}, of which another folder labels "
        f"{each.shared:,} too"
        for each in folders
    ]
    return ["", "folders, by the label that they give", *lines] if lines else []


def image_lines(facts: ImageFacts) -> list[str]:
    """What images were, and what becomes of them."""
    sizes = [f"{width}x{height}" + (f" ({count:,})" if len(facts.sizes) > 1 else "")
             for (width, height), count in facts.sizes]  # fmt: skip
    colour = "grey" if facts.channels == 1 else "colour"
    lines = [
        f"images: {facts.count:,} of {join_names(sizes, MOST_SIZES)} pixels; they become "
        f"{facts.size[0]}x{facts.size[1]} in {colour}, with levels from {facts.low} to {facts.high}"
    ]
    if facts.most_loss > 0:
        lines.append(
            f"cropping removes {facts.mean_loss:.0%} of the area on average, at most {facts.most_loss:.0%} "
            f"({facts.most_cropped}); {count_of(facts.cropped, 'image loses', 'images lose')} more than a fifth"
        )
    notes = (
        (facts.grey, "shows grey alone", "show grey alone"),
        (facts.enlarged, "is enlarged", "are enlarged"),
        (facts.transparent, "has transparent places", "have transparent places"),
        (facts.deep, "has more than 8 bits", "have more than 8 bits"),
    )
    if shown := [count_of(count, one, many) for count, one, many in notes if count]:
        lines.append(f"of these {', '.join(shown)}")
    return lines


def mask_lines(facts: MaskFacts) -> list[str]:
    """What masks hold."""
    lines = [f"masks: {facts.count:,}, {facts.units}"]
    if facts.shown:
        rows = [[name, f"{count:,}", f"{facts.area[name]:.1%}"] for name, count in facts.shown.items()]
        lines += table(["class", "masks", "area"], rows[:MOST_CLASSES], right=True)
    if facts.void:
        lines.append(f"not known: {facts.void:.1%} of all places")
    if facts.colours:
        lines.append(f"colours that no palette explains: {join_names(facts.colours, 8)}")
    return lines


def column_table(columns: Sequence[ColumnFacts]) -> list[str]:
    """Columns by kind, with examples."""
    rows = []
    for column in columns[:MOST_COLUMNS]:
        numbers = column.low is not None and column.high is not None
        what = f"{column.low:g} to {column.high:g}" if numbers else join_names(column.examples, 3)
        name = shortened(column.name, 30) or '""'
        rows.append([name, column.kind, f"{column.missing:,}", f"{column.distinct:,}", shortened(what), column.remark])
    more = (
        [f"and {count_of(len(columns) - MOST_COLUMNS, 'more column', 'more columns')}"]
        if len(columns) > MOST_COLUMNS
        else []
    )
    return [*table(["column", "read as", "missing", "different", "cells", "remark"], rows), *more]


def duplicate_line(found: Duplicates) -> str:
    """Counts; which examples they are is said by warnings."""
    counts = (
        (found.copies, "equal to another one"),
        (len(found.across_parts), "to test or validate on and also trained on"),
        (len(found.across_classes), "equal to one of another class"),
        (len(found.near_across_parts), "to test or validate on and nearly like one that is trained on"),
    )
    shown = [f"{count:,} {what}" for count, what in counts if count]
    if pairs := len(found.near_across_classes):
        shown.append(count_of(pairs, "pair that looks", "pairs that look") + " nearly alike in two classes")
    return f"copies: {', '.join(shown) or 'none'}"
