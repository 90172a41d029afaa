"""Networks, families, teachers and games of a user's own, by name, for recipes (docs/tasks/own-method.md).

A Python file registers them with the decorators below. It is run by whoever names it, `semivae --import FILE COMMAND`
or a program that imports it; a recipe or a run can only name what is registered.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from semivae.errors import RecipeError, RunError
from semivae.game.families import FAMILIES, Family
from semivae.game.game import Game
from semivae.game.teaching.teacher import MakeTeacher, Teacher
from semivae.recipe.registered import FAMILY, GAME, REGISTERED, Kind
from semivae.variables import PARAMETERS_PER_NUMBER

AnyType = TypeVar("AnyType", bound=type)
Shape = tuple[int, ...]
NETWORKS: dict[str, type[nn.Module]] = {}
TEACHERS: dict[str, MakeTeacher] = {}
GAMES: dict[str, type[Game]] = {}
PLACE_HOLDERS = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def network(name: str) -> Callable[[AnyType], AnyType]:
    """Registers a class of networks: `net: {name: own, network: NAME, options: {...}}`.

    The class is made from the shape of the given images (or None), the length of the given vectors, the shape of the
    output and its options. `forward(images, vectors)` returns parameters [batch, *output_shape], `features(images,
    vectors)` what lies below the last layer, [batch, features]; images are [batch, channels, height, width] or None,
    vectors [batch, length] or None. With `takes_fewer_images = True` (`semivae.nets`) it reads an image once for all
    classes of a vote; a subclass with a `forward` or `features` of its own says so itself.

    Raises:
        RecipeError: the name is none, or the class lacks one of the methods.
    """

    def keep(made: AnyType) -> AnyType:
        for method in ("forward", "features"):
            if not issubclass(made, nn.Module) or not callable(getattr(made, method, None)):
                raise RecipeError(
                    f"network {name}: {made.__name__} must be a torch.nn.Module with forward(images, vectors) and "
                    f"features(images, vectors); add {method}"
                )
        if not _says_itself(made):
            made.takes_fewer_images = False  # type: ignore[attr-defined]
        NETWORKS[_named("network", name)] = made
        return made

    return keep


def _says_itself(made: type) -> bool:
    """Returns whether what a class says of fewer images holds for its own methods, which it may not have inherited."""
    said = next((base for base in made.__mro__ if "takes_fewer_images" in vars(base)), object)
    later = made.__mro__[: made.__mro__.index(said)]
    return not any(method in vars(base) for base in later for method in ("forward", "features"))


def family(name: str, *, parameters: int) -> Callable[[AnyType], AnyType]:
    """Registers a subclass of `semivae.game.families.Family`, without arguments: `family: NAME`.

    Args:
        name: in recipes.
        parameters: how many a network puts out for each number of a value, such as 2 for location and scale.

    Raises:
        RecipeError: the name is none, or one that semivae itself uses, or the class is no family.
    """

    def keep(made: AnyType) -> AnyType:
        if not issubclass(made, Family):
            raise RecipeError(f"family {name}: {made.__name__} must be a subclass of semivae.game.families.Family")
        FAMILIES[_named("family", name)] = made()
        PARAMETERS_PER_NUMBER[name] = parameters
        return made

    return keep


def teacher(name: str) -> Callable[[AnyType], AnyType]:
    """Registers a subclass of `semivae.game.teaching.teacher.Teacher`: `views: {..., teacher: NAME}`.

    It is made from the label's name, the stream's views, the decoder and the moving average of the encoder, and gives
    the encoder's loss on unlabelled examples. Subclass the teacher of a kind of label to change a part of it.

    Raises:
        RecipeError: the name is none, or the class is no teacher.
    """

    def keep(made: AnyType) -> AnyType:
        if not issubclass(made, Teacher):
            raise RecipeError(
                f"teacher {name}: {made.__name__} must be a subclass of semivae.game.teaching.teacher.Teacher, such as "
                "of semivae.game.teaching.class_teacher.ClassTeacher"
            )
        TEACHERS[_named("teacher", name)] = made
        return made

    return keep


def game(name: str) -> Callable[[AnyType], AnyType]:
    """Registers a subclass of `semivae.game.game.Game`: `training: {objective: NAME}`.

    Override `lesson_loss` to change what a player learns in a lesson, `loss` for a turn, `turns` for their order.

    Raises:
        RecipeError: the name is none, or one that semivae itself uses, or the class is no game.
    """

    def keep(made: AnyType) -> AnyType:
        if not issubclass(made, Game):
            raise RecipeError(f"game {name}: {made.__name__} must be a subclass of semivae.game.game.Game")
        GAMES[_named("game", name)] = made
        return made

    return keep


def import_file(given: str | Path) -> None:
    """Runs a Python file, FILE.py, or imports a module by its dotted name, once a process.

    Raises:
        RunError: there is no such file or module. What the file itself raises is not caught.
    """
    path = Path(given)
    if path.suffix != ".py":
        try:
            found = importlib.util.find_spec(str(given))
        except (ImportError, ValueError):
            found = None
        if found is None:
            raise RunError(f"{given}: no such module; name an installed one, or a file that ends in .py")
        import_module(str(given))
        return
    if not path.is_file():
        raise RunError(f"{path}: there is no such file; correct --import")
    name = f"semivae_import_{re.sub(r'[^0-9A-Za-z_]', '_', str(path.resolve().with_suffix('')))}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # of a file that ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))  # as `python FILE` has it
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(str(path.resolve().parent))


def build_network(name: str, image: Shape | None, vectors: int, output: Shape, options: Mapping[str, Any]) -> nn.Module:
    """Returns a registered network, after a look at what it puts out for two examples of zeros.

    Raises:
        ValueError: the options are not those of its class, it fails, or it does not put out [batch, *output].
    """
    made = NETWORKS[name]
    try:
        inspect.signature(made).bind(image, vectors, output, **options)
    except TypeError as error:
        taken = [each.name for each in inspect.signature(made).parameters.values() if each.kind not in PLACE_HOLDERS]
        raise ValueError(
            f"network {name}: {error}; it is made from the shape of images, the length of vectors, the shape of the "
            f"output, and the options {', '.join(taken[3:]) or 'none'}"
        ) from None
    try:
        built = made(image, vectors, output, **options)
        if any(each.is_meta for each in built.parameters()):  # it is counted only
            return built
        images = None if image is None else torch.zeros(2, *image)
        with torch.no_grad():
            found = built.eval()(images, torch.zeros(2, vectors) if vectors else None)
    except Exception as error:
        raise ValueError(f"network {name} fails{_line_in(made, error)}: {type(error).__name__}: {error}") from error
    built.train()
    shape = list(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
    if shape != [2, *output]:
        raise ValueError(
            f"network {name} puts out {shape} for 2 examples and must put out {[2, *output]}: the batch, then the "
            "shape of the output that it was made with"
        )
    return built


def _line_in(made: type, error: Exception) -> str:
    """Returns where in the file of a class `error` came from; "" if not in it."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == inspect.getfile(made)]
    return f" at {lines[-1].filename}:{lines[-1].lineno}" if lines else ""


def _named(kind: Kind, name: str) -> str:
    """Notes that a name is registered, and returns it; registering it again replaces what it stood for."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise RecipeError(f"{kind} {name!r}: names have lower-case letters, digits and _, and start with a letter")
    if name in {"family": FAMILY.built_in, "game": GAME.built_in}.get(kind, ()):
        raise RecipeError(f"{kind} {name} is one of semivae's own; choose another name")
    REGISTERED[kind].add(name)
    return name
