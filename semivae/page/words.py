"""A recipe in words: what is observed, who draws what, which streams teach, how it was trained."""

from __future__ import annotations

from semivae.family_facts import FAMILY_FACTS
from semivae.recipe.networks import title_of
from semivae.recipe.schema import ConditionalSpec, PairOfViews, ProbabilitiesSpec, Recipe, StreamSpec, TableSpec
from semivae.runs.model import TrainedModel
from semivae.scenario.plan import Roles
from semivae.text import count_of

FAMILIES = {name: facts.words for name, facts in FAMILY_FACTS.items()}
PRIORS = {
    "uniform": "uniform",
    "standard": "standard normal",
    "learned": "learned",
    "samples": "known by samples only",
}

Sentences = list[tuple[str, str]]


def recipe_in_words(run: TrainedModel) -> Sentences:
    """Pairs of a subject and what is said of it."""
    recipe = run.recipe
    return [
        *((f"Variable {name}", variable_in_words(recipe, run.roles, name)) for name in recipe.variables),
        ("Decoder", "; ".join(factor_in_words(recipe.decoder[name], name) for name in recipe.decoder) + "."),
        ("Encoder", "; ".join(factor_in_words(recipe.encoder[name], name) for name in recipe.encoder) + "."),
        *((f"Stream {name}", stream_in_words(spec)) for name, spec in recipe.streams.items()),
        ("Training", training_in_words(run)),
    ]


def variable_in_words(recipe: Recipe, roles: Roles, name: str) -> str:
    """What one variable is."""
    spec = recipe.variables[name]
    parts = {"observed": roles.inputs, "a label": roles.labels, "evidence of a label": roles.evidence}
    part = next((part for part, names in parts.items() if name in names), "a latent code")
    size = " x ".join(str(side) for side in spec.shape or ())
    kind = "bits" if part == "a latent code" and spec.family == "bernoulli" else FAMILIES.get(spec.family, "values")
    what = f"one of {spec.classes} classes" if spec.classes else kind
    places = f" at each of {size} places" if spec.classes and size else f", {size}" if size else ""
    handed = {"sample": "draws", "mean": "means", "mode": "most likely classes"}[spec.complete_with]
    return f"{part}; {what}{places} ({spec.family}). The players hand each other {handed} of it."


def factor_in_words(factor: object, name: str) -> str:
    """How a player draws one variable."""
    if isinstance(factor, ConditionalSpec):
        ladder = ", a level of the ladder" if factor.ladder else ""
        given = f" given {' and '.join(factor.given)}" if factor.given else ""
        how = "a flow with" if factor.flow is not None else "by"
        return f"{name}{given} {how} a network “{title_of(factor.net)}”{ladder}"
    if isinstance(factor, TableSpec):
        return f"{name} given {factor.given[0]} by {factor.form}"
    if isinstance(factor, ProbabilitiesSpec):
        return f"{name} with fixed probabilities"
    return f"{name} ({PRIORS[str(factor)]})"


def stream_in_words(spec: StreamSpec) -> str:
    """What one stream shows, and what is done with it."""
    shown = " and ".join(spec.observe) or "nothing: samples of the prior"
    found = [f"shows {shown}, {spec.batch} at a time"]
    if isinstance(spec.views, PairOfViews):
        views = spec.views
        if views.teacher is not None:
            found.append(
                f"a teacher of the user's own, “{views.teacher}”, on the views “{views.weak}” and “{views.strong}”"
            )
        else:
            found.append(
                f"the moving average labels the view “{views.weak}”, and the encoder learns the labels of which it is "
                f"at least {views.threshold:.0%} sure on the view “{views.strong}”"
            )
    elif spec.views is not None:
        found.append(f"under the view “{spec.views}”")
    if spec.vote is not None:
        found.append(
            f"the decoder votes with strength {spec.vote.strength:g} from {spec.vote.start:.0%} of the training"
        )
    if spec.mixup is not None:
        found.append(f"pairs are mixed (Beta {spec.mixup:g})")
    if spec.adjust:
        found.append("logits are adjusted to the prior")
    return "; ".join(found) + "."


def training_in_words(run: TrainedModel) -> str:
    """How the run was trained."""
    training, facts = run.recipe.training, run.facts
    games = {"symmetric": "the game of two players", "elbo": "the evidence lower bound"}
    game = games.get(training.objective, f"the game “{training.objective}”")
    optimizer, rate = (
        value if isinstance(value, str | float) else f"{value.encoder:} (encoder) and {value.decoder:} (decoder)"
        for value in (training.optimizer, training.learning_rate)
    )
    rest = "" if run.finished else f" (stopped at step {facts.step:,})"
    return (
        f"{count_of(facts.steps, 'step', 'steps')}{rest} of {game}, {optimizer}, learning rate {rate}, "
        f"{training.schedule} schedule, "
        f"moving average {training.ema_decay:g}, seed {training.seed}; {facts.seconds:,.0f} seconds."
    )
