"""Measures recipe x variant x split seed into one table: `python -m benchmarks.accuracy digits_50labels --seeds 0..4`.

Finished cells are skipped, and interrupted runs are resumed. A cell that was measured with another recipe is refused;
`--retrain` measures it again. The table of a recipe is rebuilt from its cells, and tables of other recipes stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.accuracy.benchmark import Benchmark
from benchmarks.accuracy.cells import METHODS, Cell
from benchmarks.accuracy.tables import json_text, markdown, read_tables, recipe_section, section
from benchmarks.common.commands import user_errors
from benchmarks.common.pages import json_path, write_page
from semivae.cli.options import DataRootOption, DeviceOption, SetOption
from semivae.cli.train_command import seed_numbers
from semivae.errors import RunError, SemivaeError
from semivae.recipe.explaining import suggestion
from semivae.training.progress import Progress, clock

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def accuracy(
    recipes: Annotated[list[str], typer.Argument(metavar="RECIPE...", help="YAML files, or shipped recipes' names.")],
    seeds: Annotated[str, typer.Option("--seeds", metavar="0..4", help="Split seeds.")] = "0..2",
    variants: Annotated[
        str, typer.Option("--variants", metavar="NAME,...", help=f"Any of {', '.join(METHODS)}. Default: all.")
    ] = ",".join(METHODS),
    runs: Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where the cells are kept.")] = Path(
        "runs/benchmark"
    ),
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PATH", help="The table: PATH.md and PATH.json. Default: RUNS/accuracy."),
    ] = None,
    changes: SetOption = [],  # noqa: B006  typer copies it
    data_root: DataRootOption = None,
    device: DeviceOption = "auto",
    retrain: Annotated[bool, typer.Option("--retrain", help="Measure cells again whose recipe has changed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List cells and their states; measure nothing.")] = False,
    from_table: Annotated[
        bool, typer.Option("--from-table", help="Take cells that are not in the folder from the table.")
    ] = False,
    table: Annotated[bool, typer.Option("--table", help="Only rebuild the tables from the existing cells.")] = False,
) -> None:
    """Compare recipes with what their labels give alone, with parts of themselves, and with scikit-learn."""
    with user_errors():
        target = out or runs / "accuracy"
        read_tables(json_path(target))  # any other file is refused before hours of work
        known = target if from_table else None
        benchmarks = [Benchmark(recipe, tuple(changes), runs, known) for recipe in dict.fromkeys(recipes)]
        refuse_equal_names(benchmarks)
        if table:
            write_tables(benchmarks, target)
            return
        chosen = variant_names(variants)
        numbers = seed_numbers(seeds)
        cells = {benchmark: [benchmark.cell(v, s) for v in chosen for s in numbers] for benchmark in benchmarks}
        if dry_run:
            show_states(cell for each in cells.values() for cell in each)
            return
        if not retrain:
            refuse_changed([cell for each in cells.values() for cell in each])
        failed = measure_cells(cells, data_root, device)
        write_tables(benchmarks, target)
        if failed:
            raise RunError("these cells failed, the others are done:\n" + "\n".join(failed))


def variant_names(text: str) -> list[str]:
    """The variants that `a,b` names, in the order of the table. Raises typer.BadParameter for an unknown one."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in METHODS:
            raise typer.BadParameter(f"no variant {name!r}; {suggestion(name, METHODS)}", param_hint="--variants")
    return [name for name in METHODS if name in names]


def refuse_equal_names(benchmarks: Sequence[Benchmark]) -> None:
    """Raises RunError where two recipes would share a folder of cells."""
    names = [benchmark.name for benchmark in benchmarks]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise RunError(f"two recipes are called {twice[0]}, so their cells would be mixed up; rename one of the files")


def refuse_changed(cells: Iterable[Cell]) -> None:
    """Raises RunError where cells were measured with other settings than now."""
    changed = {cell.title: cell.changes() for cell in cells}
    lines = [f"{title}:\n" + "\n".join(f"  - {line}" for line in found) for title, found in changed.items() if found]
    if lines:
        raise RunError(
            "these cells were measured with another recipe:\n" + "\n".join(lines) + "\n"
            "Measure them again with --retrain, undo the changes, or choose another folder with --runs"
        )


def show_states(cells: Iterable[Cell]) -> None:
    """Prints a line for every cell, its error where it is done, and below it how its recipe has changed."""
    for cell in cells:
        state = cell.state()
        record = cell.record or {}
        typer.echo(f"{cell.title}: {state}" + (f", error {record['result']['error']:.2%}" if state == "done" else ""))
        for line in cell.changes():
            typer.echo(f"  - {line}")


def measure_cells(cells: dict[Benchmark, list[Cell]], data_root: Path | None, device: str) -> list[str]:
    """Measures what is not done; returns a line for each cell that failed, with the reason."""
    from benchmarks.accuracy.measuring import classify_samples, measure

    waiting = [cell for each in cells.values() for cell in each if cell.state() != "done"]
    failed = []
    for number, cell in enumerate(waiting, start=1):
        title = f"[{number}/{len(waiting)}] {cell.title}"
        say(title)
        try:
            measure(cell, data_root, device, progress_lines(title))
        except SemivaeError as error:
            failed.append(f"- {cell.title}: {error}")
            continue
        say(f"{title}: error {(cell.record or {})['result']['error']:.2%}")
    for benchmark, each in cells.items():
        for cell in each:
            has_samples = cell.variant == "whole" and cell.state() == "done" and cell.run.exists()
            classifier = benchmark.sample_classifier(cell.seed) if has_samples else None
            if classifier is None:
                continue
            try:
                classify_samples(cell, classifier, data_root, device)
            except SemivaeError as error:
                failed.append(f"- {cell.title}, its samples: {error}")
    return failed


def progress_lines(title: str) -> Callable[[Progress], None]:
    """A callback that prints a line for each validation and each message."""

    def show(progress: Progress) -> None:
        if progress.message:
            say(f"{title}: {progress.message}")
        elif progress.validation_error is not None:
            where = f"step {progress.step:,}/{progress.steps:,}, validation error {progress.validation_error:.2%}"
            say(f"{title}: {where}, {clock(progress.seconds_left)} left")

    return show


def write_tables(benchmarks: Sequence[Benchmark], target: Path) -> None:
    """Rebuilds the sections of these recipes, and prints which cells are left out and which are no longer there."""
    sections = read_tables(json_path(target))
    for benchmark in benchmarks:
        cells = list(benchmark.known_cells())
        done = [cell for cell in cells if cell.state() == "done"]
        for cell in cells:
            if cell not in done:
                say(f"left out of the table: {cell.title} ({cell.state()})")
        records: list[dict[str, Any]] = [cell.record for cell in done if cell.record]
        before = sections.pop(benchmark.name, None)
        if before and (gone := dropped_cells(before["cells"], records)):
            say(f"no longer in the table, as {benchmark.runs} lacks them: {', '.join(gone)} (--from-table keeps them)")
        if records:
            sections[benchmark.name] = section(benchmark.recipe.about, benchmark.changes, records)
            typer.echo(recipe_section(benchmark.name, sections[benchmark.name]) + "\n")
    if not sections:
        say("no cell is done, so there is no table")
        return
    sections = dict(sorted(sections.items()))
    write_page(target, json_text(sections), markdown(sections))
    say(f"{target}.md, {target}.json")


def dropped_cells(before: Iterable[dict[str, Any]], now: Iterable[dict[str, Any]]) -> list[str]:
    """The titles of the cells that only `before` holds."""
    there = {(cell["variant"], cell["seed"]) for cell in now}
    return [
        f"{cell['variant']} split {cell['seed']}" for cell in before if (cell["variant"], cell["seed"]) not in there
    ]


def say(text: str) -> None:
    typer.echo(text, err=True)


if __name__ == "__main__":
    app()
