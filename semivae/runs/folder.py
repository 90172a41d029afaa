"""The folder of a run: recipe, split, metrics and checkpoints; when it may be written, resumed or replaced."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from semivae.data.inputs.table_encoding import TableEncoding
from semivae.data.splits import Split, save_split
from semivae.errors import RecipeError, RunError
from semivae.files import temporary_of, write_whole
from semivae.recipe import Recipe, dump_recipe, read_recipe
from semivae.runs.upgrade import RUN_FILE, as_before, format_of, upgrade_from, write_run_file
from semivae.text import join_names, nearest

RECIPE_FILE, SPLIT_FILE, METRICS_FILE = "recipe.yaml", "split.json", "metrics.jsonl"
DATA_ROOT_FILE, ENCODING_FILE = "data_root.txt", "table.json"
CALIBRATION_FILE, PALETTE_FILE, FEATURES_FILE = "calibration.json", "source_palette.txt", "features.safetensors"
LOGGERS_FILE = "loggers.json"
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}  # file systems that have none
LOCK_FILE = ".training.lock"
MOST_NAMES = 1000  # beside a folder, among which a run of a similar name is looked for
CHECKPOINTS = ("last", "selected", "twin")
PAINTER = "painter"  # the checkpoint of what only paints
OF_A_RUN = (
    *(RUN_FILE, RECIPE_FILE, SPLIT_FILE, METRICS_FILE, DATA_ROOT_FILE, ENCODING_FILE, CALIBRATION_FILE, PALETTE_FILE),
    *(FEATURES_FILE, LOGGERS_FILE),
    *(f"{which}.safetensors" for which in (*CHECKPOINTS, PAINTER)),
)
WRITTEN_AT_START = (RUN_FILE, RECIPE_FILE, DATA_ROOT_FILE, ENCODING_FILE, FEATURES_FILE, PALETTE_FILE, SPLIT_FILE)


def is_run_folder(folder: Path) -> bool:
    """Returns whether a folder looks like a run: it holds a recipe and a split."""
    return (folder / RECIPE_FILE).is_file() and (folder / SPLIT_FILE).is_file()


def refuse_no_run(folder: Path) -> None:
    """Raises RunError for a folder that is no run, with the one that may be meant, or what a run lacks."""
    if is_run_folder(folder):
        return
    what = "is not a run's folder" if folder.exists() else "there is no such folder"
    if is_run_folder("runs" / folder):
        raise RunError(f"{folder}: {what}; did you mean {'runs' / folder}?")
    there = [name for name in (RECIPE_FILE, SPLIT_FILE, RUN_FILE) if (folder / name).is_file()]
    if there:
        lacking = " and ".join(name for name in (RECIPE_FILE, SPLIT_FILE) if name not in there)
        raise RunError(
            f"{folder}: this run lacks {lacking}: it was copied in part, or stopped as it began; copy all of it, or "
            "train it again"
        )
    if within := sorted(str(path) for path in islice(folder.glob("*"), MOST_NAMES) if is_run_folder(path)):
        raise RunError(f"{folder}: {what}, but holds {len(within)}; name one: {join_names(within)}")
    runs = [path.name for path in islice(folder.parent.glob("*"), MOST_NAMES) if is_run_folder(path)]
    near = nearest(folder.name, runs)
    advice = f"did you mean {folder.parent / near}?" if near else "train it first"
    raise RunError(f"{folder}: {what} (a run holds {RECIPE_FILE}, {SPLIT_FILE} and checkpoints); {advice}")


def was_trained(folder: Path) -> bool:
    """Returns whether training wrote a folder: a recipe and a split may also lie side by side by chance."""
    return is_run_folder(folder) and any((folder / name).is_file() for name in (RUN_FILE, "last.safetensors"))


def was_killed_at_start(folder: Path) -> bool:
    """Returns whether a folder holds only what `start_folder` writes, not all of it, and nothing besides."""
    names = {path.name for path in folder.iterdir()} - {LOCK_FILE}
    starts = {temporary_of(folder / name).name: name for name in WRITTEN_AT_START}
    first = {RUN_FILE, temporary_of(folder / RUN_FILE).name}
    return SPLIT_FILE not in names and bool(names & first) and names <= {*starts, *starts.values()}


def check_folder(folder: Path, overwrite: bool, resume: bool) -> None:
    """Refuses, before any work, what would overwrite something or resume nothing.

    Raises:
        RunError: the folder is taken, or holds no run to resume, or one of a newer version of semivae.
    """
    if resume and overwrite:
        raise RunError("resume and overwrite exclude each other: go on with the run, or replace it")
    if resume:
        format_of(folder)
    if resume and not is_run_folder(folder):
        raise RunError(
            f"{folder}: there is no run to go on with; leave out --resume and --more-steps, or name the run's folder "
            "with --out"
        )
    if (
        not resume
        and folder.exists()
        and (not folder.is_dir() or any(path.name != LOCK_FILE for path in folder.iterdir()))
        and not (folder.is_dir() and was_killed_at_start(folder))
    ):
        if not is_run_folder(folder):
            raise RunError(f"{folder}: exists and is not a run; choose another folder with --out")
        if overwrite and not was_trained(folder):
            raise RunError(
                f"{folder}: holds {RECIPE_FILE} and {SPLIT_FILE}, but neither {RUN_FILE} nor a checkpoint, so training "
                "has not written it and does not replace it; choose another folder with --out"
            )
        if not overwrite:
            raise RunError(
                f"{folder}: a run is there already; go on with it by --resume, replace it by --overwrite, or "
                f"choose another folder with --out"
            )


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Makes the folder and locks it for one training; the system frees the lock when the process ends or dies.

    Raises:
        RunError: another training writes there, or the folder cannot be written.
    """
    lock = FileLock(folder / LOCK_FILE, fallback_to_soft=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0.2, poll_interval=0.02)  # `being_written` holds it for a moment
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
    except Timeout:
        raise RunError(
            f"{folder}: another training writes there; wait for it, or choose another folder with --out"
        ) from None
    except OSError as error:
        raise not_writable(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def being_written(folder: Path) -> bool:
    """Returns whether a training writes to a folder now, as far as its lock tells."""
    if not (folder / LOCK_FILE).is_file():
        return False
    lock = FileLock(folder / LOCK_FILE, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # a folder that may only be read, or a file system without locks
        return False
    lock.release()
    return False


def refuse_lost(folder: Path) -> None:
    """Raises RunError where the folder of a run has gone while it was trained."""
    if not is_run_folder(folder):
        what = "replaced by a file" if folder.is_file() else "emptied" if folder.is_dir() else "removed or renamed"
        raise RunError(
            f"{folder}: the run's folder was {what} while it was trained, so nothing more can be kept; put it back and "
            "go on with --resume, or train again"
        )


def not_writable(folder: Path, error: OSError) -> RunError:
    return RunError(f"{folder}: cannot write the run there ({error.strerror}); choose another folder with --out")


def start_folder(folder: Path, recipe: Recipe, split: Split, keep: Callable[[], None] = lambda: None) -> None:
    """Writes the run's format and recipe into the folder, then what `keep` writes, and the split.

    The split comes last: before it is there the folder is no run, so that one which lacks a file is never resumed.

    Raises:
        RunError: the folder cannot be written.
    """
    try:
        write_run_file(folder)
        for name in (DATA_ROOT_FILE, ENCODING_FILE, PALETTE_FILE):  # of a start that was killed
            (folder / name).unlink(missing_ok=True)
        write_recipe(folder, recipe)
        keep()
    except OSError as error:
        raise not_writable(folder, error) from error
    save_split(split, folder / SPLIT_FILE)


def upgrade_folder(folder: Path) -> None:
    """Rewrites metrics and calibrations in the present format, which training that resumes then goes on with.

    The recipe and the encoding of a table are written by training itself, and checkpoints carry their own format.

    Raises:
        RunError: the folder cannot be written.
    """
    try:
        replace_metrics(folder, read_metrics(folder))
        if calibrations := read_calibrations(folder):
            replace_calibrations(folder, calibrations)
        write_run_file(folder)  # last: until then the folder counts as one of its former format
    except OSError as error:
        raise not_writable(folder, error) from error


def write_recipe(folder: Path, recipe: Recipe) -> None:
    write_whole(folder / RECIPE_FILE, dump_recipe(recipe))


def write_data_root(folder: Path, root: Path) -> None:
    """Keeps where the run's data lie, so that later commands find them unasked."""
    write_whole(folder / DATA_ROOT_FILE, f"{root.absolute()}\n")


def kept_data_root(folder: Path) -> Path | None:
    """Returns where the run's data lay when it was trained; None if that is not known. They may have moved since."""
    try:
        text = (folder / DATA_ROOT_FILE).read_text(encoding="utf-8").strip()
        os.stat(text or ".")
    except FileNotFoundError:
        return Path(text) if (folder / DATA_ROOT_FILE).exists() else None
    except (OSError, ValueError):  # a damaged file, or a name that no file can have: data are looked for as always
        return None
    return Path(text) if text else None


def write_encoding(folder: Path, encoding: TableEncoding) -> None:
    """Keeps how the columns of a table became numbers, so that other rows are encoded alike."""
    write_whole(folder / ENCODING_FILE, encoding.model_dump_json(indent=1) + "\n")


def write_palette(folder: Path, text: str) -> None:
    """Keeps what the numbers and colours of masks meant when the run was trained."""
    write_whole(folder / PALETTE_FILE, text)


def kept_encoding(folder: Path) -> TableEncoding | None:
    """Returns how the columns of a table became numbers; None where the run learnt from other data.

    Raises:
        RunError: the file was changed or damaged.
    """
    path, upgrade = folder / ENCODING_FILE, upgrade_from(format_of(folder))
    if not path.is_file():
        return None
    try:
        return TableEncoding.model_validate(upgrade.encoding(json.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: was changed or damaged; put it back, or train again with --overwrite") from error


def kept_recipe(folder: Path) -> Recipe:
    """Returns the recipe that a run was started from, as resolved.

    Raises:
        RunError: the file was changed or damaged, or a newer version of semivae wrote the run.
    """
    format_of(folder)  # refuses a newer one, whose recipes may have keys that are unknown here
    try:
        return as_before(read_recipe(folder / RECIPE_FILE))
    except RecipeError as error:
        raise RunError(
            f"{folder}: its {RECIPE_FILE} was changed or damaged, or needs a file that registers names (--import); "
            f"put it back, import that file, or train again with --overwrite:\n{error}"
        ) from error


def refuse_changed_recipe(folder: Path, kept: Recipe, recipe: Recipe) -> None:
    """Raises RunError, with a list of the differences, if a run would be resumed from another recipe."""
    before, now = kept.model_dump(mode="json"), recipe.model_dump(mode="json")
    for dumped in (before, now):
        # a twin may come or go, how a GPU takes steps, and what the recipe says about itself: the model is the same
        del dumped["training"]["twin"], dumped["training"]["capture"], dumped["about"]
        if not (folder / f"{PAINTER}.safetensors").exists():  # so may a painter, before it has begun
            del dumped["painter"]
        elif dumped["painter"] is not None:  # and how it draws, which it does not learn
            del dumped["painter"]["choose"]
            for drawing in ("steps", "guidance", "levels"):
                del dumped["painter"]["flow"][drawing]
    found = list(differences(before, now))
    if found:
        listed = "\n".join(f"- {line}" for line in found)
        raise RunError(
            f"{folder}: the run was started from another recipe, so it is not resumed:\n{listed}\n"
            f"Undo these changes, or start a new run with --out"
        )


def differences(before: object, now: object, path: str = "") -> Iterator[str]:
    """Yields what differs between two recipes as plain values: `training.steps: was 500, now 600`."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            yield from differences(before.get(key), now.get(key), f"{path}.{key}".lstrip("."))
    elif before != now:
        yield f"{path}: was {before}, now {now}"


class MetricsWarning(BaseModel):
    """Checks the types of a warning in a row of metrics.jsonl."""

    model_config = ConfigDict(strict=True)

    kind: str
    about: str
    seen: str = ""
    means: str = ""
    advice: str = ""


class MetricsRow(BaseModel):
    """Checks the types of a row of metrics.jsonl, where other code relies on them; a row may hold more."""

    model_config = ConfigDict(strict=True)

    phase: Literal["model", "twin", "painter"]
    step: Annotated[int, Field(ge=0, lt=2**63)]
    seconds: float = 0.0
    losses: dict[str, float] | None = None
    bits: dict[str, float] | None = None
    validation_error: float | None = None
    validation_deviation: float | None = None
    confident: float | None = None
    confident_error: float | None = None
    read_as_intended: float | None = None
    class_shares: list[float] | None = None
    predicted_shares: list[float] | None = None
    warnings: list[MetricsWarning] = []


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Returns what training wrote at its validations, in order.

    A row holds phase, step, seconds, losses (nats per sample), the findings of `semivae.monitoring.measures`, and
    the warnings that began then; rows of older runs hold less.

    Raises:
        RunError: a row was changed: what it holds is not of the type that training writes.
    """
    path, upgrade = folder / METRICS_FILE, upgrade_from(format_of(folder))
    rows: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # the last line of a run that lost its power
            break
        try:
            upgraded = upgrade.metrics(row)
            MetricsRow.model_validate(upgraded)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            what = error.errors()[0] if isinstance(error, ValidationError) else None
            reason = f" ({'.'.join(map(str, what['loc']))}: {what['msg']})" if what else ""
            raise RunError(
                f"{path}:{len(rows) + 1}: this line was changed or damaged{reason}; put it back, or train again with "
                "--overwrite"
            ) from error
        rows.append(upgraded)
    return rows


def append_metrics(folder: Path, row: Mapping[str, Any]) -> None:
    with (folder / METRICS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(dict(row)) + "\n")


def replace_metrics(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    write_whole(folder / METRICS_FILE, "".join(json.dumps(dict(row)) + "\n" for row in rows))


def read_calibrations(folder: Path) -> list[dict[str, Any]]:
    """Returns what was chosen on the validation images after training (`semivae.classification.calibration`)."""
    upgrade = upgrade_from(format_of(folder))
    try:
        content = json.loads((folder / CALIBRATION_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # it can always be chosen again
        return []
    entries = [entry for entry in content if isinstance(entry, dict)] if isinstance(content, list) else []
    return [upgrade.calibration(entry) for entry in entries]


def write_calibrations(folder: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    with contextlib.suppress(OSError):  # a run that may only be read is calibrated anew each time
        replace_calibrations(folder, entries)


def replace_calibrations(folder: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    write_whole(folder / CALIBRATION_FILE, json.dumps([dict(entry) for entry in entries], indent=1) + "\n")
