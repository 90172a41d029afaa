"""What a text that is no number, but looks like one, may stand for, and what to do about it."""

from __future__ import annotations

import re

from semivae.data.formats.cell_texts import CellStyle

LONGEST = 40  # signs of a text that may be meant as a number
_NUMBER = r"[+-]?(?:\d[\d.,'\u2019\u00a0\u202f ]*|[.,]\d+)(?:[eE][+-]?\d+)?"
_CURRENCY = r"[$\u20ac\u00a3\u00a5]"
_LOOKS = {
    "decimal comma": r"[+-]?\d*,(?:\d{1,2}|\d{4,})",
    "thousands": r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?",
    "decimal comma, thousands": r"[+-]?\d{1,3}(?:\.\d{3})+,\d+|[+-]?\d{1,3}(?:\.\d{3}){2,}",
    "thousands apart": r"[+-]?\d{1,3}(?:['\u2019\u00a0\u202f ]\d{3})+(?:[.,]\d+)?",
    "date": r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}(?:[ T].*)?|\d{1,2}:\d{2}(?::\d{2})?(?:\.\d+)?(?: ?[AaPp][Mm])?",
    "money": rf"[+-]?{_CURRENCY} ?{_NUMBER}|{_NUMBER} ?{_CURRENCY}",
    "percent": rf"{_NUMBER} ?%",
    "unit": rf"{_NUMBER} ?[A-Za-z\u00b5\u03bc]{{1,12}}(?:[/^.]\S{{1,8}})?|{_NUMBER} ?[\u00b0\u2032\u2033'\"]\w{{0,4}}",
}
LOOKS = {name: re.compile(pattern, re.ASCII) for name, pattern in _LOOKS.items()}
ADVICE = {
    "decimal comma": "if the comma is a decimal one, write source.decimal: comma",
    "thousands": "if the commas group thousands, write source.thousands: comma",
    "decimal comma, thousands": "if they are numbers, write source.decimal: comma and source.thousands: point",
    "thousands apart": "if they are numbers, write source.thousands: space (or apostrophe)",
    "date": "dates and times are not read: write a number, such as days, or leave the column out with source.ignore",
    "money": "write the number alone, and the currency in the column's name",
    "percent": "write the number alone, and the percent sign in the column's name",
    "unit": "write the number alone, and its unit in the column's name",
    "": "write numbers as 3.5, with a point, and empty what is none",
}


def look_of(cell: str, style: CellStyle) -> str | None:
    """What a cell may stand for: "number" if it is one, a key of `ADVICE`, or None for all other texts."""
    text = cell.strip()
    if style.number(text) is not None:
        return "number"
    if len(text) > LONGEST or not any(sign.isdigit() for sign in text):
        return None
    return next((name for name, pattern in LOOKS.items() if pattern.fullmatch(text)), None)
