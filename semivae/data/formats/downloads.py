"""Official files of published data sets: found, else downloaded, else asked for."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import Request, urlopen

from semivae.errors import DataError

SILENCE = 30.0  # seconds without an answer after which a server counts as out of reach


@dataclass(frozen=True)
class OfficialFile:
    """A file as its authors publish it.

    Attributes:
        name: file name, as downloaded.
        size: in bytes.
        sha256: checksum; a file that arrives by plain http is as safe as one by https.
        urls: addresses, tried in order.
    """

    name: str
    size: int
    sha256: str
    urls: tuple[str, ...]

    def find(self, folders: Sequence[Path]) -> Path | None:
        """The file, or the file that it unpacks to (its name without .gz), in the first folder that has it."""
        names = (self.name.removesuffix(".gz"), self.name)
        return next((path for folder in folders for name in names if (path := folder / name).is_file()), None)


def obtain(title: str, files: Sequence[OfficialFile], folders: Sequence[Path], *, download: bool) -> list[Path]:
    """Where `files` lie, after downloading those that are missing.

    Args:
        title: the data set's name in messages.
        files: what is needed.
        folders: where to look; downloads go to the first.
        download: False keeps away from the network.

    Returns:
        One path for each file.

    Raises:
        DataError: files are missing and cannot be downloaded. The message names them, their sizes, where to get them
            and where to put them. Nothing half downloaded is left.
    """
    missing = [file for file in files if file.find(folders) is None]
    if missing:
        reason = "downloading is switched off"
        if download:
            try:
                _download(missing, folders[0])
            except (OSError, HTTPException) as error:
                reason = f"downloading failed: {error}"
        missing = [file for file in files if file.find(folders) is None]
    if missing:
        raise DataError(_request(title, missing, folders, reason))
    return [path for file in files if (path := file.find(folders)) is not None]


def _request(title: str, missing: Sequence[OfficialFile], folders: Sequence[Path], reason: str) -> str:
    lines = [f"{title} is not complete under {folders[0].absolute()}, and {reason}."]
    lines.append(f"Put {'these files' if len(missing) > 1 else 'this file'} into {folders[0].absolute()}:")
    lines += [f"  {file.name}  {file.size:,} bytes  {file.urls[0]}" for file in missing]
    lines.append("or say where they are with --data-root DIR or the environment variable SEMIVAE_DATA.")
    return "\n".join(lines)


def _download(files: Sequence[OfficialFile], folder: Path) -> None:
    """Download into a hidden folder beside the place, check, and only then move; clean up whatever happens."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as scratch:
            for file in files:
                for attempt, url in enumerate(file.urls, start=1):
                    try:
                        _fetch(url, file, Path(scratch, file.name))
                        break
                    except (OSError, HTTPException):
                        if attempt == len(file.urls):
                            raise
                Path(scratch, file.name).replace(folder / file.name)
    finally:
        for path in new:
            with contextlib.suppress(OSError):  # keeps a folder that holds something
                path.rmdir()


def _fetch(url: str, file: OfficialFile, path: Path) -> None:
    """Download one file. Raises OSError where another one arrives, or more than it has."""
    from torch.hub import tqdm  # type: ignore[attr-defined]  # tqdm, or torch's own where it is not installed

    request = Request(url, headers={"User-Agent": "semivae"})  # some servers refuse Python's own name
    total, received = hashlib.sha256(), 0
    with (
        urlopen(request, timeout=SILENCE) as response,
        path.open("wb") as out,
        tqdm(total=file.size, unit="B", unit_scale=True, desc=file.name) as bar,
    ):
        while chunk := response.read(2**16):
            received += len(chunk)
            if received > file.size:
                raise OSError(f"{url} sends more than {file.size:,} bytes")
            out.write(chunk)
            total.update(chunk)
            bar.update(len(chunk))
    if total.hexdigest() != file.sha256:
        raise OSError(f"{url} sent another file (SHA-256 {total.hexdigest()}, official {file.sha256})")


def differs(path: Path, checksum: str, content: bytes | None = None) -> tuple[str, ...]:
    """A warning if a file is not the official one, else nothing.

    Args:
        path: the file.
        checksum: the official one in hex: SHA-256, or MD5 where no other was ever published.
        content: what was read from the file, if it is already in memory.
    """
    name, new = ("SHA-256", hashlib.sha256) if len(checksum) == 64 else ("MD5", _md5)
    if content is None:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, new).hexdigest()
    else:
        found = new(content).hexdigest()
    if found == checksum:
        return ()
    sums = f"{name} {found}, official {checksum}"
    return (f"{path} is not the official file ({sums}): results may differ from published ones",)


def _md5(content: bytes = b"") -> hashlib._Hash:
    return hashlib.md5(content, usedforsecurity=False)
