"""Names that people see as one and programs as several: capitals, codes of accents, spaces, unseen signs, letters; and
names that a wrong encoding has spoilt."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable
from contextlib import suppress

from semivae.text import either, join_names, shortened

# letters of the Cyrillic and the Greek alphabet that are drawn as Latin ones, behind each the Latin one
TWINS = "аaеeоoрpсcуyхxіiјjѕsԁdһhԛqԝwАAВBЕEКKМMНHОOРPСCТTХXУYІIЈJЅSαaοoρpνvΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤTΥYΧX"  # noqa: RUF001
LATIN = str.maketrans(TWINS[::2], TWINS[1::2])
UNSEEN = ("Cf", "Cc", "Cn")  # Unicode's categories of signs that nobody sees
YES_OR_NO = {"yes": {"yes", "y", "true", "t", "1"}, "no": {"no", "n", "false", "f", "0"}}  # as `as_seen` has them
SEVERAL = ";|,"  # signs that part several labels of one example


def as_seen(name: str) -> str:
    """Returns a name as people see it; names of which this is equal look alike."""
    text = "".join(sign for sign in unicodedata.normalize("NFKC", name) if unicodedata.category(sign) not in UNSEEN)
    text = " ".join(text.translate(LATIN).replace("_", " ").split()).casefold()
    return text.lstrip("0") or "0" if text.isdecimal() else text


def look_alikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Returns the groups of different names that look alike, two or more in each."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(as_seen(name), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def twin_doubts(names: Collection[str], what: str, called: str) -> list[str]:
    """Warnings of names that look alike, or that are words for one answer, and of spoilt ones.

    Args:
        names: all of them.
        what: where they are, with a verb if it needs one.
        called: what several are called, such as classes.
    """
    names = list(names)
    groups = look_alikes(names)
    capitals = [name for group in groups if len({name.casefold() for name in group}) == 1 for name in group]
    others = [name for group in groups for name in group if name not in capitals]
    found = []
    if capitals:
        differ = f"differ only in capital letters: {join_names([shortened(name) for name in capitals])}"
        found.append(f"{what}{called} {differ}; write them alike if they are one")
    if others:
        alike = f"look alike but are different texts: {join_names([_told_apart(name) for name in others])}"
        found.append(f"{what}{called} {alike}; write them alike if they are one")
    if spoilt := [name for name in names if _is_spoilt(name)]:
        found.append(
            f"{what}{called} hold letters that were saved or read in a wrong encoding: {join_names(spoilt)}; save the "
            "data anew from where they come, in UTF-8"
        )
    return found + yes_or_no_doubts(names, what, called)


def yes_or_no_doubts(names: Iterable[str], what: str, called: str) -> list[str]:
    """Warnings of several words for yes or for no, where all names are such words. Arguments as of `twin_doubts`."""
    written = {name: as_seen(name) for name in dict.fromkeys(names)}
    if not set(written.values()) <= YES_OR_NO["yes"] | YES_OR_NO["no"]:
        return []
    found = []
    for meaning, words in YES_OR_NO.items():
        if len(set(written.values()) & words) > 1:
            alike = join_names(sorted(name for name, word in written.items() if word in words))
            found.append(f"{what}{called} {alike} may stand for one answer, {meaning}; write them alike if they do")
    return found


def _is_spoilt(name: str) -> bool:
    """Whether letters were lost, or are those of UTF-8 that was read as the encoding of Windows."""
    if "\ufffd" in name:
        return True
    if name.isascii():
        return False
    for encoding in ("cp1252", "latin-1"):
        with suppress(UnicodeError):
            return name.encode(encoding).decode("utf-8") != name
    return False


def several_doubts(names: Iterable[str], what: str, advice: str) -> list[str]:
    """Warnings of classes that may be several labels in one cell: what stands between their signs is a class, too."""
    known = set(names)
    several = sorted(name for name in known if len(parts := _parts(name)) > 1 and known & set(parts))
    if not several:
        return []
    one = either(len(several), "is read as one class", "are read as one class each")
    return [
        f"{what} {join_names([shortened(name) for name in several])} {one}; if an example may have several, {advice}"
    ]


def _parts(name: str) -> list[str]:
    for sign in SEVERAL:
        name = name.replace(sign, SEVERAL[0])
    return [part.strip() for part in name.split(SEVERAL[0]) if part.strip()]


def _told_apart(name: str) -> str:
    """Returns a name in which nothing is hidden: signs beyond ASCII by their numbers, spaces in quotes."""
    return shortened(ascii(name))
