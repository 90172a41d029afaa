"""Recipe x variant x split seed, resumable, to one table: `python -m benchmarks.accuracy digits_50labels --seeds 0..4`.

What is there is kept: complete cells are skipped, interrupted runs go on, and a cell that was made from another recipe
is refused (`--retrain` makes it anew). A recipe's table is rebuilt from its cells; other recipes' tables stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.accuracy.benchmark import Benchmark
from benchmarks.accuracy.cells import METHODS, Cell
from benchmarks.accuracy.tables import json_text, markdown, read_tables, recipe_part, section
from benchmarks.common.commands import user_errors
from benchmarks.common.pages import json_path, write_page
from semivae.cli.options import DataRootOption, DeviceOption, SetOption
from semivae.cli.progress import clock
from semivae.cli.train_command import seed_numbers
from semivae.errors import RunError, SemivaeError
from semivae.recipe.explaining import suggestion
from semivae.training.phase import Progress

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
    retrain: Annotated[bool, typer.Option("--retrain", help="Make cells anew whose recipe has changed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the cells and what is done; do nothing.")] = False,
    from_table: Annotated[
        bool, typer.Option("--from-table", help="Cells that the folder lacks and the table has are taken from there.")
    ] = False,
    table: Annotated[bool, typer.Option("--table", help="Only rebuild the tables from the cells there are.")] = False,
) -> None:
    """Compare recipes with what their labels give alone, with parts of themselves, and with scikit-learn."""
    with user_errors():
        target = out or runs / "accuracy"
        read_tables(json_path(target))  # a file that is another is found out before hours of work
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
        failed = fill_cells(cells, data_root, device)
        write_tables(benchmarks, target)
        if failed:
            raise RunError("these cells could not be made, the others were:\n" + "\n".join(failed))


def variant_names(text: str) -> list[str]:
    """The variants of `a,b`, in the order of the table."""
    asked = [name.strip() for name in text.split(",")]
    for name in asked:
        if name not in METHODS:
            raise typer.BadParameter(f"no variant {name!r}; {suggestion(name, METHODS)}", param_hint="--variants")
    return [name for name in METHODS if name in asked]


def refuse_equal_names(benchmarks: Sequence[Benchmark]) -> None:
    names = [benchmark.name for benchmark in benchmarks]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise RunError(f"two recipes are called {twice[0]}, so their cells would be mixed up; rename one of the files")


def refuse_changed(cells: Iterable[Cell]) -> None:
    changed = {cell.title: cell.changes() for cell in cells}
    lines = [f"{title}:\n" + "\n".join(f"  - {line}" for line in found) for title, found in changed.items() if found]
    if lines:
        raise RunError(
            "these cells were made from another recipe:\n" + "\n".join(lines) + "\n"
            "Make them anew with --retrain, undo the changes, or choose another folder with --runs"
        )


def show_states(cells: Iterable[Cell]) -> None:
    for cell in cells:
        state = cell.state()
        kept = cell.kept or {}
        typer.echo(f"{cell.title}: {state}" + (f", error {kept['result']['error']:.2%}" if state == "done" else ""))
        for line in cell.changes():
            typer.echo(f"  - {line}")


def fill_cells(cells: dict[Benchmark, list[Cell]], data_root: Path | None, device: str) -> list[str]:
    """Makes what is not done; returns what could not be made, and why."""
    from benchmarks.accuracy.measuring import fill, read_samples

    waiting = [cell for each in cells.values() for cell in each if cell.state() != "done"]
    failed = []
    for number, cell in enumerate(waiting, start=1):
        title = f"[{number}/{len(waiting)}] {cell.title}"
        say(title)
        try:
            fill(cell, data_root, device, progress_lines(title))
        except SemivaeError as error:
            failed.append(f"- {cell.title}: {error}")
            continue
        say(f"{title}: error {(cell.kept or {})['result']['error']:.2%}")
    for benchmark, each in cells.items():
        for cell in each:
            trained = cell.variant == "whole" and cell.state() == "done" and cell.run.exists()
            reader = benchmark.reader(cell.seed) if trained else None
            if reader is None:
                continue
            try:
                read_samples(cell, reader, data_root, device)
            except SemivaeError as error:
                failed.append(f"- {cell.title}, its samples: {error}")
    return failed


def progress_lines(title: str) -> Callable[[Progress], None]:
    """A line for each validation and each message."""

    def show(progress: Progress) -> None:
        if progress.message:
            say(f"{title}: {progress.message}")
        elif progress.validation_error is not None:
            where = f"step {progress.step:,}/{progress.steps:,}, validation error {progress.validation_error:.2%}"
            say(f"{title}: {where}, {clock(progress.seconds_left)} left")

    return show


def write_tables(benchmarks: Sequence[Benchmark], target: Path) -> None:
    """Rebuilds the sections of these recipes; says which cells are left out, and which are no longer there."""
    sections = read_tables(json_path(target))
    for benchmark in benchmarks:
        found = list(benchmark.present())
        done = [cell for cell in found if cell.state() == "done"]
        for cell in found:
            if cell not in done:
                say(f"left out of the table: {cell.title} ({cell.state()})")
        kept: list[dict[str, Any]] = [cell.kept for cell in done if cell.kept]
        before = sections.pop(benchmark.name, None)
        if before and (gone := lost(before["cells"], kept)):
            say(f"no longer in the table, as {benchmark.runs} lacks them: {', '.join(gone)} (--from-table keeps them)")
        if kept:
            sections[benchmark.name] = section(benchmark.recipe.about, benchmark.changes, kept)
            typer.echo(recipe_part(benchmark.name, sections[benchmark.name]) + "\n")
    if not sections:
        say("no cell is done, so there is no table")
        return
    sections = dict(sorted(sections.items()))
    write_page(target, json_text(sections), markdown(sections))
    say(f"{target}.md, {target}.json")


def lost(before: Iterable[dict[str, Any]], now: Iterable[dict[str, Any]]) -> list[str]:
    there = {(cell["variant"], cell["seed"]) for cell in now}
    return [
        f"{cell['variant']} split {cell['seed']}" for cell in before if (cell["variant"], cell["seed"]) not in there
    ]


def say(text: str) -> None:
    typer.echo(text, err=True)


if __name__ == "__main__":
    app()
