"""What can be done with a recipe short of training: recipes, schema, show, check, copy."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semivae.cli.options import DataRootOption, JsonOption, RecipeArgument, SetOption
from semivae.cli.showing import console, note, reply, say
from semivae.cli.writing import check_target, write_file
from semivae.errors import RecipeError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from semivae.recipe import Recipe


def recipes(as_json: JsonOption = False) -> None:
    """List the recipes that come with semivae."""
    from rich.table import Table
    from rich.text import Text

    from semivae.recipe import read_recipe, shipped_recipes

    abouts = {name: read_recipe(path).about for name, path in shipped_recipes().items()}
    rows = Table.grid(padding=(0, 2))
    for name, about in abouts.items():
        rows.add_row(Text(name, style="bold"), about)
    reply({"recipes": [{"name": name, "about": about} for name, about in abouts.items()]}, as_json, console(), rows)


def schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/recipe.md instead.")] = False,
) -> None:
    """Print the JSON schema of recipes, for editors."""
    import json

    from semivae.recipe.reference import json_schema, reference_page

    print(reference_page() if markdown else json.dumps(json_schema(), indent=2, ensure_ascii=False))


def note_former_names(recipe: str, changes: Sequence[str]) -> None:
    """Says on stderr which names of earlier versions a recipe uses, once for each name."""
    from semivae.recipe import former_names

    for line in former_names(recipe, changes):
        note(f"{line}; the former name still works")


def show(
    recipe: RecipeArgument,
    changes: SetOption = [],  # noqa: B006  typer copies it
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a recipe's variables, plan and size; train nothing."""
    from semivae.cli.tables import parameters_table, plan_table, variables_table
    from semivae.recipe import read_recipe

    note_former_names(recipe, changes)
    read = read_recipe(recipe, changes)
    from semivae.recipe.body_places import body_specs
    from semivae.scenario.build import all_parameter_counts
    from semivae.scenario.plan import plan_of
    from semivae.scenario.plan_rows import plan_rows
    from semivae.scenario.pretrained import size_notes

    plan = plan_of(read)
    resolved, lack, about_data = with_shapes(read, data_root)
    numbers = None if resolved is None else all_parameter_counts(resolved)
    counts, frozen = (None, None) if numbers is None else (numbers["learnt"], numbers["frozen"])
    notes = size_notes(resolved) if resolved is not None and body_specs(resolved) else []
    columns = ("stream", "learner", "completion", "scores")
    report = {
        "recipe": recipe,
        "about": read.about,
        "objective": read.training.objective,
        "variables": {name: spec.model_dump(mode="json") for name, spec in (resolved or read).variables.items()},
        "plan": [dict(zip(columns, row, strict=True)) for row in plan_rows(plan)],
        "parameters": counts,
        "frozen_parameters": frozen,
        "data": list(about_data),
        "notes": notes,
    }
    for line in notes:
        note(line)
    last: RenderableType = (
        f"Parameters: not known, {lack}" if counts is None else parameters_table(counts, frozen or {})
    )
    shown = plan_table(plan, read.training.objective)
    reply(report, as_json, console(), read.about, *about_data, variables_table(resolved or read), shown, last)


def with_shapes(recipe: Recipe, data_root: Path | None) -> tuple[Recipe | None, str, tuple[str, ...]]:
    """The recipe with all shapes known, from the data where it leaves them out, or None and why not; and what the data
    hold, in lines, where they were read."""
    from semivae.data.sources import data_root as find_data_root
    from semivae.data.sources import load_source
    from semivae.errors import DataError
    from semivae.runs.bodies import with_earlier_networks
    from semivae.scenario.build import resolve
    from semivae.scenario.shapes import has_shapes
    from semivae.tasks.splitting import prepared, split_lines

    if has_shapes(recipe):
        return with_earlier_networks(recipe), "", ()
    try:
        dataset = prepared(load_source(recipe.source, find_data_root(data_root), download=False), recipe)
        resolved = with_earlier_networks(resolve(recipe, dataset))
        return resolved, "", split_lines(dataset, recipe.split)
    except DataError as error:
        return None, str(error), ()


def refuse_too_large(recipe: Recipe) -> None:
    """Raises RecipeError where nothing here has the memory to train a recipe with all shapes."""
    import torch

    from semivae.devices import memory_of
    from semivae.runs.bodies import with_earlier_networks
    from semivae.scenario.build import all_parameter_counts
    from semivae.scenario.memory import refuse_large_training
    from semivae.scenario.plan import plan_of

    recipe = with_earlier_networks(recipe)
    devices = [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]
    largest = max((memory_of(device) for device in devices), key=lambda memory: memory.size)
    counts = all_parameter_counts(recipe)
    refuse_large_training(recipe, plan_of(recipe), counts["learnt"], largest, counts["frozen"])


def check(
    recipes: Annotated[list[str], typer.Argument(metavar="RECIPE...", help="YAML files, or names of shipped recipes.")],
    changes: SetOption = [],  # noqa: B006  typer copies it
    data_root: Annotated[
        Path | None,
        typer.Option("--data-root", metavar="DIR", help="Folder of the data; if given, the data are checked too."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List all mistakes of recipes, and of their data.

    Data are read where --data-root says where they are.
    """
    mistakes = {recipe: recipe_mistakes(recipe, changes) for recipe in recipes}
    wrong = any(mistakes.values())
    for recipe in recipes if data_root is not None else ():
        mistakes[recipe] += [] if mistakes[recipe] else data_mistakes(recipe, changes, data_root)
    lines = [f"{recipe}: ok" if not found else "\n".join(found) for recipe, found in mistakes.items()]
    rows = [{"recipe": recipe, "ok": not found, "errors": found} for recipe, found in mistakes.items()]
    reply({"recipes": rows}, as_json, console(), *lines)
    if any(mistakes.values()):
        raise typer.Exit(2 if wrong else 1)


def data_mistakes(recipe: str, changes: Sequence[str], data_root: Path | None) -> list[str]:
    """The lines of what is wrong with the data of a recipe, or does not fit them; empty where nothing is."""
    from semivae.data.sources import data_root as find_data_root
    from semivae.errors import SemivaeError
    from semivae.inspection.inspecting import inspect_source
    from semivae.recipe import read_recipe
    from semivae.scenario.build import resolve
    from semivae.scenario.memory import looks_large
    from semivae.scenario.shapes import net_mistakes
    from semivae.tasks.splitting import prepared

    read = read_recipe(recipe, changes)
    found: list[str] = []
    try:
        inspected = inspect_source(read.source, find_data_root(data_root), read.split)
        found += inspected.report.mistakes
        if (dataset := inspected.shaped()) is not None:
            resolved = resolve(read, prepared(dataset, read))
            found += net_mistakes(resolved)
            if not found and looks_large(resolved):
                refuse_too_large(resolved)
    except SemivaeError as error:
        found.append(str(error))
    return [f"{recipe}: {mistake}" for mistake in found]


def recipe_mistakes(recipe: str, changes: Sequence[str]) -> list[str]:
    """The lines of what is wrong with a recipe; empty where nothing is. Imports no torch, unless it looks too large."""
    from semivae.recipe import read_recipe

    try:
        note_former_names(recipe, changes)
        read = read_recipe(recipe, changes)
    except RecipeError as error:
        return str(error).splitlines()
    from semivae.recipe.body_places import body_specs
    from semivae.scenario.memory import looks_large
    from semivae.scenario.plan import plan_of, twin_plan
    from semivae.scenario.shapes import has_shapes, net_mistakes

    mistakes: list[str] = []
    try:
        (twin_plan if read.training.twin else plan_of)(read)
    except RecipeError as error:
        mistakes.append(str(error))
    if has_shapes(read):
        mistakes += net_mistakes(read)
    if not mistakes and body_specs(read):
        from semivae.runs.bodies import body_mistakes

        mistakes += body_mistakes(read)
    if not mistakes and has_shapes(read) and looks_large(read):
        try:
            refuse_too_large(read)
        except RecipeError as error:
            mistakes.append(str(error))
    return [line for mistake in dict.fromkeys(mistakes) for line in f"{recipe}: {mistake}".splitlines()]


def copy(
    recipe: RecipeArgument,
    destination: Annotated[
        Path | None,
        typer.Argument(metavar="[DEST]", help="A file or folder. Default: RECIPE.yaml in the current folder."),
    ] = None,
) -> None:
    """Copy a recipe for you to edit.

    No file is ever overwritten.
    """
    from semivae.recipe import find_recipe, read_recipe

    source = find_recipe(recipe)
    read_recipe(source)  # nothing but a recipe is copied
    target = destination or Path(f"{source.stem}.yaml")
    if target.is_dir():
        target = target / f"{source.stem}.yaml"
    check_target(target, False, hint="choose another name")
    write_file(target, source.read_bytes())
    say(f"{target}: edit it, then: semivae train {shlex.quote(str(target))}")
