"""A trained run with all that can be done with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from semivae.api.answers import AnsweringModel
from semivae.classification.evidence import annotators
from semivae.classification.strangers import Strangers, strangers
from semivae.classification.suggestions import COUNT, Suggestions, suggest
from semivae.classification.trust import Score
from semivae.display import heard_by
from semivae.export.encoder import export
from semivae.generative.novelty import Novelty, novelty
from semivae.generative.sampling import draw
from semivae.label_errors.annotations import annotation_doubts
from semivae.label_errors.doubts import FOLDS, Doubts, doubts
from semivae.page.report import write_report
from semivae.reports.card import card
from semivae.reports.diagnosis import diagnose
from semivae.reports.evaluation import Part, evaluate
from semivae.runs.hub import push_folder
from semivae.runs.model import TrainedModel
from semivae.training.progress import Report
from semivae.variables import Sample

if TYPE_CHECKING:
    from semivae.api.answers import Given


class Run(AnsweringModel):
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

    def sample(self, count: int, /, *, noise: bool = False, seed: int | None = None, **given: Any) -> Sample:
        """Draws samples of all variables from the decoder: tensors on the CPU by name, `count` rows each.

        Args:
            count: how many.
            noise: draw the pixels of an image too, instead of taking the decoder's mean, or what a painter paints.
            seed: makes the draw repeatable, and leaves torch's global generator alone.
            given: fixes variables: `y=3`, `y="cat"`, or a list whose length divides `count`, each value for so many
                samples in a row; of other variables numbers or arrays, of their shape or with one row a sample.

        Raises:
            RunError: an unknown variable or class, a value of the wrong shape, a count or seed that is none, or a
                variable that cannot be fixed because the decoder draws others before it.
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
        """Scores on the test images: a JSON-serialisable dict, with "last", "selected" and "twin" for each checkpoint.

        Errors are fractions, NLL is in nats per image; "error_interval" is a 95% interval over the choice of the test
        images. `semivae.reports.evaluation.evaluate` names all keys.

        Args:
            split: "test" or "validation".
            calibrate, vote, prior: see `classifier`; scores after each of these steps stand beside the others.
            test_prior: measure on the largest part of the images with these class shares.
            at_most_error: an error to promise of the answers, in (0, 1); "answering" says what became of it.
            sets: the scores of the prediction sets that "sets" is about, "aps" or "raps".
            judge: of maps, another run that segments the images which this one generates; by default its twin.

        Raises:
            RunError: there is no label, the error cannot be promised, or a calibration would be measured on the images
                that chose it.
            DataError: the data are missing, or the split is empty.
        """
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
        """Curves, what is read in the decoder's samples, and all warnings: a JSON-serialisable dict.

        `semivae.reports.diagnosis.diagnose` names its keys.

        Args:
            reader: another run, or its path, whose encoder classifies the samples as well.
            samples: how many to draw from the decoder.
            seed: of the draws.

        Raises:
            RunError: the reader cannot classify these samples, or a number is none.
        """
        return diagnose(self, reader=reader, samples=samples, seed=seed)

    def report(self, path: str | Path, *, overwrite: bool = False) -> dict[str, Any]:
        """Writes one web page about the run, below 3 MB, and returns its numbers as a JSON-serialisable dict.

        Raises `RunError` if the file exists (`overwrite` replaces it) or cannot be written. For several runs side by
        side, and the keys: `semivae.page.report.write_report`.
        """
        return write_report([self], path, overwrite=overwrite)

    def novelty(self, images: Given, *, draws: int = 4, count: int = 1000, seed: int = 0) -> Novelty:
        """How novel each image is, by several scores, with p-values against test images that the run has not seen.

        Args:
            images: to score, n of them.
            draws: codes for each image, for the bound of log p (nats).
            count: the largest number of test images to compare with, and of training images to fit the slope on.
            seed: of the draws.

        Raises:
            RunError: the checkpoint is a twin, a prior is known by samples only, or there are below 20 test images.
            DataError: the data are missing, or the images do not fit.
        """
        self.require_one_input("novelty")  # before files are read
        if self.shown != self.image:
            return novelty(self, self.with_pictures(self.read(images)[0], images), draws, count, seed)
        with self.examples_of(images, kept=True) as (values, _):
            return novelty(self, values, draws, count, seed)

    def suggest(self, images: Given, n: int = COUNT, *, seed: int = 0) -> Suggestions:
        """Which `n` unlabelled images to label next: typical and unsure ones, no two alike, the first ones first.

        A run without labels suggests typical images alone. `seed`: of k-means. The rule:
        `semivae.classification.suggesting`.

        Raises:
            RunError: a label that is a map, or an encoder that gives no features of the images alone.
            DataError: the images do not fit, or fewer than `n` of them differ.
        """
        with self.examples_of(images, kept=True) as (values, names):
            return suggest(self, values, names, n, seed)

    def strangers(self, images: Given, groups: int | None = None, *, seed: int = 0) -> Strangers:
        """Which images belong to none of the classes, in groups that may be new classes.

        Args:
            images: in files or arrays.
            groups: how many; None: as many as there seem to be.
            seed: of k-means.

        Raises:
            RunError: the run knows no strangers (`variables.y.strangers`).
            DataError: the images do not fit, or there are fewer strangers than groups.
        """
        with self.examples_of(images, kept=True) as (values, names):
            return strangers(self, values, names, groups, seed)

    def doubts(
        self,
        *,
        folds: int = FOLDS,
        retrain: bool = False,
        steps: int | None = None,
        progress: bool | Report | None = None,
    ) -> Doubts:
        """Which labels of the run's own data are probably wrong, judged by models that have not learnt them.

        Of a run whose recipe has annotators, whose labels are wrong (`semivae.label_errors.annotations`), unless
        `retrain` is asked for: that judges the true labels which the split shows.

        Args:
            folds: into how many parts the labelled examples are dealt, 2 or more.
            retrain: train anew for each fold, instead of a logistic regression on the run's features.
            steps: of each such training; None: half of the run's.
            progress: of such trainings, as for `semivae.train`.

        Raises:
            RunError: the kind of the label has no doubts, or there is nothing to judge by.
            DataError: the data cannot be read, or have changed.
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
        """Writes the encoder as a file that runs without semivae, checks it, and returns what it takes and gives.

        Args:
            path: ends in .onnx (needs `semivae[export]`), .pt2 or .safetensors (weights alone).
            part: "classifier", which gives `probabilities` (n, classes), or "features" (n, features).
            format: where the ending of `path` does not say it.
            overwrite: replace a file that exists.
            calibrate: divide the logits by the calibrated temperature inside.
            with_preprocessing: let the file take uint8 pictures (n, height, width, channels) of any size, or raw rows.
            coverage: in (0, 1): put what prediction sets need into the metadata.
            sets: their scores, "aps" or "raps".

        Raises:
            ExportError: the file exists, cannot be written, or differs from the model by more than 1e-4; no file stays.
            RunError, DataError: calibration or coverage lack validation examples.
        """
        return export(self, path, part, format, overwrite, calibrate, with_preprocessing, coverage, sets)

    def card(self, *, name: str | None = None, license: str | None = None) -> str:
        """The run's model card, measured on its test images: Markdown with the YAML header of hubs.

        Args:
            name: of the model; by default that of its folder.
            license: of the weights, such as "apache-2.0"; left out if nobody says.
        """
        return card(self, name=name, license=license)

    def push(
        self, repository: str, *, license: str | None = None, private: bool = True, overwrite: bool = False
    ) -> list[str]:
        """Puts the run and its card into a repository of a hub, in one commit; returns the names of the files.

        Args:
            repository: OWNER/NAME; it is made where it is missing.
            license: of the weights, for the card.
            private: whether a repository that is made is seen by its owner alone.
            overwrite: whether files that are there may be replaced.

        Raises:
            RunError: files are there already, the hub refuses, or the package huggingface_hub is missing.
        """
        text = card(self, name=f"hf://{repository}", license=license)
        return push_folder(self.path, repository, text, private=private, overwrite=overwrite)
