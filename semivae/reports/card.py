"""A model card: what a run is, from its own figures, in Markdown with the YAML header that model hubs read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from semivae.data.inputs.inputs import pictures_of_inputs
from semivae.errors import DataError
from semivae.recipe.document import write_document
from semivae.reports.evaluation import evaluate
from semivae.runs.folder import read_calibrations
from semivae.runs.model import TrainedModel
from semivae.text import EXAMPLES, count_of, join_names, percent
from semivae.version import __version__

MODELS = {"last": "this model", "selected": "this model, chosen on validation", "twin": "supervised twin"}


def card(run: TrainedModel, *, name: str | None = None, license: str | None = None) -> str:
    """Returns a run's card, Markdown with a YAML header.

    The run is measured on its test images (`semivae.reports.evaluation.evaluate`); without the data that it was trained
    on, or without a label, the card says that there are no figures.

    Args:
        run: the run.
        name: of the model; by default that of its folder.
        license: identifier of the licence of the weights, such as "apache-2.0"; left out if nobody says.

    Raises:
        RunError: a file of the run was changed or damaged.
    """
    run = run.at("last")
    name = name or run.path.absolute().name
    report, why = _figures(run)
    header = write_document(_header(run, name, license, report))
    sections = [
        f"---\n{header}---\n\n# {name}\n\n{_about(run)}",
        f"## Trained on\n\n{_training(run)}",
        f"## Measured\n\n{_measured(run, report, why)}",
        f"## Use\n\n{_use(run, name)}",
        f"## Limits\n\n{_limits(run, report)}",
    ]
    return "\n\n".join(sections) + "\n"


def _figures(run: TrainedModel) -> tuple[dict[str, Any] | None, str]:
    """An evaluation, or None and why there is none."""
    if _hub_task(run) is None:
        return None, "The run was trained without labels, so it does not classify."
    try:
        return evaluate(run), ""
    except DataError:  # its message names folders of this machine
        return None, "The card was written where the data could not be read, so nothing was measured."


def _hub_task(run: TrainedModel) -> str | None:
    """What hubs call the task of a run; None where it does not classify."""
    return run.task.hub_tasks.get(pictures_of_inputs(run.inputs) is not None)


def _header(run: TrainedModel, name: str, license: str | None, report: Mapping[str, Any] | None) -> dict[str, Any]:
    task = _hub_task(run)
    header: dict[str, Any] = {"license": license} if license else {}
    header |= {"library_name": "semivae", "tags": ["semivae", "semi-supervised-learning", "generative-model"]}
    if task is not None:
        header["pipeline_tag"] = task
    if task is not None and report is not None:
        metrics = [
            {"type": run.task.figures[key][1], "value": report["last"][key], "name": f"Test {run.task.figures[key][0]}"}
            for key in _measures(run, report["last"])
        ]
        if run.task.headline.fraction:
            metrics.insert(0, {"type": "accuracy", "value": 1.0 - report["last"]["error"], "name": "Test accuracy"})
        data = run.recipe.source.name
        dataset = {"type": data, "name": run.dataset().name, "split": report["split"]}
        header["model-index"] = [
            {"name": name, "results": [{"task": {"type": task}, "dataset": dataset, "metrics": metrics}]}
        ]
    return header


def _measures(run: TrainedModel, scores: Mapping[str, Any]) -> list[str]:
    return [key for key in run.task.figures if scores.get(key) is not None]


def _about(run: TrainedModel) -> str:
    what = f"{run.recipe.about} " if run.recipe.about else ""
    shape = " x ".join(map(str, run.inputs.shape))
    known = (
        f" It knows {count_of(len(run.classes), *run.task.nouns)}: {join_names(run.classes, most=20)}."
        if run.classes
        else ""
    )
    return (
        f"{what}A semi-supervised generative model of semivae {__version__}: one encoder classifies, one decoder "
        f"generates. Its inputs have the shape {shape}.{known}"
    )


def _training(run: TrainedModel) -> str:
    facts = run.facts
    lines = [f"- {facts.step:,} of {count_of(facts.steps, 'step', 'steps')}, {facts.seconds:,.0f} seconds"]
    lines += [f"- {line}" for line in run.history.lines()]
    if facts.labelled_counts:
        counts = [f"{name} {count:,}" for name, count in zip(run.classes, facts.labelled_counts, strict=True)]
        labels = count_of(sum(facts.labelled_counts), "labelled example", "labelled examples")
        lines.append(f"- {labels}: {join_names(counts, most=20)}")
    try:
        dataset, split = run.dataset(), run.split()
    except DataError:
        return "\n".join(lines)
    others = len(split.unlabelled) + len(dataset.unlabelled.get(run.image, ()))
    labelled = [] if facts.labelled_counts else [f"- {count_of(len(split.labelled), *EXAMPLES, before='labelled')}"]
    unlabelled = count_of(others, "unlabelled example", "unlabelled examples")
    lines += [
        *labelled,
        f"- {unlabelled}, {len(split.validation):,} for validation, of {dataset.name}",
        f"- split seed {split.spec.seed}; the data have the SHA-256 {split.dataset_digest}",
    ]
    return "\n".join(lines)


def _measured(run: TrainedModel, report: Mapping[str, Any] | None, why: str) -> str:
    if report is None:
        return why
    figures, measures = run.task.figures, _measures(run, report["last"])
    lines = [
        f"On {report['count']:,} {report['split']} examples that nothing was chosen on. The supervised twin is the "
        "same network, trained on the labels alone.\n",
        f"| | {' | '.join(figures[key][0] for key in measures)} |",
        f"|{'---|' * (len(measures) + 1)}",
    ]
    for checkpoint, name in MODELS.items():
        if (scores := report.get(checkpoint)) is not None:
            cells = [_written(scores, key, figures[key][2]) for key in measures]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    if report.get("twin") is None:
        lines.append(
            "\nNo supervised twin was trained beside it, so what the unlabelled data contributed is not known."
        )
    lines.append("\nBrackets hold 95% intervals over the choice of test examples; another split or seed varies more.")
    return "\n".join([*lines, *_promised(report), *_calibrated(run)])


def _written(scores: Mapping[str, Any], key: str, form: str) -> str:
    interval = scores.get(f"{key}_interval")
    return f"{scores[key]:{form}}" + (f" [{interval[0]:{form}}, {interval[1]:{form}}]" if interval else "")


def _promised(report: Mapping[str, Any]) -> Iterator[str]:
    """A line on prediction sets, of runs that make them and have validation examples enough."""
    sets = report.get("sets", {})
    if "covered" in sets:
        low, high = sets["covered_interval"]
        yield (
            f"\nPrediction sets for a coverage of {percent(sets['coverage'])}, by {sets['count']:,} validation "
            f"examples, hold the class of {sets['covered']:.1%} [{low:.1%}, {high:.1%}] of the examples above, and "
            f"{sets['mean_size']:.2f} classes on average: `run.predict_sets(files, coverage={sets['coverage']:g})`, or "
            "`semivae export --coverage`."
        )


def _calibrated(run: TrainedModel) -> Iterator[str]:
    """A line on the temperature, where one was chosen and kept."""
    kept = [entry for entry in read_calibrations(run.path) if entry.get("checkpoint") == "last"]
    if any("temperature" in entry for entry in kept):
        yield "\nA temperature chosen on validation examples comes with the run: `calibrate=True` uses it."


def _use(run: TrainedModel, name: str) -> str:
    answer = 'run.predict("my_files/", names=True)' if run.classes else 'run.predict("my_files/")'
    return (
        "```python\nimport semivae\n\n"
        f'run = semivae.load("{name}")          # the run\'s folder, or hf://OWNER/NAME of a hub\n'
        f"{answer}\nrun.sample(64)\n```\n\n"
        "`semivae export` writes the classifier as ONNX or pt2, which run without semivae."
    )


def _limits(run: TrainedModel, report: Mapping[str, Any] | None) -> str:
    lines = []
    if run.classes:
        lines.append(f"- {run.task.limits}")
        lines.append("- Probabilities hold for the class frequencies of training; `--prior` corrects them for others.")
    scores = report["last"] if report else {}
    errors = {name: error for name, error in scores.get("per_class", {}).items() if error is not None}
    if "error_interval" in scores and errors:
        worst = max(errors, key=errors.__getitem__)
        lines.append(f"- The class with most errors is {worst}: {errors[worst]:.1%} of its test examples.")
    lines.append(
        "- Figures are of the data above. Pictures or tables from elsewhere may fare worse, and were not tried."
    )
    lines.append(
        "- What the card does not say, such as the licence and the people in the data, its publisher must add."
    )
    return "\n".join(lines)


def default_place(run: TrainedModel) -> Path:
    """Where a run's card is written unless another place is named: README.md in its folder."""
    return run.path / "README.md"
