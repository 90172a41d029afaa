"""Kinds of labels: which variable is which, what each refuses, and several labels beside one another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution

from semivae.api import Run
from semivae.cli.kinds import KindOfLabel, shown_as
from semivae.data.dataset import Dataset, LabelInfo
from semivae.data.splits import Split, plain_split
from semivae.data.streams import ArrayStream, Stream
from semivae.data.unpaired import Unpaired
from semivae.errors import DataError, RecipeError, RunError
from semivae.game.game import Game
from semivae.game.players import Player
from semivae.game.readings import Asking
from semivae.game.teaching.class_teacher import ClassTeacher
from semivae.game.teaching.map_teacher import MapTeacher
from semivae.game.teaching.teacher import StreamViews, Teacher
from semivae.generative.chain import run_chains
from semivae.generative.codes import draw_codes
from semivae.generative.imputation import impute
from semivae.generative.likelihood import consistency, likelihood
from semivae.generative.sampling import draw
from semivae.monitoring.context import Context
from semivae.monitoring.failures import drifting_label, figure_interval, worse_than_twin
from semivae.monitoring.validator import Validator
from semivae.recipe.schema import Recipe, SplitSpec, VariableSpec
from semivae.scenario.build import build_scenario
from semivae.scenario.plan import plan_of, roles_of
from semivae.tasks.kinds import ATTRIBUTES, CLASSES, KINDS, MAPS, NOTHING, NUMBERS, task_named, task_of
from semivae.tasks.splitting import make_split
from semivae.tasks.task import Headline, LabelStatistics, Task, reason, takes
from semivae.tasks.user_values import UserValue, numbers
from semivae.variables import Variable

CPU = torch.device("cpu")
OPTIONS = {
    "answering",
    "calibrate",
    "ratio",
    "align",
    "information",
    "vote",
    "adjust",
    "mixup",
    "cutmix",
    "prior",
    "test_prior",
    "judge",
    "sets",
    "doubt",
    "suggest",
    "doubts",
}


@pytest.mark.parametrize(
    ("name", "spec", "kind"),
    [
        ("y", {"family": "categorical"}, CLASSES),
        ("y", {"family": "categorical", "shape": []}, CLASSES),
        ("s", {"family": "categorical"}, MAPS),  # its shape is the data's
        ("s", {"family": "categorical", "shape": []}, CLASSES),
        ("y", {"family": "categorical", "shape": [4, 6]}, MAPS),
        ("c", {"family": "categorical", "shape": [3]}, NOTHING),
        ("h", {"family": "bernoulli", "shape": [16]}, ATTRIBUTES),  # beside an image; alone it is a code
        ("a", {"family": "bernoulli"}, ATTRIBUTES),
        ("b", {"family": "bernoulli", "shape": [1, 4, 4]}, NOTHING),
        ("r", {"family": "gaussian", "shape": [1]}, NUMBERS),
        ("r", {"family": "gaussian", "shape": []}, NUMBERS),
        ("x", {"family": "gaussian", "shape": [1, 4, 4]}, NOTHING),
    ],
)
def test_each_variable_is_of_one_kind(name: str, spec: dict[str, Any], kind: Task) -> None:
    assert task_of(name, VariableSpec.model_validate(spec)) is kind


@pytest.mark.parametrize("task", KINDS, ids=lambda task: task.name)
def test_every_kind_has_what_is_asked_of_it(task: Task) -> None:
    assert task_named(task.name) is task
    assert isinstance(shown_as(task.name), KindOfLabel)
    assert set(task.refuses) <= OPTIONS
    for option in task.refuses:
        why = reason(task, option, "my_label")
        assert why and "{" not in why and not takes(task, option)
    assert takes(task, "nothing of the kind") and reason(task, "nothing of the kind", "y") is None


# Several labels ------------------------------------------------------------------------------------------------------


def animals(fine: int = 4, coarse: int = 2, count: int = 40) -> Dataset:
    """Images of animals, each with its kind y and its family z, which is y halved."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(count) % fine
    x = torch.randint(0, 256, (count, 1, 4, 4), generator=generator, dtype=torch.uint8)
    labels = {
        "y": LabelInfo("classes", ("ant", "bee", "cat", "dog")[:fine]),
        "z": LabelInfo("classes", ("insect", "mammal")[:coarse]),
    }
    arrays = {"x": x, "y": y, "z": y // 2}
    return Dataset("animals", labels, arrays, arrays)


def recipe(**changes: Any) -> Recipe:
    net = {"name": "mlp", "hidden": [8]}
    content = {
        "source": {"name": "digits"},
        "split": {"labelled": 8},
        "variables": {
            "x": {"family": "bernoulli"},
            "y": {"family": "categorical"},
            "z": {"family": "categorical"},
            "h": {"family": "bernoulli", "shape": [2]},
        },
        "decoder": {"z": "uniform", "y": {"given": ["z"], "net": net}, "h": "uniform",
                    "x": {"given": ["y", "h"], "net": net}},
        "encoder": {"y": {"given": ["x"], "net": net}, "z": {"given": ["x", "y"], "net": net},
                    "h": {"given": ["x", "y"], "net": net}},
        "views": {"weak": {"noise": 0.1}},
        "streams": {
            "labelled": {"observe": ["x", "y", "z"], "batch": 8},
            "unlabelled": {"observe": ["x"], "batch": 8, "views": {"weak": "weak", "strong": "weak", "threshold": 0.0}},
            "families": {"observe": ["z"], "batch": 8},
        },
        "training": {"steps": 2},
    }  # fmt: skip
    return Recipe.model_validate(content | changes)


def test_labels_are_held_in_order_and_the_first_is_the_primary_one() -> None:
    roles = roles_of(recipe())
    assert (roles.image, dict(roles.labels), roles.codes) == ("x", {"y": CLASSES, "z": CLASSES}, ("h",))
    assert (roles.label, roles.task, roles.image_label) == ("y", CLASSES, "y")
    y, z, h = (recipe().encoder[name].model_dump() for name in ("y", "z", "h"))
    other = roles_of(recipe(encoder={"z": {**z, "given": ["x"]}, "y": {**y, "given": ["x", "z"]}, "h": h}))
    assert (list(other.labels), other.image_label) == (["z", "y"], "z")
    unread = roles_of(recipe(encoder={"h": {**h, "given": ["x"]}, "y": {**y, "given": ["x", "h"]}}))
    assert (unread.label, unread.image_label) == ("y", None)


def test_a_scenario_with_two_labels_plays() -> None:
    data = animals()
    made = build_scenario(recipe(), data, make_split(data, SplitSpec(labelled=8)), CPU)
    assert [made.recipe.variables[name].classes for name in ("y", "z")] == [4, 2]
    batch = made.streams["labelled"].batch(0)
    assert torch.equal(batch["z"], batch["y"] // 2), "labels of one image stay together"
    assert set(made.streams["families"].batch(0)["z"].tolist()) == {0, 1}
    game, sizes = made.game, {name: stream.batch_size for name, stream in made.streams.items()}
    batches = {name: stream.batch(0) for name, stream in made.streams.items()}
    step = game.begin(batches, sizes, 0.0, torch.Generator().manual_seed(0))
    taught = {(lesson.learner, name) for lesson in made.plan.lessons for name in lesson.scores}
    assert {("encoder", "y"), ("encoder", "z"), ("decoder", "y")} <= taught
    for learners in game.turns:
        assert torch.isfinite(game.loss(learners, step).total)


def test_data_say_which_labels_there_are() -> None:
    both = animals()
    arrays = {name: both.train[name] for name in ("x", "y")}
    one = replace(both, labels={"y": both.labels["y"]}, train=arrays, test=arrays)
    known = {**recipe().variables, "z": VariableSpec(family="categorical", classes=2)}
    with pytest.raises(DataError, match=r"streams\.labelled observes z, but animals holds only x and y"):
        build_scenario(recipe(variables=known), one, make_split(one, SplitSpec(labelled=8)), CPU)


def test_what_can_be_no_label_is_not_shown_beside_the_image() -> None:
    streams = {**recipe().streams, "labelled": {"observe": ["x", "y", "h"]}}
    variables = {**recipe().variables, "h": {"family": "bernoulli", "shape": [1, 4, 4]}}
    with pytest.raises(RecipeError, match=r"streams.labelled.observe: beside x data hold labels, and h, a bernoulli"):
        plan_of(recipe(streams=streams, variables=variables))
    shown = recipe(streams=streams)
    assert "h" in roles_of(shown).labels, "a vector of bits beside the image may be a label: the data say so"
    assert roles_of(recipe()).codes == ("h",), "and is a code where no stream shows it there"


def test_digests_tell_all_labels_apart() -> None:
    data = animals()
    renamed = replace(data, labels={**data.labels, "z": LabelInfo("classes", ("six legs", "four legs"))})
    changed = replace(data, train={**data.train, "z": 1 - data.train["z"]})
    assert len({data.digest, renamed.digest, changed.digest}) == 3


# Teachers ------------------------------------------------------------------------------------------------------------


def test_the_kind_chooses_the_teacher_where_the_scenario_is_built() -> None:
    data = animals()
    game = build_scenario(recipe(), data, make_split(data, SplitSpec(labelled=8)), CPU).game
    assert isinstance(game.teachers["stream_unlabelled"], ClassTeacher)
    assert isinstance(MAPS.teacher("s", game.views["unlabelled"], game.decoder, game.ema_encoder), MapTeacher)
    with pytest.raises(ValueError, match="h is not a label"):
        NOTHING.teacher("h", game.views["unlabelled"], game.decoder, game.ema_encoder)


def test_labels_with_places_move_along_with_the_image() -> None:
    x = torch.randint(0, 256, (40, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    arrays = {"x": x, "s": (x[:, 0] > 127).to(torch.int16)}  # so that every place tells what its class is
    data = Dataset("bright", {"s": LabelInfo("maps", ("dark", "bright"))}, arrays, arrays)
    net = {"name": "unet", "channels": [4, 4]}
    maps = recipe(
        variables={"x": {"family": "bernoulli"}, "s": {"family": "categorical"}},
        decoder={"x": {"given": ["s"], "net": net}},
        encoder={"s": {"given": ["x"], "net": net}},
        views={"mirrored": {"flip": True}},
        streams={"labelled": {"observe": ["x", "s"], "views": "mirrored"}, "alone": {"observe": ["s"]}},
    )
    made = build_scenario(maps, data, make_split(data, SplitSpec(labelled=40)), CPU)
    batches = {name: stream.batch(0) for name, stream in made.streams.items()}
    augmented = made.game.begin(batches, {}, 0.0, torch.Generator().manual_seed(0)).augmented["labelled"]
    assert not torch.equal(augmented["x"], batches["labelled"]["x"]), "some are mirrored"
    assert torch.equal(augmented["s"], (augmented["x"][:, 0] > 0.5).long())


def test_views_that_teach_need_a_teacher() -> None:
    data = animals()
    game = build_scenario(recipe(), data, make_split(data, SplitSpec(labelled=8)), CPU).game
    views = {"unlabelled": replace(game.views["unlabelled"], teacher=None)}
    with pytest.raises(ValueError, match="the views of stream unlabelled teach y, but they name no teacher"):
        Game(game.decoder, game.encoder, game.plan, views=views)


# The headline figure -------------------------------------------------------------------------------------------------


def statistics(errors: Sequence[float]) -> LabelStatistics:
    return LabelStatistics(torch.tensor(errors), torch.ones(len(errors)), torch.zeros(0), torch.zeros(0))


def test_the_headline_of_parts_is_that_of_all_labels() -> None:
    parts = [statistics([1.0, 0.0, 0.0]), statistics([1.0])]
    assert CLASSES.headline_of(parts) == (0.5, None), "the mean over all labels, not over parts"
    assert CLASSES.headline_of([replace(parts[0], errors=None)]) == (None, None)
    assert CLASSES.headline_of([statistics([])]) == (None, None)


def test_a_figure_that_is_no_fraction_has_a_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(CLASSES), "headline", Headline("spread", fraction=False, format=".3f"))
    assert CLASSES.headline_of([statistics([1.0, 3.0]), statistics([1.0, 3.0])]) == (2.0, 0.5)
    assert CLASSES.headline.text(2.0) == "2.000"


def test_figures_are_compared_by_their_own_standard_errors() -> None:
    """Ten times a fraction's largest value, so that no rule may take them for fractions."""
    context = Context(steps=3, label="y", headline=Headline("RMSE", False, ".3f", ".3g"), has_labels=True, n_images=100)

    def rows(*figures: float, deviation: float | None = 0.5) -> list[dict[str, Any]]:
        return [
            {"step": step, "validation_error": figure, "validation_deviation": deviation}
            for step, figure in enumerate(figures, 1)
        ]

    (drift,) = drifting_label(rows(10.0, 12.0, 12.1), context)
    assert "the validation RMSE of y is 12.1 at step 3, clearly above its minimum, 10 at step 1" in drift.seen
    assert not list(drifting_label(rows(10.0, 12.0, 11.9), context)), "1.96 standard errors on both sides"
    assert not list(drifting_label(rows(10.0, 12.0, 12.1, deviation=None), context)), "nothing is known of the noise"
    twin = rows(0.0, 0.0, 10.0)
    kinds = [
        [failure.kind for failure in worse_than_twin(rows(0.0, 0.0, last), twin, context)]
        for last in (10.7, 10.8, 12.0)
    ]
    assert kinds == [[], ["twin ahead"], ["worse than the twin"]]
    assert figure_interval(rows(10.0)[0], context) == pytest.approx((9.02, 10.98))


# A new kind ----------------------------------------------------------------------------------------------------------


class Flags(Task):
    """Several yes-or-no labels at once: a Bernoulli variable."""

    name = "flags"
    has_places = False
    counted = "{images}"
    refuses: Mapping[str, str] = MappingProxyType({"vote": "the decoder votes on single classes, {label} is several"})
    fewest_to_calibrate = 50

    def fits(self, name: str, variable: VariableSpec) -> bool:
        return name == "flags"

    def split(self, dataset: Dataset, spec: SplitSpec) -> Split:
        return plain_split(dataset, spec)

    def unpaired(self, request: Unpaired) -> Stream:
        (label,) = request.spec.observe
        known = request.dataset.train[label][request.split.labelled]
        return ArrayStream(
            request.name, {label: known}, torch.arange(len(known)), request.spec.batch, request.device, 0
        )

    def teacher(self, label: str, views: StreamViews, decoder: Player, ema_encoder: Player) -> Teacher:
        return FlagsTeacher(label, views, ema_encoder)

    def parse(self, value: UserValue) -> Tensor:
        return numbers(value)

    def outputs(self, variable: Variable, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        return (parameters / temperature).sigmoid()

    def outputs_of(self, posterior: Distribution, temperature: float = 1.0) -> Tensor:
        return posterior.mean

    def predict(self, outputs: Tensor, chosen: Any = None) -> Tensor:
        return outputs > 0.5

    def by_example(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        wrong = (self.predict(outputs) != labels).double().mean(dim=1)
        return 1.0 - wrong, wrong, torch.ones_like(wrong)

    def scores(
        self, parts: Iterable[tuple[Tensor, Tensor]], classes: Sequence[str], chosen: Any = None
    ) -> dict[str, Any]:
        return {"error": float(torch.cat([(self.predict(p) != y).float() for p, y in parts]).mean())}

    def class_counts(self, labels: Tensor, classes: int) -> list[int]:
        return []

    def count_values(self, labels: Tensor) -> int:
        return len(labels)

    def measure(self, posterior: Distribution, labels: Tensor | None) -> LabelStatistics:
        sure = (posterior.mean - 0.5).abs() * 2
        errors = None if labels is None else ((posterior.mean > 0.5) != (labels > 0.5)).float().mean(dim=1)
        return LabelStatistics(errors, sure.mean(dim=1), torch.zeros(0), torch.zeros(0))

    def prior_frequencies(self, prior: Distribution) -> tuple[float, ...]:
        return ()

    def label_frequencies(self, labels: Tensor, classes: int) -> tuple[float, ...]:
        return ()


class FlagsTeacher(Teacher):
    def __init__(self, label: str, views: StreamViews, ema_encoder: Player) -> None:
        super().__init__(label, views)
        self._ema_encoder = (ema_encoder,)

    def lesson(
        self,
        encoder: Player,
        images: Tensor,
        generator: torch.Generator,
        progress: float,
        evidence: Tensor | None = None,
    ) -> Asking[tuple[Tensor, dict[str, Tensor]]]:
        with torch.no_grad():
            target = self._ema_encoder[0][self.label]({"x": images}).mean
        (learnt,) = yield [(encoder[self.label], {"x": images})]
        loss = -learnt.log_prob(target).mean()
        return loss, {"views": loss.detach(), "mask_rate": torch.ones(())}


def test_a_new_kind_needs_its_own_files_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It joins `KINDS`, and a scenario with it is built, played and validated."""
    monkeypatch.setattr("semivae.tasks.kinds.KINDS", (Flags(), *KINDS))
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (40, 1, 4, 4), generator=generator, dtype=torch.uint8)
    arrays = {"x": x, "flags": (x[:, 0, 0, :3] > 127).float()}
    data = Dataset("lamps", {"flags": LabelInfo("flags", ())}, arrays, arrays)
    net = {"name": "mlp", "hidden": [8]}
    flags = recipe(
        variables={"x": {"family": "bernoulli"}, "flags": {"family": "bernoulli"}},
        decoder={"flags": "learned", "x": {"given": ["flags"], "net": net}},
        encoder={"flags": {"given": ["x"], "net": net}},
        streams={
            "labelled": {"observe": ["x", "flags"]},
            "unlabelled": {"observe": ["x"], "views": {"weak": "weak", "strong": "weak"}},
            "alone": {"observe": ["flags"]},
        },
    )
    split = make_split(data, SplitSpec(labelled=8, validation=10))
    made = build_scenario(flags, data, split, CPU)
    assert made.roles.task.name == "flags" and made.recipe.variables["flags"].shape == (3,)
    batches = {name: stream.batch(0) for name, stream in made.streams.items()}
    step = made.game.begin(batches, {name: 64 for name in batches}, 0.0, torch.Generator().manual_seed(0))
    assert all(torch.isfinite(made.game.loss(learners, step).total) for learners in made.game.turns)
    part = {name: values[split.validation] for name, values in data.train.items()}
    validator = Validator("model", made.game, made, part, ())
    measured = validator.measure(1)
    assert 0.0 < measured["validation_error"] < 1.0 and 0.0 < measured["read_as_intended"] < 1.0
    failures = validator.new_failures([{"phase": "model", "step": 1, "losses": {}, **measured}])
    assert [failure.about for failure in failures] == ["flags"], "after one step the players do not agree"
    with pytest.raises(RecipeError, match="the decoder votes on single classes, flags is several; remove vote"):
        streams = {**flags.streams, "unlabelled": {"observe": ["x"], "vote": {}}}
        plan_of(flags.model_copy(update={"streams": recipe(streams=streams).streams}))


# The twin ------------------------------------------------------------------------------------------------------------


def test_the_twin_has_no_decoder_in_one_wording(tiny_run: Run) -> None:
    twin = tiny_run.at("twin")
    images = torch.zeros(2, 1, 8, 8)
    for verb in (
        lambda: draw(twin, 1, {}),
        lambda: impute(twin, images, images > 1),
        lambda: list(run_chains(twin, "random", 2, (1,), 0)),
        lambda: draw_codes(twin, images, 0),
        lambda: likelihood(twin, images, 1, 0),
        lambda: consistency(twin, 2, 0),
        lambda: twin.classifier(vote=True).probabilities(images),
    ):
        with pytest.raises(RunError, match=r"the supervised twin has no decoder; use the last or selected checkpoint$"):
            verb()
