"""The command line: `semivae COMMAND`. The only room that prints.

Nothing heavy is imported before a command needs it, so that `semivae --help` answers at once.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from semivae import __version__
from semivae.cli.diagnose_command import diagnose
from semivae.cli.doubts_command import doubts
from semivae.cli.generative_commands import chain, codes, likelihood, quality
from semivae.cli.hub_commands import card, push
from semivae.cli.impute_command import impute
from semivae.cli.inspect_command import inspect
from semivae.cli.launching import LOST
from semivae.cli.novelty_command import novelty
from semivae.cli.options import PLACES
from semivae.cli.pack_command import pack
from semivae.cli.recipe_commands import check, copy, recipes, schema, show
from semivae.cli.report_command import report
from semivae.cli.run_commands import embed, evaluate, export, predict, sample
from semivae.cli.showing import complain, data_warnings, note
from semivae.cli.start_command import start
from semivae.cli.strangers_command import strangers
from semivae.cli.suggest_command import suggest
from semivae.cli.train_command import train
from semivae.errors import LostProcessError, RecipeError, RunError, SemivaeError

OF_THE_SYSTEM = {  # what a disk or its owner refuses, whatever the command
    errno.ENOSPC: "no space is left on the device; make room and try again",
    errno.EDQUOT: "your quota of the disk is used up; make room and try again",
    errno.EROFS: "the disk can only be read; choose another place",
    errno.EACCES: "permission denied; choose another place, or ask its owner",
    errno.EPERM: "operation not permitted; choose another place, or ask its owner",
    errno.ENAMETOOLONG: "no file can have so long a name",
}
IMPORTS = "SEMIVAE_IMPORT"  # a variable of the environment


class PlainFlags:
    """Leaves the type of options without a value out of --help: newer versions of typer write <bool> beside them."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for option in params:
            if getattr(option, "is_flag", False):
                option.metavar = ""
        return params


class OneCommand(PlainFlags, TyperCommand):
    """Reads ~ as the home folder wherever a shell does not, as in --out=~/a.csv, and keeps what is read from --out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the arguments; of one too many it says that an option is repeated with each of its values."""
        given = set(args)
        try:
            rest: list[str] = super().parse_args(ctx, [with_home(text) for text in args])
        except Exception as error:  # click's UsageError, of which newer versions of typer hold a copy
            message = getattr(error, "message", "")
            several = [name for option in self.params if getattr(option, "multiple", False) for name in option.opts]
            meant = [name for name in several if name in given or (name == "--set" and "=" in message)]
            if "unexpected extra argument" in message and meant:
                form = f"{meant[0]} A {meant[0]} B"
                error.message = f"{message}: each value needs its option, {form}"  # type: ignore[attr-defined]
            raise
        refuse_own_input(ctx.params)
        return rest


class Commands(PlainFlags, TyperGroup):
    """Turns errors of users into one message and an exit status (`status_of`)."""

    def invoke(self, ctx: Any) -> Any:
        forget_odd_width()
        try:
            with data_warnings():
                return super().invoke(ctx)
        except SemivaeError as error:
            complain(str(error))
            raise typer.Exit(status_of(error)) from None
        except OSError as error:
            if error.errno not in OF_THE_SYSTEM:
                raise
            complain(refusal_of_the_system(error))
            raise typer.Exit(1) from None
        except (typer.Exit, typer.Abort):  # runtime errors too, though nothing failed: --help ends so
            raise
        except (RuntimeError, MemoryError) as error:
            from semivae.devices import is_out_of_memory

            if not is_out_of_memory(error):
                raise
            complain("no memory is left; close what else takes it, give fewer examples, or try --device cpu")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            note("stopped by Ctrl-C; the same command starts again, and no file is left half written")
            raise typer.Exit(130) from None


def forget_odd_width() -> None:
    """Forgets a width of the terminal that is none: in 0 columns nothing is printed, and in billions without end."""
    width = os.environ.get("COLUMNS", "")
    if width.isdigit() and not 20 <= int(width[:9]) <= 10_000:
        del os.environ["COLUMNS"]


def with_home(text: str) -> str:
    """Returns a word of the command line with the home folder for ~/ at the beginning of it or of an option's value."""
    option, sign, value = text.partition("=") if text.startswith("--") else ("", "", text)
    return option + sign + (os.path.expanduser(value) if value.startswith("~/") else value)


def refuse_own_input(values: Mapping[str, Any]) -> None:
    """Raises RunError where --out is what the command reads: with --overwrite it would be lost."""
    out = values.get("out")
    if out is None or not os.path.exists(out):
        return
    for name in values.keys() - {"out", "recipe", "data_root"}:  # a run may be called as its recipe
        given = values[name]
        for path in given if isinstance(given, list | tuple) else [given]:
            if isinstance(path, str | os.PathLike) and os.path.exists(path) and os.path.samefile(path, out):
                raise RunError(f"{out}: this is what the command reads; choose another name for --out")


def status_of(error: SemivaeError) -> int:
    """Returns the exit status of an error: 2 for recipes (as for usage), 3 where others have ended, 1 for the rest."""
    return 2 if isinstance(error, RecipeError) else LOST if isinstance(error, LostProcessError) else 1


def refusal_of_the_system(error: OSError) -> str:
    """Returns what a disk or its owner refuses, of an error whose number is in OF_THE_SYSTEM."""
    return f"{error.filename or 'standard output'}: {OF_THE_SYSTEM[error.errno or 0]}"


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Learn from a few labels and many unlabelled examples: one model that classifies and generates.",
    epilog=f"{PLACES}\n\nFirst result: semivae train digits_50labels\n\n"
    "Own data: semivae start FOLDER my.yaml, then: semivae train my.yaml",
)


def show_version(wanted: bool) -> None:
    if wanted:
        print(f"semivae {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    own: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            metavar="FILE",
            help="First run a Python file of yours, or import a module, that registers networks, families, teachers "
            f"or games (semivae.extending). By default what ${IMPORTS} names, parted by commas.",
        ),
    ] = None,
) -> None:
    files = own or [name for name in os.environ.get(IMPORTS, "").split(",") if name]
    if files:
        from semivae.cli.importing import import_own

        os.environ[IMPORTS] = ",".join(files)  # for the processes that a command starts
        for name in files:
            import_own(name)


COMMANDS: dict[str, tuple[Callable[..., Any], ...]] = {  # by the headings under which --help lists them
    "Data and recipes": (inspect, start, recipes, copy, show, check, schema, pack),
    "Train and measure": (train, evaluate, report, diagnose, likelihood, quality),
    "Use a run": (predict, sample, impute, embed, novelty, chain, codes),
    "Improve the labels": (suggest, doubts, strangers),
    "Ship a run": (export, card, push),
}
for heading, commands in COMMANDS.items():
    for command in commands:
        app.command(cls=OneCommand, rich_help_panel=heading, epilog=PLACES if command is train else None)(command)


def main() -> None:
    """Runs the `semivae` command."""
    # closed by whoever started this: there is nobody to tell
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a sign that the terminal lacks becomes ?, no traceback after hours
            stream.reconfigure(errors="replace")
    try:
        app(prog_name="semivae")
    except OSError as error:  # --help is printed before a command begins
        if error.errno not in OF_THE_SYSTEM:
            raise
        complain(refusal_of_the_system(error))
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in its buffer
        sys.exit(1)
