"""The schema for people and for editors: docs/recipe.md, and a JSON schema. Both come from the models alone."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic.fields import FieldInfo

from semivae.recipe import bodies, networks, schema
from semivae.recipe.former_names import FORMER_KEYS, FORMER_VALUES
from semivae.recipe.registered import Choice
from semivae.recipe.section import LARGEST, Section

DIALECT = "https://json-schema.org/draft/2020-12/schema"

# chapters of the page: a key of the recipe, and the sections below it with their headings (empty: the chapter's own)
CHAPTERS: dict[str, dict[type[Section], str]] = {
    "source": {
        schema.BuiltInSource: "Source: a public data set",
        schema.SimulatedLabel: "Simulated label",
        schema.FolderSource: "Source `folder`",
        schema.ArraysSource: "Source `arrays`",
        schema.TableSource: "Source `table`",
        schema.MasksSource: "Source `masks`",
        schema.CelebAMaskSource: "Source `celebamask_hq`",
        schema.DigitPairsSource: "Source `digit_pairs`",
        schema.TurnedSource: "Source `turned`",
        schema.MemorySource: "Source `memory`",
    },
    "split": {schema.SplitSpec: "", schema.LongTailSpec: "Long tail"},
    "features": {
        schema.FeatureSpec: "Features by a frozen network",
        bodies.TorchvisionBody: "Features by `torchvision`",
        bodies.TimmBody: "Features by `timm`",
    },
    "variables": {schema.VariableSpec: "Variable", schema.StrangersSpec: "Strangers"},
    "decoder": {
        schema.ConditionalSpec: "Factor",
        schema.FlowSpec: "Flow",
        schema.ProbabilitiesSpec: "Class probabilities",
        schema.TableSpec: "Table",
        schema.ConfusionSpec: "Confusion",
    },
    "encoder": {},
    "bottom_up": {},
    "networks": {
        networks.MlpSpec: "Network `mlp`",
        networks.ConvSpec: "Network `conv`",
        networks.WideResnetSpec: "Network `wide_resnet`",
        networks.PooledResnetSpec: "Network `pooled_resnet`",
        networks.DeconvSpec: "Network `deconv`",
        networks.UnetSpec: "Network `unet`",
        networks.ValidConvSpec: "Network `valid_conv`",
        networks.ValidDeconvSpec: "Network `valid_deconv`",
        bodies.TorchvisionSpec: "Network `torchvision`",
        bodies.TimmSpec: "Network `timm`",
        networks.RunSpec: "Network `run`",
        networks.OwnSpec: "Network `own`",
        bodies.PretrainedUnetSpec: "Network `pretrained_unet`",
    },
    "views": {schema.ViewSpec: "Augmentation", schema.TurnSpec: "Turn"},
    "streams": {
        schema.StreamSpec: "Stream",
        schema.PairOfViews: "Pair of views",
        schema.VoteSpec: "Vote",
        schema.LossWeight: "Loss weight",
        schema.PlayerLossWeights: "Loss weights by player",
        schema.CountsSpec: "Class counts",
        schema.FrequenciesSpec: "Frequencies of attributes",
        schema.NormalSpec: "Normal numbers",
        schema.RangeSpec: "Numbers of a range",
        schema.FileSpec: "Values from a file",
    },
    "training": {
        schema.TrainingSpec: "",
        schema.PlayerRates: "Learning rates by player",
        schema.PlayerOptimizers: "Optimizers by player",
    },
    "painter": {schema.PainterSpec: ""},
}
NETWORKS = (
    "The networks of factors and of `bottom_up`, chosen by `name`. Given variables with rows and columns (images, maps)"
    " enter as images; all others are joined into one vector."
)
HEADINGS = {section: heading or key for key, chapter in CHAPTERS.items() for section, heading in chapter.items()}

INTRODUCTION = """\
# The recipe, key by key

<!-- Made by `semivae schema --markdown > docs/recipe.md`; edit the descriptions in semivae/recipe/ instead. -->

A recipe is a YAML file (version 1.2) that says which data to read, which variables the model has, and how its two
players are trained. `semivae copy digits_50labels mine.yaml` gives one to start from, `semivae check mine.yaml` lists
every mistake with its line, and `semivae show mine.yaml` prints the resulting plan. Any key can be changed on the
command line, through the same checks: `--set training.steps=500 --set 'streams.labels.loss_weights={y: 0}'`.

Unknown keys are errors. A key that is left out has its default. Write Windows paths with forward slashes
(`C:/Users/me/images`) or in single quotes.

## In an editor

`semivae schema > recipe.schema.json` writes the JSON schema of recipes. With the YAML extension of VS Code (or any
editor that uses yaml-language-server), keys are then completed and explained, and mistakes are underlined, if a recipe
begins with

```yaml
# yaml-language-server: $schema=recipe.schema.json
```

or if `.vscode/settings.json` says `"yaml.schemas": {"./recipe.schema.json": ["recipes/*.yaml"]}`.

## Former names

Recipes, `--set` and the runs of earlier versions may use these names; they mean the same, and the command line says
what they are called now. Giving both names of a key is an error.

| former | now |
|---|---|
"""


def json_schema() -> dict[str, Any]:
    """The JSON schema of a recipe, under present names."""
    return {"$schema": DIALECT, **schema.Recipe.model_json_schema(), "title": "semivae recipe"}


def reference_page() -> str:
    """docs/recipe.md: every key with its type, default and description."""
    return "\n".join([INTRODUCTION + "\n".join(_former_rows()), "", *_overview(), *_chapters()])


def _former_rows() -> Iterator[str]:
    for path, name in FORMER_KEYS.items():
        yield f"| `{_written(path)}` | `{_written((*path[:-1], name))}` |"
    for path, names in FORMER_VALUES.items():
        for former, name in names.items():
            yield f"| `{_written(path)}: {former}` | `{_written(path)}: {name}` |"


def _written(path: tuple[str, ...]) -> str:
    return ".".join(path).replace("*", "NAME")


def _overview() -> Iterator[str]:
    yield "## The sections of a recipe"
    yield ""
    yield from _table(schema.Recipe)


def _chapters() -> Iterator[str]:
    for key, sections in CHAPTERS.items():
        yield f"## {key}"
        yield ""
        if "" not in sections.values():
            yield from (NETWORKS if key == "networks" else _summary(schema.Recipe.model_fields[key]), "")
        for section, heading in sections.items():
            yield from (f"### {heading}", "") if heading else ()
            yield _text(section)
            yield ""
            yield from ("```yaml", section.example, "```", "") if section.example else ()
            yield from _table(section)


def _summary(field: FieldInfo) -> str:
    return f"{field.description} Value: {_form(field.rebuild_annotation())}."


def _table(section: type[Section]) -> Iterator[str]:
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for name, field in section.model_fields.items():
        cells = (f"`{name}`", _form(field.rebuild_annotation()), _default(field), field.description or "")
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
    yield ""


def _text(section: type[Section]) -> str:
    """The docstring, a paragraph a line."""
    paragraphs = re.split(r"\n\s*\n", (section.__doc__ or "").strip())
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    return "none" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


# What a value may be, in words ----------------------------------------------------------------------------------------


def _form(annotation: Any) -> str:
    """What may be written for an annotation: `whole number ≥ 1`."""
    forms = list(dict.fromkeys(_forms(annotation)))
    return " or ".join([", ".join(forms[:-1]), forms[-1]] if len(forms) > 1 else forms)


def _forms(annotation: Any, plural: str = "") -> list[str]:
    """The alternatives for an annotation; `plural` is `s` inside a list."""
    annotation, metadata = _unwrapped(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        if schema.ConditionalSpec.model_fields["net"].annotation == annotation:
            return ["[network](#networks)"]
        return [form for member in get_args(annotation) if member is not type(None) for form in _forms(member, plural)]
    if get_origin(annotation) is Literal:
        return [f"`{choice}`" for choice in get_args(annotation)]
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [f"[{_link_text(annotation)}](#{anchor(HEADINGS[annotation])})"]
    if get_origin(annotation) is tuple:
        first, *others = get_args(annotation)
        kind = "list" if others == [Ellipsis] else "pair"
        least = [each.min_length for each in metadata if isinstance(each, MinLen)]
        return [f"{kind} of {' or '.join(_forms(first, 's'))}" + "".join(f" (at least {number})" for number in least)]
    if get_origin(annotation) is dict:
        key, value = get_args(annotation)
        known = "" if _unwrapped(key)[0] is str else f" ({', '.join(_forms(key))})"
        return [f"by name{known}: {_form(value)}"]
    if annotation is bool:
        return ["`true`", "`false`"]
    if choice := next((each.func for each in metadata if isinstance(getattr(each, "func", None), Choice)), None):
        return [*(f"`{name}`" for name in choice.built_in), "registered name"]
    is_name = any(getattr(each, "pattern", None) for each in metadata)
    word = {int: "whole number", float: "number", str: "name" if is_name else "string"}[annotation]
    return [word + plural + _bounds(metadata)]


def _unwrapped(annotation: Any) -> tuple[Any, list[Any]]:
    """An annotation without `Annotated`, and what was said beside it."""
    metadata: list[Any] = []
    while get_origin(annotation) is Annotated:
        annotation, *beside = get_args(annotation)
        for each in beside:
            metadata += each.metadata if isinstance(each, FieldInfo) else [each]
    return annotation, metadata


def _link_text(section: type[Section]) -> str:
    return HEADINGS[section].removeprefix("Source ").removeprefix("Source: ").removeprefix("Network ").lower()


def anchor(heading: str) -> str:
    """The anchor that a heading gets on a page."""
    return re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-")


def _bounds(metadata: list[Any]) -> str:
    """Bounds of a number: ` ≥ 1`, ` in [0, 1)`."""
    lower = next(((each.ge, "[", "≥") for each in metadata if isinstance(each, Ge)), None) or next(
        ((each.gt, "(", ">") for each in metadata if isinstance(each, Gt)), None
    )
    upper = next(((each.le, "]") for each in metadata if isinstance(each, Le) and each.le != LARGEST), None) or next(
        ((each.lt, ")") for each in metadata if isinstance(each, Lt)), None
    )
    if lower is None:
        return ""
    if upper is None:
        return f" {lower[2]} {lower[0]:g}"
    return f" in {lower[1]}{lower[0]:g}, {upper[0]:g}{upper[1]}"
