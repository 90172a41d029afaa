"""A fitted estimator as a folder: the run's files, and `estimator.json` with all that scikit-learn knows of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from semivae.errors import RunError
from semivae.files import write_whole
from semivae.recipe import Recipe
from semivae.runs.folder import OF_A_RUN
from semivae.sklearn.examples import Form
from semivae.sklearn.kept import Files

ESTIMATOR_FILE = "estimator.json"
ClassType = Literal["int64", "uint64", "float64", "bool", "object", "str"]
CLASS_TYPES: dict[str, ClassType] = {
    "i": "int64",
    "u": "uint64",
    "f": "float64",
    "b": "bool",
    "O": "object",
    "U": "str",
}  # kind


class Facts(BaseModel):
    """What `estimator.json` holds of any estimator.

    Attributes:
        format: its number.
        estimator: the name of its class.
        parameters: those of the estimator, but its device; a recipe that is none of a name or file is left out, as the
            run keeps it.
        n_features_in, n_features_out, feature_names: as scikit-learn calls them.
        form: of X.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")
    format: Literal[1] = 1
    estimator: str
    parameters: dict[str, Any]
    n_features_in: int
    n_features_out: int
    feature_names: list[str] | None
    form: Form

    def attributes(self) -> dict[str, Any]:
        """What `fit` sets, by name, but the run."""
        names = {} if self.feature_names is None else {"feature_names_in_": np.array(self.feature_names, dtype=object)}
        return names | {
            "n_features_in_": self.n_features_in,
            "_n_features_out": self.n_features_out,
            "_form": self.form,
        }


class ClassifierFacts(Facts):
    """What `estimator.json` holds of a classifier.

    Attributes:
        classes: in order.
        class_type: the type of their array.
        class_prior: p(y) that was asked for.
        slope: nats for each nat of an image's complexity.
    """

    estimator: Literal["SemiVAEClassifier"] = "SemiVAEClassifier"
    classes: list[bool | int | float | str]
    class_type: ClassType
    class_prior: list[float] | None
    slope: float

    def attributes(self) -> dict[str, Any]:
        """What `fit` sets, by name, but the run."""
        return super().attributes() | {
            "classes_": np.array(self.classes, dtype=self.class_type),
            "class_prior_": None if self.class_prior is None else np.array(self.class_prior),
            "_slope": self.slope,
        }


class RegressorFacts(Facts):
    """What `estimator.json` holds of a regressor.

    Attributes:
        scores: what intervals are made from (`semivae.tasks.number_intervals`); None without.
    """

    estimator: Literal["SemiVAERegressor"] = "SemiVAERegressor"
    scores: tuple[tuple[float, ...], ...] | None

    def attributes(self) -> dict[str, Any]:
        """What `fit` sets, by name, but the run."""
        return super().attributes() | {"_scores": self.scores}


class MultilabelFacts(Facts):
    """What `estimator.json` holds of a multi-label classifier.

    Attributes:
        classes: what the columns of Y are called.
        thresholds: of each.
    """

    estimator: Literal["SemiVAEMultilabelClassifier"] = "SemiVAEMultilabelClassifier"
    classes: list[int | str]
    thresholds: list[float]

    def attributes(self) -> dict[str, Any]:
        """What `fit` sets, by name, but the run."""
        texts = any(isinstance(name, str) for name in self.classes)
        return super().attributes() | {
            "classes_": np.array(self.classes, dtype=object if texts else np.int64),
            "thresholds_": np.array(self.thresholds, dtype=np.float64),
        }


AnyFacts = TypeVar("AnyFacts", bound=Facts)


def common_facts(estimator: Any) -> dict[str, Any]:
    """Returns the fields of `Facts` of a fitted estimator, but its name.

    Raises:
        ValueError: a parameter that JSON cannot hold.
    """
    parameters = estimator.get_params(deep=False)
    del parameters["device"]
    if isinstance(parameters["recipe"], Recipe):
        parameters["recipe"] = None
    if isinstance(parameters["recipe"], Path):
        parameters["recipe"] = str(parameters["recipe"])
    if isinstance(parameters["random_state"], np.random.RandomState):
        parameters["random_state"] = None
    prior = parameters.get("class_prior")
    if prior is not None and not isinstance(prior, str):  # a mapping of classes, or an array
        parameters["class_prior"] = estimator.class_prior_.tolist()
    names = getattr(estimator, "feature_names_in_", None)
    return {
        "parameters": {name: _plain(name, value) for name, value in parameters.items()},
        "n_features_in": estimator.n_features_in_,
        "n_features_out": estimator._n_features_out,
        "feature_names": None if names is None else names.tolist(),
        "form": estimator._form,
    }


def write_estimator(folder: Path, facts: Facts, files: Files) -> None:
    """Writes an estimator into a folder that is new or empty.

    Raises:
        RunError: something is there already, or nothing can be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder}: something is there already; choose another folder")
    try:
        for name, content in files.items():
            write_whole(folder / name, content)
        write_whole(folder / ESTIMATOR_FILE, facts.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise RunError(f"{folder}: cannot write there ({error.strerror}); choose another folder") from error


def read_estimator(folder: Path, kind: type[AnyFacts]) -> tuple[AnyFacts, Files]:
    """Returns what `write_estimator` wrote of an estimator of one kind.

    Raises:
        RunError: no such folder, an estimator of another kind, or one of its files was changed or damaged.
    """
    path = folder / ESTIMATOR_FILE
    if not path.is_file():
        raise RunError(
            f"{folder}: holds no {ESTIMATOR_FILE}, so no estimator was saved there; of a run use semivae.load"
        )
    try:
        content = path.read_bytes()
        names = [
            found.model_fields["estimator"].default for found in (ClassifierFacts, MultilabelFacts, RegressorFacts)
        ]
        named, asked = json.loads(content).get("estimator", names[0]), kind.model_fields["estimator"].default
        if named in names and named != asked:
            raise RunError(f"{folder}: holds a {named}; open it by {named}.load")
        facts = kind.model_validate_json(content)
        return facts, {name: (folder / name).read_bytes() for name in OF_A_RUN if (folder / name).is_file()}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise RunError(f"{path}: was changed or damaged; put it back, or fit and save again") from error


def _plain(name: str, value: Any) -> Any:
    """A parameter as JSON reads it back."""
    value = value.item() if isinstance(value, np.generic) else value
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}={value!r} cannot be written as JSON; fit with plain numbers and texts") from error
