"""The files in a folder or in a .zip: their names, each under one only, and their bytes within bounds."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from semivae.data.formats.known_files import HEAD, known_file
from semivae.data.formats.regular_files import MOST_BYTES, read_regular, read_start, refuse_no_file
from semivae.data.paths import reachable
from semivae.errors import DataError

# in lower case: what systems, network drives and Python leave in folders, beside all that starts with a dot
LEFT_BY_SYSTEMS = {
    "__macosx", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r",
    "$recycle.bin", "recycler", "recycled", "system volume information", "found.000", "lost+found",
    "@eadir", "@tmp", "@synoresource", "#recycle", "#snapshot", "@recycle", "@recently-snapshot",
    "network trash folder", "temporary items", "__pycache__",
}  # fmt: skip
DEEPEST = 100  # folders in each other
# what a .zip may unpack to; pictures hardly shrink in one
MEMBER_SMALL, ARCHIVE_SMALL, RATIO = 2**28, 2**33, 100  # bytes that are always read; beyond, how many times the packed
OUTSIDE = re.compile(r"/|[A-Za-z]:/|(.*/)?\.\.(/|$)")  # absolute, or above the archive


@dataclass(frozen=True)
class Files:
    """What lies in a folder or a .zip, hidden files left out.

    Attributes:
        place: the folder or the .zip, for messages.
        names: every file, relative to the place, with slashes, sorted.
        folders: every folder, likewise.
        read: the bytes of a file by its name; raises OSError or ValueError for what is no ordinary file.
    """

    place: Path
    names: tuple[str, ...]
    folders: tuple[str, ...]
    read: Callable[[str], bytes]

    def same_bytes(self, name: str) -> bytes:
        """Returns a digest that files of the same bytes share; of a file that cannot be read, its name."""
        try:
            return hashlib.sha256(self.read(name)).digest()
        except (OSError, ValueError):  # whoever decodes it says so
            return name.encode()


@contextmanager
def open_files(path: Path) -> Iterator[Files]:
    """The files in `path`, a folder or a .zip file.

    Raises:
        DataError: there is no such folder or .zip file, it cannot be read, a link leads to a folder that is read
            already, or a .zip holds names that lead out of it or that are there twice, or unpacks to far too much.
    """
    if reachable(path).is_dir():
        yield _in_folder(path)
    elif path.suffix.lower() == ".zip" and path.is_file():
        try:
            archive = zipfile.ZipFile(path)
        except Exception as error:  # zipfile raises more than BadZipFile, by the byte that is wrong
            with suppress(OSError):
                if known := known_file(read_start(path, HEAD)):
                    raise DataError(f"{path} is no .zip file: it is {known[0]}; {known[1]}") from error
            raise DataError(f"{path} is no .zip file that can be read ({error}); get it again") from error
        with archive:
            yield _in_zip(path, archive)
    elif path.exists():
        refuse_no_file(path)
        raise DataError(f"{path.absolute()} is neither a folder nor a .zip file")
    else:
        raise DataError(f"there is no folder {path.absolute()}")


def _in_folder(path: Path) -> Files:
    names: list[str] = []
    waiting = [("", os.path.realpath(path))]  # name with a slash at its end, real path
    seen = {waiting[0][1]: ""}
    while waiting:
        inside, real = waiting.pop()
        if inside.count("/") > DEEPEST:
            raise DataError(f"{path}: {inside[:80]}... lies more than {DEEPEST} folders deep; move it up")
        for entry in _entries(path / inside):
            name = inside + entry.name
            if _hidden(entry.name):
                continue
            if not _is_folder(entry):
                names.append(name)
                continue
            lies = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(real, entry.name)
            if lies in seen:
                raise DataError(
                    f"{path}: {name} and {seen[lies] or 'the folder itself'} are one folder, by a link; its files "
                    "would count twice. Remove the link"
                )
            seen[lies] = name
            names.append(name + "/")
            waiting.append((name + "/", lies))
    return _listing(path, names, lambda name: read_regular(path / name))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder} cannot be listed ({error.strerror}); make it readable or remove it") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; named when its turn comes to be read
        return False


def _in_zip(path: Path, archive: zipfile.ZipFile) -> Files:
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = _member_name(path, info.filename)
        if name in members and not name.endswith("/"):
            raise DataError(f"{path} holds two files called {name}; pack it again")
        members[name] = info
    unpacked, packed = sum(info.file_size for info in members.values()), path.stat().st_size
    if unpacked > max(ARCHIVE_SMALL, RATIO * packed):
        raise DataError(f"{path} has {packed:,} bytes and unpacks to {unpacked:,}; unpack it if that is right")
    return _listing(path, list(members), lambda name: _read_member(archive, members, name))


def _member_name(path: Path, written: str) -> str:
    """A member's name with single slashes; folders end in one. Some programs of Windows write backslashes."""
    name = written.replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if OUTSIDE.match(name):
        raise DataError(f"{path} holds {written[:80]}, a place outside of it; pack the files by relative names")
    if len(parts) > DEEPEST:
        raise DataError(f"{path}: {written[:80]}... lies more than {DEEPEST} folders deep; pack it again")
    return "/".join(parts) + ("/" if name.endswith("/") else "")


def _read_member(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], name: str) -> bytes:
    info = members[name]
    if info.flag_bits & 1:
        raise ValueError("encrypted; pack the .zip without a password")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise ValueError("a link; pack the file itself")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others unpack without a limit
        raise ValueError("packed in a rare way; pack the .zip by Deflate")
    if info.file_size > min(MOST_BYTES, max(MEMBER_SMALL, RATIO * info.compress_size)):
        raise ValueError(f"it unpacks from {info.compress_size:,} to {info.file_size:,} bytes, which is not read")
    with archive.open(info) as stream:
        return stream.read(info.file_size)  # without a size zipfile unpacks more than was announced


def _listing(place: Path, entries: Sequence[str], read: Callable[[str], bytes]) -> Files:
    """Returns the files of `entries` as a .zip lists them: folders end in a slash, and need not be listed at all."""
    entries = [entry for entry in entries if not any(_hidden(part) for part in entry.split("/"))]
    names = [entry for entry in entries if not entry.endswith("/")]
    folders = {entry.rstrip("/") for entry in entries if entry.endswith("/")}
    folders |= {str(parent) for entry in entries for parent in PurePosixPath(entry).parents}
    return Files(place, tuple(sorted(names)), tuple(sorted(folders - {"."})), read)


def _hidden(part: str) -> bool:
    return part.startswith(".") or part.lower() in LEFT_BY_SYSTEMS
