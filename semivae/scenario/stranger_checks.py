"""What a recipe with strangers needs, so that they can be found."""

from __future__ import annotations

from semivae.errors import RecipeError
from semivae.game.plan import Plan
from semivae.recipe import schema
from semivae.recipe.schema import Recipe


def refuse_unfound_strangers(recipe: Recipe, label: str | None, plan: Plan) -> None:
    """Raises RecipeError where a variable has strangers that nothing in the recipe would find.

    No example shows a stranger, so that q(label | image) learns them only from views that are aligned to p(label), and
    p(label) must keep their share.

    Args:
        recipe: the recipe.
        label: the primary label, None if there is none.
        plan: the recipe's lessons.
    """
    for name, spec in recipe.variables.items():
        if spec.strangers is None:
            continue
        where = f"variables.{name}.strangers"
        if name != label:
            what = f"the primary label, {label}" if label else "a label that streams show beside x"
            raise RecipeError(f"{where}: only {what}, can have strangers; remove them")
        views = [stream.views for stream in recipe.streams.values()]
        if not any(isinstance(each, schema.PairOfViews) and each.align for each in views):
            raise RecipeError(
                f"{where}: no example shows a stranger, and no stream aligns its views to p({name}), so that none "
                "would be found; write align: true in the pair of views of the unlabelled examples"
            )
        teaching = [lesson.stream for lesson in plan.of("decoder") if name in lesson.scores]
        alone = [stream for stream in teaching if recipe.streams[stream].observe == (name,)]
        if recipe.decoder.get(name) != "learned":
            continue
        if not alone:
            raise RecipeError(
                f"{where}: p({name}) is learned, and no stream teaches it how many strangers there are; add a stream "
                f"that observes {name} alone, or make decoder.{name} uniform or probabilities"
            )
        if others := sorted(set(teaching) - set(alone)):
            raise RecipeError(
                f"{where}: stream {others[0]} teaches p({name}) too, in which strangers would lose their share; write "
                f"streams.{others[0]}.loss_weights: {{{name}: {{decoder: 0}}}}"
            )
