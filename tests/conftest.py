"""What several test files share: one run, really trained, for a few steps."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from semivae.api import Run

os.environ.pop("COLUMNS", None)  # which pytest-xdist sets: tables would be cut to 80 columns

RECIPES = Path(__file__).parent.parent / "recipes"
# The files that take longest, the longest first: they are begun first, so that no process waits for another's last one.
LONGEST = (
    "processes", "export_preparation", "docs_run", "segmentation", "recipes", "export", "sklearn_checks", "sklearn",
    "feature_pictures", "training", "open_classes", "features", "cli_train", "label_errors", "going_on", "report",
    "sklearn_regressor", "pretrained_networks", "damaged_runs", "ordinal", "evidence_run", "cli_startup", "loggers",
)  # fmt: skip
# Checks of scikit-learn that others repeat in less time: those of arrays, `check_classifier_data_not_an_array`, and the
# types of classes in `test_sklearn.py` and `test_sklearn_targets.py`.
REPEATED = ("readonly_memmap", "check_transformer_data_not_an_array", "check_classifiers_classes")


def pytest_configure(config: pytest.Config) -> None:
    """One thread for every process that tests, as torch will read it: networks so small lose time by a second one.

    What is compiled is kept: of the many commands that tests start, each would compile all of semivae again.
    Nothing that is imported to collect tests becomes garbage: it is looked through neither now nor later.
    """
    gc.disable()
    config.option.loadscopereorder = False  # of pytest-xdist: by the number of tests; see `LONGEST`
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first; makes slow those of scikit-learn's checks that repeat others: see `REPEATED`."""
    places = {f"test_{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))
    for item in items:
        of_regressor = "SemiVAERegressor" in item.name and not any(word in item.name for word in ("regress", "_y_"))
        repeated = of_regressor or any(word in item.name for word in REPEATED)
        if item.name.startswith("test_every_check_passes[") and repeated:
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The digits recipe with its twin after 20 steps on the CPU. Read only: copy its folder to change anything."""
    import semivae  # not above: the process that hands tests to others needs no torch

    changes: dict[str, object] = {
        "training.steps": 20,
        "training.validate_every": 10,
        "training.twin": True,
        # so early the average is never as sure as the recipe asks, and the twin would be equal to the model
        "streams.unlabelled.views.threshold": 0.0,
    }
    folder = tmp_path_factory.mktemp("runs") / "digits"
    run = semivae.train(RECIPES / "digits_50labels.yaml", set=changes, out=folder, device="cpu")
    files = sorted(folder.iterdir())
    yield run
    assert sorted(folder.iterdir()) == files, "a test kept something in this run, and not in a copy"


@pytest.fixture
def registrations_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers with `semivae.extending` is unknown to the next one."""
    from semivae import extending
    from semivae.game.families import FAMILIES
    from semivae.recipe.registered import REGISTERED
    from semivae.variables import PARAMETERS_PER_NUMBER

    kept: list[dict[str, Any]] = [FAMILIES, PARAMETERS_PER_NUMBER]
    kept += [extending.NETWORKS, extending.TEACHERS, extending.GAMES]
    before = [dict(names) for names in kept]
    monkeypatch.setenv("SEMIVAE_IMPORT", "")
    yield
    for now, then in zip(kept, before, strict=True):
        for name in now.keys() - then.keys():
            del now[name]
    for names in REGISTERED.values():
        names.clear()
    for module in [name for name in sys.modules if name.startswith("semivae_import_")]:
        del sys.modules[module]
