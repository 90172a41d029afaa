"""What to do where a run has too few validation examples: as many more as its data allow, or something else."""

from __future__ import annotations

from semivae.runs.model import TrainedModel
from semivae.text import count_of

USUAL = 200  # validation examples, where the data allow so many
FEWEST = 20  # with which anything is promised or compared


def more_validation(
    run: TrainedModel,
    least: int = FEWEST,
    usual: int = USUAL,
    instead: str = "",
    counts: tuple[int, int, int] | None = None,
) -> str:
    """Returns advice in words that follow what is wrong: which `split.validation` to train with, or why none will do.

    Args:
        run: the run.
        least: how many validation examples are needed.
        usual: how many are asked for where there are enough.
        instead: what else can be done, in the imperative.
        counts: of labelled, unlabelled and validation examples of the split, whose labels are known to the data;
            None: as the split has them.
    """
    if counts is None:
        split = run.split()
        counts = len(split.labelled), len(split.unlabelled), len(split.validation)
    total, labelled = sum(counts), counts[0]
    free = total // 2 if run.recipe.split.labelled == "all" else total - labelled
    if counts[2] and not run.recipe.split.validation:  # a part of the data is their validation part
        advice, link = "put more examples into the validation part of its data", "or"
    elif free < least:
        advice, link = f"its data have {count_of(total, *run.nouns, before='labelled')}, too few for that", "so"
    else:
        advice, link = f"train with --set split.validation={min(usual, free)}", "or"
    return f"{advice}, {link} {instead}" if instead else advice
