"""The public face: a trained run with all that can be done with it, `load`, `train` and `inspect`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np
from torch import Tensor
from torch.distributions import Distribution

from semivae.classification import Classifier
from semivae.classification.evidence import annotators
from semivae.classification.intervals import PredictedNumbers, predict_numbers
from semivae.classification.posterior import any_posterior, embed
from semivae.classification.strangers import Strangers, strangers
from semivae.classification.suggestions import COUNT, Suggestions, suggest
from semivae.classification.trust import Score, predict_sets, predict_sure
from semivae.display import heard_by
from semivae.errors import RunError
from semivae.export.encoder import export
from semivae.generative.novelty import Novelty, novelty
from semivae.generative.sampling import draw
from semivae.inspection.inspecting import inspect as inspect
from semivae.label_errors.annotations import annotation_doubts
from semivae.label_errors.doubts import FOLDS, Doubts, doubts
from semivae.loggers.listening import logged
from semivae.loggers.logger import Logger
from semivae.page.report import write_report
from semivae.parallel.world import world_asked
from semivae.recipe import Recipe
from semivae.reports.card import card
from semivae.reports.diagnosis import diagnose
from semivae.reports.evaluation import Part, evaluate
from semivae.runs.hub import push_folder
from semivae.runs.model import TrainedModel
from semivae.training import train as training
from semivae.training.going_on import AGAIN
from semivae.training.progress import Report
from semivae.variables import Sample

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from PIL.Image import Image

    from semivae.data.readers.memory import GivenData

    OneGiven = str | Path | Image | Sequence[str | Path | Image] | ArrayLike | Tensor
    Given = OneGiven | Mapping[str, OneGiven]


class Run(TrainedModel):
    """A trained model with its verbs: classify, sample, evaluate, diagnose, export. Open one with `semivae.load`.

    Wherever images are asked for, give the path of a file, folder or .zip, a Pillow image, a list of either, or an
    array (`semivae.data.inputs.images.Images.read`); of a run that learnt from a table, another table or an array. Of a
    run whose encoder starts from several inputs, give a mapping from the name of each to one of these.
    """

    def __repr__(self) -> str:
        name = f"{type(self).__name__}({str(self.path)!r}, checkpoint={self.checkpoint!r})"
        counts = {name: task.name_count(self.recipe.variables[name]) for name, task in self.roles.labels.items()}
        named = (
            f"{name} of {counts[name]} {task.nouns[1]}" if counts[name] else f"{name}, a {task.nouns[0]}"
            for name, task in self.roles.labels.items()
        )
        labels = ", ".join(named) or "no label"
        shape = " x ".join(map(str, self.inputs.shape))
        return f"<{name}: {labels}, {self.image} of {shape}, step {self.facts.step:,} of {self.facts.steps:,}>"

    @classmethod
    def of(cls, model: TrainedModel) -> Self:
        """The same model, with its verbs; nothing is read again."""
        run = cls(
            model.path,
            model.recipe,
            model.decoder,
            model.encoder,
            model.facts,
            model.checkpoint,
            model.device,
            model.data_root,
            model.roles,
            model.painter,
        )
        return run.with_data(model._dataset)

    def posterior(self, name: str, /, **observed: Any) -> Distribution:
        """q(name | observed), as a torch distribution with one batch entry per sample.

        See `semivae.classification.posterior.any_posterior`; for example `run.posterior("h", x=images, y=3)`.
        """
        return any_posterior(self, name, observed)

    def classifier(
        self, *, calibrate: bool = False, vote: bool = False, prior: Any = None, draws: int | None = None
    ) -> Classifier:
        """Class probabilities, for example `calibrate=True`. See `semivae.classification.Classifier.of`."""
        chosen = {} if draws is None else {"draws": draws}
        return Classifier.of(self, calibrate=calibrate, vote=vote, prior=prior, **chosen)

    @overload
    def predict(
        self,
        images: Given,
        *,
        names: Literal[False] = False,
        calibrate: bool = False,
        vote: bool = False,
        prior: Any = None,
        at_most_error: float | None = None,
    ) -> NDArray[Any]: ...

    @overload
    def predict(
        self,
        images: Given,
        *,
        names: Literal[True],
        calibrate: bool = False,
        vote: bool = False,
        prior: Any = None,
        at_most_error: float | None = None,
    ) -> NDArray[np.str_]: ...

    def predict(
        self,
        images: Given,
        *,
        names: bool = False,
        calibrate: bool = False,
        vote: bool = False,
        prior: Any = None,
        at_most_error: float | None = None,
    ) -> NDArray[Any] | NDArray[np.str_]:
        """The most likely class number of each image, [n], or place, [n, height, width]; or its attributes or number.

        Attributes, [n, K], are 1 above thresholds that validation images choose, and else 0; the names of an image's
        are one text, `hat;smiling`. Numbers are float32 in their unit; `predict_numbers` gives their intervals too.

        Args:
            images: in files or arrays.
            names: give the names of the classes, which are `classes` of the run, instead of their numbers.
            calibrate, vote, prior: see `classifier`.
            at_most_error: answer only images of which the run is sure enough for at most this error among the answers
                (`semivae.classification.abstaining`); all others are -1, or an empty name.

        Raises:
            RunError: the validation examples cannot promise this error, there are no names, or as `classifier` says.
        """
        if names and not self.classes:
            raise RunError(f"{self.path}: {self.label} is a {self.task.nouns[0]}, so it has no names; leave out names")
        classifier, raw = self.classifier(calibrate=calibrate, vote=vote, prior=prior), self.read_all(images)[0]
        if at_most_error is None:
            numbers = classifier.predict(raw)
            return self.task.named(numbers, self.classes) if names else numbers
        numbers = predict_sure(classifier, raw, at_most_error)
        return np.array([*self.classes, ""])[numbers] if names else numbers  # the last one is number -1

    @overload
    def predict_sets(
        self,
        images: Given,
        *,
        coverage: float = 0.95,
        names: Literal[False] = False,
        calibrate: bool = False,
        vote: bool = False,
        score: Score = "aps",
    ) -> NDArray[np.bool_]: ...

    @overload
    def predict_sets(
        self,
        images: Given,
        *,
        coverage: float = 0.95,
        names: Literal[True],
        calibrate: bool = False,
        vote: bool = False,
        score: Score = "aps",
    ) -> list[tuple[str, ...]]: ...

    def predict_sets(
        self,
        images: Given,
        *,
        coverage: float = 0.95,
        names: bool = False,
        calibrate: bool = False,
        vote: bool = False,
        score: Score = "aps",
    ) -> NDArray[np.bool_] | list[tuple[str, ...]]:
        """Sets of classes that hold the class of a share `coverage` of new images, or more: booleans [n, classes].

        A set may be empty where the run is right more often than is asked. See `semivae.classification.conformal`.

        Args:
            images: in files or arrays.
            coverage: in (0, 1).
            names: give the names of the classes in each set instead.
            calibrate, vote: see `classifier`.
            score: "aps", adaptive, or "raps", regularised, for smaller sets of many classes.

        Raises:
            RunError: the validation examples are too few for this coverage, or as `classifier` says.
        """
        found = predict_sets(self.classifier(calibrate=calibrate, vote=vote), self.read_all(images)[0], coverage, score)
        return [tuple(np.array(self.classes)[row].tolist()) for row in found] if names else found

    def predict_numbers(self, images: Given, *, coverage: float | None = None) -> PredictedNumbers:
        """Numbers with their standard deviations, and intervals that hold a share `coverage` of new images' numbers.

        A coverage of None is 90%, or no intervals where the run has too few validation examples. Raises `RunError` as
        `semivae.classification.intervals.predict_numbers`.
        """
        return predict_numbers(self.classifier(), self.read_all(images)[0], coverage)

    def sample(self, count: int, /, *, noise: bool = False, seed: int | None = None, **given: Any) -> Sample:
        """Draws `count` samples of all variables from the decoder, for example y=3.

        See `semivae.generative.sampling.draw`.
        """
        return draw(self, count, given, noise=noise, seed=seed)

    def evaluate(
        self,
        *,
        split: Part = "test",
        calibrate: bool = False,
        vote: bool = False,
        prior: Any = None,
        test_prior: Any = None,
        at_most_error: float | None = None,
        sets: Score = "aps",
        judge: TrainedModel | str | Path | None = None,
    ) -> dict[str, Any]:
        """Scores on the test set, of every checkpoint. See `semivae.reports.evaluation.evaluate`."""
        return evaluate(
            self,
            split=split,
            calibrate=calibrate,
            vote=vote,
            prior=prior,
            test_prior=test_prior,
            at_most_error=at_most_error,
            sets=sets,
            judge=judge,
        )

    def diagnose(
        self, *, reader: TrainedModel | str | Path | None = None, samples: int = 1000, seed: int = 0
    ) -> dict[str, Any]:
        """Curves, what is read in the decoder's samples, and all warnings. See `semivae.reports.diagnosis.diagnose`."""
        return diagnose(self, reader=reader, samples=samples, seed=seed)

    def report(self, path: str | Path, *, overwrite: bool = False) -> dict[str, Any]:
        """Writes one web page about the run, and returns its numbers. See `semivae.page.report.write_report`."""
        return write_report([self], path, overwrite=overwrite)

    def novelty(self, images: Given, *, draws: int = 4, count: int = 1000, seed: int = 0) -> Novelty:
        """Which images are of no kind that the run has learnt. See `semivae.generative.novelty.novelty`."""
        return novelty(self, self.with_pictures(self.read(images)[0], images), draws, count, seed)

    def embed(self, images: Given) -> NDArray[np.float32]:
        """Feature vectors of the images, [n, features]. See `semivae.classification.posterior.embed`."""
        return embed(self, self.read_all(images)[0])

    def suggest(self, images: Given, n: int = COUNT, *, seed: int = 0) -> Suggestions:
        """Which n unlabelled images to label next. See `semivae.classification.suggestions.suggest`."""
        values, names = self.read_all(images)
        return suggest(self, values, names, n, seed)

    def strangers(self, images: Given, groups: int | None = None, *, seed: int = 0) -> Strangers:
        """Which images belong to none of the classes, and in which groups. See `semivae.classification.strangers`."""
        values, names = self.read_all(images)
        return strangers(self, values, names, groups, seed)

    def doubts(
        self,
        *,
        folds: int = FOLDS,
        retrain: bool = False,
        steps: int | None = None,
        progress: bool | Report | None = None,
    ) -> Doubts:
        """Which labels of the run's own data are probably wrong. See `semivae.label_errors.doubts.doubts`.

        Of a run whose recipe has annotators, whose labels are wrong (`semivae.label_errors.annotations`), unless
        `retrain` is asked for: that judges the true labels which the split shows.

        `progress`, of the trainings where there are any: as for `semivae.train`.
        """
        if self.roles.evidence and annotators(self) and not retrain:
            return annotation_doubts(self)
        with heard_by(progress if retrain else False) as report:
            return doubts(self, folds=folds, retrain=retrain, steps=steps, report=report)

    def export(
        self,
        path: str | Path,
        part: str = "classifier",
        format: str | None = None,
        overwrite: bool = False,
        calibrate: bool = False,
        with_preprocessing: bool = False,
        coverage: float | None = None,
        sets: Score = "aps",
    ) -> dict[str, Any]:
        """Writes the encoder as a classifier or feature extractor. See `semivae.export.encoder.export`."""
        return export(self, path, part, format, overwrite, calibrate, with_preprocessing, coverage, sets)

    def card(self, *, name: str | None = None, license: str | None = None) -> str:
        """The run's model card, Markdown with the YAML header of hubs. See `semivae.reports.card.card`."""
        return card(self, name=name, license=license)

    def push(
        self, repository: str, *, license: str | None = None, private: bool = True, overwrite: bool = False
    ) -> list[str]:
        """Puts the run and its card into a repository of a hub. See `semivae.runs.hub.push_folder`."""
        text = card(self, name=f"hf://{repository}", license=license)
        return push_folder(self.path, repository, text, private=private, overwrite=overwrite)


def load(
    path: str | Path,
    checkpoint: str = "last",
    *,
    data_root: str | Path | None = None,
    device: str = "auto",
    dataset: GivenData | None = None,
) -> Run:
    """Opens a run's folder, or `hf://OWNER/NAME` of a hub. See `semivae.runs.model.TrainedModel.load`."""
    return Run.load(path, checkpoint, data_root=data_root, device=device, dataset=dataset)


def train(
    recipe: str | Path | Recipe,
    *,
    set: Mapping[str, object] | Sequence[str] = (),
    out: str | Path | None = None,
    data_root: str | Path | None = None,
    split: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    twin: bool | None = None,
    device: str = "auto",
    progress: bool | Report | None = None,
    dataset: GivenData | None = None,
    loggers: Sequence[str | Logger] = (),
    start_from: str | Path | None = None,
    more_steps: int | None = None,
    learning_rate: float = AGAIN,
) -> Run:
    """Trains the model of a recipe, and its supervised twin where asked for. See `semivae.training.train.train`.

    `progress` True shows how training gets on, False does not, and None, the default, does in a terminal or a notebook;
    a function gets each `semivae.training.progress.Progress` instead. The logger "semivae" gets an INFO line for each
    validation, and warnings. `loggers` write what is measured to experiment trackers: "tensorboard", "mlflow",
    "trackio" or "wandb", or objects of the protocol `semivae.loggers.logger.Logger`; a resumed run goes on there.
    """
    asked = loggers if world_asked().first else ()  # of several processes one logs
    with heard_by(progress) as shown, logged(asked, training.folder_of(recipe, out), shown) as report:
        model = training.train(
            recipe,
            set=set,
            out=out,
            data_root=data_root,
            split=split,
            overwrite=overwrite,
            resume=resume,
            twin=twin,
            device=device,
            progress=report,
            dataset=dataset,
            start_from=start_from,
            more_steps=more_steps,
            learning_rate=learning_rate,
        )
    return Run.of(model)
