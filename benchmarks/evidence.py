"""What coarse or wrong labels are worth, beside other ways to use them: `python -m benchmarks.evidence RECIPE`.

The recipe has one kind of evidence: coarse classes, one noisy label, or several annotators. Beside it are trained, on
the same examples, with the same networks, streams and steps:

- `without`: what is left without the evidence (for noisy labels, the clean ones; nothing where there are none);
- `as true`: what annotators wrote, as if it were true; of several, an example has the first one that it shows;
- `cleaned`: the same without the labels that confident learning finds in that run (Northcutt et al. 2021), by logistic
  regression on the run's features, out of fold;
- `all true`: the true labels of all examples that show something.

Test error of the last checkpoint; of annotators also how far their accuracies and confusions are from those that the
labels in fact have, and how well wrong labels are found (the area under the ROC curve, AUROC). Nothing is tuned here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

import semivae
from benchmarks.common.commands import user_errors
from benchmarks.common.machine import machine_text, stamp
from benchmarks.common.pages import markdown_table
from benchmarks.doubting import confident_learning
from semivae.api import Run
from semivae.classification.evidence import annotators
from semivae.data.dataset import Dataset
from semivae.data.sources import data_root, load_source
from semivae.data.splits import Split, save_split
from semivae.label_errors.doubts import FOLDS
from semivae.recipe import Recipe, change_recipe, read_recipe
from semivae.reports.confusions import confusions
from semivae.scenario.plan import roles_of
from semivae.tasks.splitting import make_split
from semivae.variables import VOID

Figures = dict[str, float]
WAYS = ("evidence", "without", "as true", "cleaned", "all true")


def plain(recipe: Recipe) -> Recipe:
    """The recipe without its evidence: what its stream showed of labels, pairs show."""
    evidence, label = set(roles_of(recipe).evidence), roles_of(recipe).label or "y"
    streams, batch = dict(recipe.streams), 0
    for name, stream in recipe.streams.items():
        if {"x", label} <= set(stream.observe) or evidence & set(stream.observe):
            del streams[name]
            weights = {factor: weight for factor, weight in stream.loss_weights.items() if factor == "x"}
            pairs, batch = stream.model_copy(update={"loss_weights": weights}), max(batch, stream.batch)
            if "labelled" not in streams or {"x", label} <= set(stream.observe):
                streams["labelled"] = pairs.model_copy(update={"observe": ("x", label)})
    views = streams["labelled"].views
    changes = {"batch": batch, "views": views if isinstance(views, str) else None}
    streams["labelled"] = streams["labelled"].model_copy(update=changes)
    kept = {
        part: {name: spec for name, spec in getattr(recipe, part).items() if name not in evidence}
        for part in ("variables", "decoder")
    }
    return recipe.model_copy(update={**kept, "streams": streams})


def with_labels(data: Dataset, split: Split, rows: torch.Tensor, labels: torch.Tensor) -> tuple[Dataset, Split]:
    """The data with other labels y of some rows, which are the labelled ones."""
    y = data.train["y"].clone()
    y[rows] = labels
    found = Dataset(data.name, {"y": data.labels["y"]}, {"x": data.train["x"], "y": y}, data.test)
    free = torch.ones(len(y), dtype=torch.bool)
    free[torch.cat([rows, split.validation])] = False
    spec = split.spec.model_copy(update={"labelled": len(rows), "also_labelled": {}})
    unlabelled = torch.nonzero(free).flatten()
    return found, Split(rows.sort().values, unlabelled, split.validation, found.name, found.digest, spec)


def trained(recipe: Recipe, data: Dataset, split: Split, folder: Path) -> Run:
    """A run of a recipe on data in memory."""
    save_split(split, folder / "split.json")
    return semivae.train(recipe, out=folder / "run", split=folder / "split.json", dataset=data, device="cpu")


def error_of(run: Run) -> float:
    return float(run.evaluate(calibrate=False)["last"]["error"])


def found_wrong(run: Run, labels: torch.Tensor) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """What confident learning finds among a run's labelled examples, and its doubt of each."""
    data, rows = run.dataset(), run.split().labelled
    features, given = run.embed(data.train["x"][rows]), labels.numpy()
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    posterior = cross_val_predict(LogisticRegression(max_iter=1000), features, given, cv=folds, method="predict_proba")
    found, doubt = confident_learning(posterior, given)
    return np.asarray(found), np.asarray(doubt)


def measured(recipe: Recipe, root: Path, folder: Path, ways: Collection[str]) -> Iterator[tuple[str, Figures]]:
    """The figures of some of the `WAYS` to use the labels of one split."""
    data, names = load_source(recipe.source, root), roles_of(recipe).evidence
    split, y = make_split(data, recipe.split), data.train["y"]
    if "evidence" in ways:
        run = trained(recipe, data, split, folder_of(folder, "evidence"))
        yield "evidence", {"error": error_of(run), **of_annotators(run, y)}
    base = plain(recipe)
    if "without" in ways and len(split.labelled):
        yield "without", {"error": error_of(trained(base, *with_labels(data, split, split.labelled, y[split.labelled]),
                                                    folder_of(folder, "without")))}  # fmt: skip
    rows = torch.cat([split.shown(data, name) for name in names] + [split.labelled]).unique()  # type: ignore[no-untyped-call]
    label = roles_of(recipe).label or "y"
    written_down = [name for name in names if recipe.variables[name].classes == recipe.variables[label].classes]
    if written_down and ("as true" in ways or "cleaned" in ways):
        written = torch.full_like(y, VOID)
        for name in reversed(written_down):
            shown = split.shown(data, name)
            written[shown] = data.train[name][shown]
        written[split.labelled] = y[split.labelled]
        naive = trained(base, *with_labels(data, split, rows, written[rows]), folder_of(folder, "true"))
        found, doubt = found_wrong(naive, written[rows])
        wrong = (written != y)[rows].numpy()
        yield "as true", {"error": error_of(naive), "AUROC": float(roc_auc_score(wrong, doubt))}
        if "cleaned" in ways:
            kept = rows[torch.from_numpy(~found)]
            cleaned = trained(base, *with_labels(data, split, kept, written[kept]), folder_of(folder, "cleaned"))
            yield "cleaned", {"error": error_of(cleaned), "left wrong": float((written != y)[kept].float().mean())}
    if "all true" in ways:
        clean = trained(base, *with_labels(data, split, rows, y[rows]), folder_of(folder, "clean"))
        yield "all true", {"error": error_of(clean)}


def folder_of(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def of_annotators(run: Run, y: torch.Tensor) -> Figures:
    """How far what was learnt of annotators is from what their labels are in fact; empty where there are none."""
    if not annotators(run):
        return {}
    accuracy, entry = [], []
    for name, report in confusions(run).items():
        rows = run.split().shown(run.dataset(), name)
        written, true = run.dataset().train[name][rows].numpy(), y[rows].numpy()
        counts = np.zeros((len(run.classes), len(run.classes)))
        np.add.at(counts, (true, written), 1.0)
        accuracy.append(abs(report["accuracy"] - float((written == true).mean())))
        entry.append(np.abs(np.asarray(report["table"]) - counts / counts.sum(1, keepdims=True)).max())
    found = run.doubts()
    names = np.array(run.classes)
    wrong = names[y[found.rows].numpy()] != np.array(found.given)
    figures = {"accuracy off": max(accuracy), "entry off": float(max(entry))}
    return figures | {"AUROC": float(roc_auc_score(wrong, found.doubt))}


def text_of(rows: Mapping[str, list[Figures]]) -> str:
    """A table in Markdown: mean and sample standard deviation over the splits."""
    columns = list(dict.fromkeys(name for figures in rows.values() for each in figures for name in each))
    lines = [["labels", *columns]]
    for name, figures in rows.items():
        cells = []
        for column in columns:
            values = [each[column] for each in figures if column in each]
            spread = f" +- {stdev(values):.4f}" if len(values) > 1 else ""
            cells.append(f"{mean(values):.4f}{spread}" if values else "-")
        lines.append([name, *cells])
    return markdown_table(lines)


def main(
    recipe: Annotated[str, typer.Argument(help="A recipe with evidence of one kind.")],
    set: Annotated[list[str], typer.Option("--set", help="Changes to the recipe, KEY=VALUE.")] = [],  # noqa: B006
    splits: Annotated[int, typer.Option(help="Split seeds `first` to this number less one.")] = 3,
    first: Annotated[int, typer.Option(help="The first split seed.")] = 0,
    way: Annotated[list[str], typer.Option(help="Measure this way to use the labels; several times for several.")] = [  # noqa: B006
        *WAYS
    ],
    root: Annotated[Path | None, typer.Option("--data-root", help="Where data lie.")] = None,
) -> None:
    """Prints the table."""
    rows: dict[str, list[Figures]] = {}
    with user_errors():
        base = read_recipe(recipe, set)
        for seed in range(first, splits):
            asked = change_recipe(base, {"split.seed": seed, "training.twin": False})
            with tempfile.TemporaryDirectory() as folder:
                for name, figures in measured(asked, data_root(root), Path(folder), way):
                    rows.setdefault(name, []).append(figures)
                    print(f"split {seed}, {name}: {figures}", flush=True)
    now = stamp(torch.device("cpu"))
    print(f"{text_of(rows)}\n\n{machine_text(now['machine'])}, {now['date']}")


if __name__ == "__main__":
    typer.run(main)
