"""What the whole recipe is compared with: pure functions from a recipe to a recipe, through the same checks.

All keep the network of q(label | image) and its start, the split, the views, the precision and the number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from semivae.errors import RecipeError
from semivae.recipe import Recipe, change_recipe
from semivae.recipe.schema import ConditionalSpec, PairOfViews, StreamSpec
from semivae.scenario.plan import plan_of, roles_of
from semivae.tasks.classes import CLASSES

Variant = Callable[[Recipe], Recipe]
OBJECTIVE = ("objective", "estimator")


def labels_only(recipe: Recipe) -> Recipe:
    """q(label | image) on the labelled stream alone: what the labels give without any unlabelled image."""
    return _classifier(recipe, {name: _plain(stream) for name, stream in _labelled(recipe).items()})


def labels_views(recipe: Recipe) -> Recipe:
    """`labels_only` and the pair of views on the unlabelled images; no decoder, so no vote of one."""
    label = image_and_label(recipe)[1]
    streams = {name: _plain(stream) for name, stream in _labelled(recipe).items()}
    for name, stream in _paired(recipe).items():
        # weight 0: a decoder without p(image | label) would draw the label from its prior, whatever the image shows
        streams[name] = {**_without_vote(_plain(stream)), "loss_weights": {label: 0.0}}
    if recipe.decoder.get(label) == "learned":  # which the views may need: taught as in the whole
        streams |= {name: _plain(stream) for name, stream in recipe.streams.items() if stream.observe == (label,)}
    return _classifier(recipe, streams)


def game(recipe: Recipe) -> Recipe:
    """The whole recipe without the pair of views: what the players teach each other, the decoder's vote included."""
    streams = {name: _plain(stream) for name, stream in recipe.streams.items()}
    teaching = {lesson.stream for lesson in plan_of(recipe).lessons if not lesson.self_training or lesson.vote}
    for name in _paired(recipe):
        del streams[name]["views"]
        if name not in teaching:  # its pair was all that it taught
            del streams[name]
    return change_recipe(recipe, {"streams": streams})


def unknown_prior(recipe: Recipe) -> Recipe:
    """The whole recipe without what the label-only stream knows: p(label) is learnt from pairs and unlabelled images.

    The codes, if there are any, are taught by samples of that prior instead, as many; no lesson is aligned or adjusted
    to it.
    """
    label = image_and_label(recipe)[1]
    codes = [name for name in recipe.encoder if name != label]
    streams: dict[str, Any] = {}
    for name, stream in recipe.streams.items():
        if stream.observe == (label,) and not codes:
            continue
        plain = _plain(stream)
        # one weight for both players: p(label) is taught wherever q(label | image) is, and by samples not at all
        plain["loss_weights"] = {factor: _of_encoder(weight) for factor, weight in plain["loss_weights"].items()}
        if stream.observe == (label,):
            plain |= {"observe": [], "values": None}
        plain["adjust"] = False
        if isinstance(stream.views, PairOfViews):
            plain["views"]["align"] = False
        streams[name] = plain
    return change_recipe(recipe, {"streams": streams, f"decoder.{label}": "learned"})


def whole(recipe: Recipe) -> Recipe:
    """The recipe as it is."""
    return recipe


def all_labels(recipe: Recipe) -> Recipe:
    """The ceiling: `labels_only` with every label, in batches as large as the recipe's labelled and unlabelled ones."""
    image, label = image_and_label(recipe)
    streams = {name: _plain(stream) for name, stream in _labelled(recipe).items()}
    unlabelled = [s.batch for s in recipe.streams.values() if image in s.observe and label not in s.observe]
    streams[next(iter(streams))]["batch"] += sum(unlabelled)
    split = {**recipe.split.model_dump(mode="json"), "labelled": "all", "balance": "balanced"}
    return change_recipe(_classifier(recipe, streams), {"split": split})


VARIANTS: dict[str, Variant] = {
    "labels_only": labels_only,
    "labels_views": labels_views,
    "game": game,
    "unknown_prior": unknown_prior,
    "whole": whole,
    "all_labels": all_labels,
}


def _of_encoder(weight: Any) -> Any:
    """A stream's weight of a factor: what it is for the encoder, where the players' weights differ."""
    return weight["encoder"] if isinstance(weight, dict) and "encoder" in weight else weight


def _classifier(recipe: Recipe, streams: Mapping[str, dict[str, Any]]) -> Recipe:
    """The recipe with q(label | image) as its only network, and the given streams."""
    image, label = image_and_label(recipe)
    plain = recipe.model_dump(mode="json", exclude_none=True)
    prior = recipe.decoder.get(label)
    shown = {
        name: {
            **stream,
            "observe": [shown for shown in stream["observe"] if shown in (image, label)],
            "loss_weights": {
                factor: weight for factor, weight in stream.get("loss_weights", {}).items() if factor == label
            },
        }
        for name, stream in streams.items()
    }
    # p(label | codes) cannot be kept without the codes, nor a learned p(label) without the stream that knows it
    known = prior is not None and not isinstance(prior, ConditionalSpec)
    known = known and (prior != "learned" or any(stream["observe"] == [label] for stream in shown.values()))
    sections: dict[str, Any] = {
        "variables": {name: plain["variables"][name] for name in (image, label)},
        "decoder": {label: plain["decoder"][label] if known else "uniform"},
        "encoder": {label: plain["encoder"][label]},
        "streams": shown,
    }
    if recipe.painter is not None:  # there is no decoder of the image to paint over
        sections["painter"] = None
    if not recipe.encoder[label].ladder:
        sections["bottom_up"] = None  # only the codes read it
    # without codes there is no bound to estimate: both objectives are log q(label | image)
    sections["training"] = {key: value for key, value in plain["training"].items() if key not in OBJECTIVE}
    return change_recipe(recipe, sections)


def image_and_label(recipe: Recipe) -> tuple[str, str]:
    """The two variables that all variants have. Raises RecipeError where no class is predicted from the image alone."""
    roles = roles_of(recipe)
    if roles.label is None:
        raise RecipeError("this recipe is unsupervised: no stream shows a label, so there is no error to compare")
    if roles.task is not CLASSES:
        raise RecipeError(f"{roles.label} is no single class; the benchmark compares classifiers of whole images")
    if roles.image_label is None:
        raise RecipeError(
            f"the encoder's {roles.label} is given more than {roles.image}, so no classifier is comparable"
        )
    return roles.image, roles.label


def _labelled(recipe: Recipe) -> dict[str, StreamSpec]:
    """Returns the streams of pairs, but for those that teach their label to nobody, such as pairs of the decoder."""
    image, label = image_and_label(recipe)
    return {
        name: stream
        for name, stream in recipe.streams.items()
        if {image, label} <= set(stream.observe) and stream.loss_weights.get(label) != 0
    }


def _paired(recipe: Recipe) -> dict[str, StreamSpec]:
    """The streams with a pair of views. Raises RecipeError if there are none: nothing could be added or left out."""
    paired = {name: stream for name, stream in recipe.streams.items() if isinstance(stream.views, PairOfViews)}
    if not paired:
        raise RecipeError("this recipe has no pair of views; leave out the variants labels_views and game")
    return paired


def _plain(stream: StreamSpec) -> dict[str, Any]:
    return stream.model_dump(mode="json", exclude_none=True)


def _without_vote(stream: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in stream.items() if key != "vote"}
