"""Runs in repositories of the Hugging Face hub: `hf://OWNER/NAME` or `hf://OWNER/NAME@REVISION`.

Only the files that training writes are fetched: safetensors, JSON, YAML and text. Nothing in a repository is executed.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

from semivae.errors import RunError
from semivae.runs.folder import DATA_ROOT_FILE, LOGGERS_FILE, OF_A_RUN
from semivae.text import join_names

PREFIX = "hf:/"  # a Path drops the second slash
PLACE = re.compile(r"hf://?([\w][\w.-]*/[\w][\w.-]*?)(?:@([\w./-]+))?/?")
CARD_FILE = "README.md"
SHARED = tuple(name for name in OF_A_RUN if name not in (DATA_ROOT_FILE, LOGGERS_FILE))  # these name what is private


def local_folder(path: str | Path) -> Path:
    """The folder of a run, fetched into the hub's cache first where `path` is `hf://OWNER/NAME`.

    Raises:
        RunError: no such name or repository, no connection, or the package huggingface_hub is missing.
    """
    if not str(path).startswith(PREFIX):
        return Path(path)
    found = PLACE.fullmatch(str(path))
    if found is None:
        raise RunError(f"{path}: is no run on a hub; write hf://OWNER/NAME, or hf://OWNER/NAME@REVISION")
    repository, revision = found.groups()
    try:
        return Path(_client().snapshot_download(repository, revision=revision, allow_patterns=list(SHARED)))
    except RunError:  # there is no client
        raise
    except Exception as reason:  # the client's own errors, those of its connection, and of the disk
        raise _refused(f"hf://{repository}", "cannot be fetched", reason) from reason


def push_folder(
    folder: Path,
    repository: str,
    card: str,
    *,
    private: bool = True,
    overwrite: bool = False,
    revision: str | None = None,
) -> list[str]:
    """Puts a run's files and its card into a repository, in one commit; the repository is made where it is missing.

    Args:
        folder: of the run.
        repository: OWNER/NAME.
        card: the text of its README.md.
        private: whether a repository that is made is seen by its owner alone.
        overwrite: whether files of these names that are there may be replaced.
        revision: the branch; by default the main one.

    Returns:
        The names of the files.

    Raises:
        RunError: files are there already, the hub refuses, or the package huggingface_hub is missing.
    """
    if PLACE.fullmatch(f"hf://{repository}") is None or "@" in repository:
        raise RunError(f"{repository}: is no name of a repository; write OWNER/NAME")
    hub, names = _client(), [name for name in SHARED if (folder / name).is_file()]
    try:
        service = hub.HfApi(library_name="semivae")
        listed = service.list_repo_files(repository, revision=revision) if service.repo_exists(repository) else []
        there = sorted({*SHARED, CARD_FILE} & set(listed))
        if there and not overwrite:
            raise RunError(
                f"{repository}: holds {join_names(there)} already; choose another name, or replace them "
                "with --overwrite"
            )
        service.create_repo(repository, private=private, exist_ok=True)
        added = [hub.CommitOperationAdd(name, folder / name) for name in names]
        added.append(hub.CommitOperationAdd(CARD_FILE, card.encode()))
        # what another run left would be read as a part of this one
        removed = [hub.CommitOperationDelete(name) for name in there if name not in {*names, CARD_FILE}]
        service.create_commit(repository, [*added, *removed], commit_message="Add a run of semivae", revision=revision)
    except RunError:
        raise
    except Exception as reason:  # as above
        raise _refused(repository, "cannot be written", reason) from reason
    return [*names, CARD_FILE]


def _client() -> Any:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as reason:
        raise RunError("hubs need the package huggingface_hub; pip install 'semivae[hub]'") from reason


def _refused(place: str, what: str, reason: Exception) -> RunError:
    said = next((line.strip() for line in str(reason).splitlines() if line.strip()), type(reason).__name__)
    return RunError(f"{place}: {what}: {said}; check the name, the connection and, if it is private, `hf auth login`")
