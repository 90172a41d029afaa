"""`semivae start`: from data to the recipe that fits them."""

from __future__ import annotations

import shlex
from dataclasses import replace
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semivae.cli.options import LabelOption
from semivae.cli.showing import note, say
from semivae.cli.writing import check_target, write_file

if TYPE_CHECKING:
    from semivae.inspection.inspecting import Asked
    from semivae.inspection.result import Inspected


class ImageTemplate(StrEnum):
    """The templates for images in folders."""

    photos = "photos"
    photos_tuned = "photos_tuned"
    folder = "folder"


def start(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder or .zip of images, a table, or an .npz file.")],
    destination: Annotated[
        Path | None, typer.Argument(metavar="DEST", help="The recipe. Default: NAME.yaml in the current folder.")
    ] = None,
    label: LabelOption = None,
    changes: Annotated[
        list[str],
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Say how the data are read, such as source.size=64. Repeatable."
        ),
    ] = [],  # noqa: B006  typer copies it
    template: Annotated[
        ImageTemplate | None,
        typer.Option(
            "--template",
            help="Of images in folders: photos (features of a pretrained network), photos_tuned (that network goes on "
            "learning) or folder (small pictures).",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Weights of timm's tf_efficientnet_lite0, for photographs. Default: those in timm's cache.",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A tenth of the steps, to see something soon.")] = False,
    time: Annotated[
        bool, typer.Option("--time", help="Take a few steps, and say how long the training will take here.")
    ] = False,
) -> None:
    """Inspect data and write the recipe that fits them.

    No file is ever overwritten.
    """
    if others := [text for text in changes if not text.strip().startswith("source.")]:
        raise typer.BadParameter(
            f"{others[0]}: only keys of source are set here; edit the recipe that is written, or pass this to train",
            param_hint="--set",
        )
    target = destination or Path(f"{path.absolute().stem}.yaml")
    if target.is_dir():
        target = target / f"{path.absolute().stem}.yaml"
    check_target(target, False, ".yaml", ".yml", hint="choose another name")
    from semivae.inspection.inspecting import asked_for, inspect_asked
    from semivae.inspection.starting import recipe_text

    asked = asked_for(path, changes, label, bare=True)
    inspected = inspect_asked(asked)
    asked = with_template(asked, inspected, template, weights is not None)
    for warning in inspected.report.warnings:  # they may say why the recipe is refused
        note(warning, "warning")
    text = recipe_text(asked, inspected, quick, weights)
    write_file(target, text.encode())
    if any("source.fit" in warning for warning in inspected.report.warnings) and ", fit: pad" in text:
        note("the recipe says fit: pad, so that nothing is cropped")
    say(f"{target}: {asked.chosen}; {text.splitlines()[0].partition(': ')[2]}")
    if time:
        from semivae.cli.timing import time_estimate

        say(time_estimate(target))
    say(f"next: semivae train {shlex.quote(str(target))}")


def with_template(asked: Asked, inspected: Inspected, template: ImageTemplate | None, weights_given: bool) -> Asked:
    """What was asked for, with the template `photos` for photographs whose network is at hand, or as the user says."""
    from semivae.inspection.starting import PHOTOGRAPHS, are_photographs, network_is_at_hand

    if asked.template != "folder" or (template in PHOTOGRAPHS and getattr(asked.source, "folders", None)):
        if template is not None or weights_given:
            what = "--template" if template is not None else "--weights"
            raise typer.BadParameter(
                "it is for images in folders of one label, and these data are no such", param_hint=what
            )
        return asked
    if template is None and not weights_given:
        if not are_photographs(asked, inspected):
            return asked
        if not network_is_at_hand():
            first = "" if find_spec("timm") else "pip install 'semivae[timm]' and "
            note(
                "these are photographs. Features of a pretrained network tell their classes from far fewer labels than "
                f"small pictures do: {first}choose --template photos, which downloads its weights once, or give them "
                "as --weights FILE"
            )
            return asked
    if template is ImageTemplate.folder:
        return asked
    name = template or ImageTemplate.photos
    return replace(asked, template=str(name), chosen=f"{asked.chosen}; photographs, {PHOTOGRAPHS[name]}")
