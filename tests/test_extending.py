"""Networks, families, teachers and games of a user's own: registered by name, refused by message, kept by runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Laplace
from typer.testing import CliRunner

import semivae
from semivae import extending
from semivae.cli import app
from semivae.errors import RecipeError, RunError
from semivae.game.families import Family
from semivae.game.game import Game
from semivae.game.losses import Losses
from semivae.game.plan import Lesson
from semivae.game.readings import Asking
from semivae.game.teaching.class_teacher import ClassTeacher
from semivae.nets import Mlp
from semivae.recipe import dump_recipe, read_recipe
from semivae.recipe.schema import Recipe
from semivae.variables import Variable
from tests import narrow

pytestmark = pytest.mark.usefixtures("registrations_end")
SHORT: dict[str, object] = {"training.steps": 3, "training.validate_every": 3, "training.twin": False}
SHORT |= {key: value for key, value in narrow.DIGITS.items() if not key.startswith("encoder.y")}
Shape = tuple[int, ...]


class Linear(nn.Module):
    """A linear map of the pixels."""

    def __init__(self, image: Shape, vectors: int, output: Shape, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain
        self.head: nn.Module = nn.Linear(image[0] * image[1] * image[2] + vectors, output[0])

    def features(self, images: Tensor, vectors: Tensor | None) -> Tensor:
        return images.flatten(1) * self.gain

    def forward(self, images: Tensor, vectors: Tensor | None) -> Tensor:
        found: Tensor = self.head(self.features(images, vectors))
        return found


class LaplaceFamily(Family):
    def distribution(self, variable: Variable, parameters: Tensor) -> Distribution:
        loc, raw = parameters.chunk(2, dim=parameters.dim() - len(variable.shape))
        return Independent(Laplace(loc, raw.exp(), validate_args=False), len(variable.shape), validate_args=False)


def own(network: str, **options: object) -> dict[str, object]:
    return {"encoder.y.net": {"name": "own", "network": network, "options": options}}


def test_names_are_unknown_until_they_are_registered(tmp_path: Path) -> None:
    for changes, message in (
        (own("linear"), r"encoder.y.net.network: nothing is called 'linear'; a network of your own needs .*--import"),
        ({"variables.x.family": "laplace"}, r"must be one of bernoulli, .*, not 'laplace'; a family of your own"),
        ({"variables.x.family": "bernouli"}, r"not 'bernouli'; did you mean bernoulli\?"),
        ({"variables.x.family": 3}, r"must be one of bernoulli, .*, not 3$"),
        ({"training.objective": "mine"}, r"must be one of symmetric, elbo, not 'mine'; a game of your own needs"),
        ({"streams.unlabelled.views.teacher": "mine"}, "nothing is called 'mine'; a teacher of your own"),
        ({"streams.unlabelled.views.teacher": {"vote": 1}}, "must be the name of a teacher, not {'vote': 1}$"),
    ):
        with pytest.raises(RecipeError, match=message):
            read_recipe("digits_50labels", changes)
    extending.network("linear")(Linear)
    found = read_recipe("digits_50labels", own("linear", gain=2.0))
    (tmp_path / "mine.yaml").write_text(dump_recipe(found))
    assert read_recipe(tmp_path / "mine.yaml") == found
    with pytest.raises(RecipeError, match="must be linear, not 'linaer'; did you mean linear"):
        read_recipe("digits_50labels", own("linaer"))


def test_what_is_registered_is_of_its_kind() -> None:
    for decorator, made, message in (
        (extending.network("Linear"), Linear, "names have lower-case letters"),
        (extending.network("two"), nn.Linear, "add features"),
        (extending.network("two"), int, "add forward"),
        (extending.family("gaussian", parameters=2), LaplaceFamily, "gaussian is one of semivae's own"),
        (extending.family("laplace", parameters=2), int, "must be a subclass of semivae.game.families.Family"),
        (extending.teacher("mine"), Linear, "must be a subclass of semivae.game.teaching.teacher.Teacher"),
        (extending.game("elbo"), Game, "elbo is one of semivae's own"),
        (extending.game("mine"), Linear, "must be a subclass of semivae.game.game.Game"),
    ):
        with pytest.raises(RecipeError, match=message):
            decorator(made)


def test_a_subclass_takes_fewer_images_only_if_its_own_methods_do() -> None:
    class Joins(Mlp):
        def features(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
            assert images is not None and vectors is not None
            return torch.cat([images.flatten(1), vectors], dim=1)

    class Wider(Mlp):
        pass

    class Knows(Joins):
        takes_fewer_images = True

    for made, takes in ((Joins, False), (Wider, True), (Knows, True)):
        extending.network(made.__name__.lower())(made)
        assert made.takes_fewer_images is takes, made
    assert Mlp.takes_fewer_images


def test_networks_are_refused_for_their_options_and_their_shape(tmp_path: Path) -> None:
    class Wrong(Linear):
        def forward(self, images: Tensor, vectors: Tensor | None) -> Tensor:
            return super().forward(images, vectors)[:, :7]

    class NoHead(Linear):
        def __init__(self, image: Shape, vectors: int, output: Shape) -> None:
            super().__init__(image, vectors, output)
            self.head = nn.Sequential(self.head)

    for name, made in (("linear", Linear), ("wrong", Wrong), ("no_head", NoHead)):
        extending.network(name)(made)
    for changes, message in (
        (own("linear", gian=2), r"encoder.y.net: network linear: .*'gian'; .* and the options gain"),
        (own("wrong"), r"network wrong puts out \[2, 7\] for 2 examples and must put out \[2, 10\]"),
    ):
        with pytest.raises(RecipeError, match=message):
            semivae.train("digits_50labels", set=SHORT | changes, out=tmp_path / "run", progress=False)
    ladder = read_recipe("mnist_ladder_100labels", {"bottom_up": {"name": "own", "network": "no_head"}})
    from semivae.scenario.build import build_players

    with pytest.raises(RecipeError, match="bottom_up: features of this network are built upon"):
        build_players(ladder)


def test_a_run_with_all_four_is_kept_and_opened_again(tmp_path: Path) -> None:
    calls: dict[str, int] = {}

    @extending.teacher("counting")
    class Counting(ClassTeacher):
        def lesson(self, *args: Any) -> Asking[tuple[Tensor, dict[str, Tensor]]]:
            calls["teacher"] = calls.get("teacher", 0) + 1
            return super().lesson(*args)

    @extending.game("counting")
    class CountingGame(Game):
        def lesson_loss(self, lesson: Lesson, *args: Any) -> Asking[Losses]:
            calls[lesson.learner] = calls.get(lesson.learner, 0) + 1
            return super().lesson_loss(lesson, *args)

    extending.network("linear")(Linear)
    extending.family("laplace", parameters=2)(LaplaceFamily)
    changes = own("linear", gain=2.0) | {"variables.x.family": "laplace", "training.objective": "counting"}
    changes |= {"streams.unlabelled.views.teacher": "counting"}
    run = semivae.train("digits_50labels", set=SHORT | changes, out=tmp_path / "run", progress=False)
    assert calls == {"teacher": 3, "decoder": 6, "encoder": 9}  # three steps; lessons of the plan
    images = torch.rand(5, 1, 8, 8)
    again = semivae.load(tmp_path / "run")
    assert torch.equal(again.classifier().probabilities(images), run.classifier().probabilities(images))
    assert again.embed(images) == pytest.approx(2 * images.flatten(1).numpy(), abs=1e-6)  # fed as they are, by levels
    drawn = run.sample(3, y=1, noise=True, seed=0)["x"]
    assert drawn.shape == (3, 1, 8, 8)


def test_the_same_seed_trains_the_same_weights(tmp_path: Path) -> None:
    extending.network("linear")(Linear)
    weights = []
    for name in ("one", "two"):
        run = semivae.train("digits_50labels", set=SHORT | own("linear"), out=tmp_path / name, progress=False)
        weights.append(run.encoder.state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_a_file_is_imported_once_beside_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_mine.py").write_text("GAIN = 3\n")
    (tmp_path / "mine.py").write_text(
        "import neighbour_of_mine, pathlib\nwith open(pathlib.Path(__file__).parent / 'log', 'a') as file:\n"
        "    file.write(str(neighbour_of_mine.GAIN))\n"
    )
    before = list(sys.path)
    for _ in range(2):
        extending.import_file(tmp_path / "mine.py")
    assert (tmp_path / "log").read_text() == "3" and sys.path == before
    for missing, message in ((tmp_path / "none.py", "there is no such file"), ("no_such.module", "no such module")):
        with pytest.raises(RunError, match=message):
            extending.import_file(missing)
    (tmp_path / "broken.py").write_text("1 / 0")
    for _ in range(2):  # a file that failed is run again
        with pytest.raises(ZeroDivisionError):
            extending.import_file(tmp_path / "broken.py")


def test_commands_import_files_and_so_do_their_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from torch import nn\nfrom semivae import extending\n\n"
        "@extending.network('linear')\nclass Linear(nn.Linear):\n"
        "    def __init__(self, image, vectors, output):\n        super().__init__(image[1] ** 2, output[0])\n"
        "    def features(self, images, vectors):\n        return images.flatten(1)\n"
        "    def forward(self, images, vectors):\n        return super().forward(images.flatten(1))\n"
    )
    change = "encoder.y.net={name: own, network: linear}"
    words = ["check", "digits_50labels", "--set", change]
    assert CliRunner().invoke(app, words).exit_code == 2
    assert CliRunner().invoke(app, ["--import", str(file), *words]).exit_code == 0
    there = subprocess.run(  # the variable that the option has set
        [sys.executable, "-m", "semivae", *words], capture_output=True, text=True, check=False
    )
    assert there.returncode == 0, there.stderr
    assert CliRunner().invoke(app, ["--import", str(tmp_path / "none.py"), *words]).exit_code == 1


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("import torch\nx = (\n", "mine.py:2: SyntaxError: '(' was never closed"),
        ("\nimport no_such_package\n", "mine.py:2: ModuleNotFoundError: No module named 'no_such_package'"),
        ("import json\n\njson.loads('')\n", "mine.py:3: JSONDecodeError: Expecting value"),  # raised below it
    ],
)
def test_a_file_that_fails_is_refused_with_its_line(tmp_path: Path, written: str, message: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(written)
    result = CliRunner().invoke(app, ["--import", str(file), "recipes"])
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert f"error: --import {file} fails at {tmp_path}" in result.stderr and message in result.stderr


def test_the_line_of_a_file_named_from_its_folder_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is raised deeper, in a module of Python's, of which the user knows nothing."""
    (tmp_path / "mine.py").write_text("import json\n\njson.loads('{')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["--import", "mine.py", "schema"])
    assert f"--import mine.py fails at {tmp_path / 'mine.py'}:3: JSONDecodeError" in result.stderr


def test_recipes_of_strangers_register_nothing(tmp_path: Path) -> None:
    """A recipe that names a file as a network is refused, and the file is not run."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    for name in ("evil", "evil.py", str(tmp_path / "evil.py")):
        with pytest.raises(RecipeError, match="nothing is called"):
            read_recipe("digits_50labels", own(name))
    assert not (tmp_path / "ran").exists() and isinstance(read_recipe("digits_50labels"), Recipe)


def test_a_network_that_fails_is_refused_with_its_line(tmp_path: Path) -> None:
    class Failing(Linear):
        def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
            raise KeyError("no such weight")

    class Several(Linear):
        def forward(self, images: Tensor | None, vectors: Tensor | None) -> Any:
            return 1, 2

    extending.network("failing")(Failing)
    extending.network("several")(Several)
    for name, message in (
        ("failing", rf"encoder\.y\.net: network failing fails at {__file__}:\d+: KeyError: 'no such weight'"),
        ("several", r"network several puts out tuple for 2 examples and must put out \[2, 10\]"),
    ):
        recipe = read_recipe("digits_50labels", {"encoder.y.net": {"name": "own", "network": name}})
        with pytest.raises(RecipeError, match=message):
            semivae.train(recipe, out=tmp_path / "never")


def test_a_lesson_without_a_yield_is_refused(tmp_path: Path) -> None:
    class NoTeacher(ClassTeacher):
        def lesson(self, *_: Any) -> Any:
            return torch.zeros(()), {}

    class NoGame(Game):
        def lesson_loss(self, *_: Any) -> Any:
            return None

    extending.teacher("no_teacher")(NoTeacher)
    extending.game("no_game")(NoGame)
    for change, where in (
        ({"streams.unlabelled.views.teacher": "no_teacher"}, "NoTeacher.lesson"),
        ({"training.objective": "no_game"}, "NoGame.lesson_loss"),
    ):
        with pytest.raises(RecipeError, match=f"^{where} is no generator: it yields once what it asks"):
            semivae.train("digits_50labels", set=SHORT | change, out=tmp_path / where)
