"""Views that teach a map of classes: the lesson of a pair of views, place by place (docs/method.md, section 5; ours).

The teacher reads the weak view x' of an image; the strong view is made of x', and the teacher's map goes through the
very same geometry, so that places correspond. Where the teacher is not confident, or the map was moved in from outside
the image, the map is `VOID` and teaches nothing. Then boxes of other images, with their maps, may be pasted in.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Categorical

from semivae.game.conditionals import Conditional
from semivae.game.families import categorical_of
from semivae.game.players import Player
from semivae.game.teaching.mixing import boxes, pasted
from semivae.game.teaching.teacher import JointView, StreamViews, Teacher
from semivae.variables import VOID


class MapTeacher(Teacher):
    """Teaches a class at every place of an image.

    Args:
        label: name of the label, a map.
        views: of the stream, with all that is said there of its teacher.
        average: the encoder's slow average, the teacher.
    """

    def __init__(self, label: str, views: StreamViews, average: Player) -> None:
        super().__init__(label, views)
        self._average = (average,)  # a tuple, so that its parameters are not this module's too

    def loss(
        self, encoder: Player, images: Tensor, generator: torch.Generator, progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `Teacher.loss`."""
        views, label = self.views, self.label
        assert views.weak is not None and views.strong is not None
        strong, maps, confident = taught_maps(
            self._average[0][label],
            views.variable,
            images,
            views.weak,
            views.strong,
            views.threshold,
            generator,
            views.taught_fraction(progress),
            views.cutmix,
            views.temperature,
        )
        loss = -encoder.log_prob({views.variable: strong, label: maps}, [label])[label].mean()
        return views.weight.at(progress) * loss, {"views": loss.detach(), "mask_rate": confident}


@torch.no_grad()
def taught_maps(
    teacher: Conditional,
    variable: str,
    images: Tensor,
    weak: JointView,
    strong: JointView,
    threshold: float,
    generator: torch.Generator,
    fraction: float = 1.0,
    cutmix: float = 0.0,
    temperature: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Strong views and the maps that the teacher gives them.

    Args:
        teacher: q(map | image), the encoder's slow average.
        variable: name of the image.
        images: [batch, channels, height, width] in [0, 1].
        weak, strong: the views; the strong one is applied on top of the weak one.
        threshold: the smallest probability of a place's most likely class at which it teaches.
        generator: of the views.
        fraction: of the places of every class, the surest of which are taught.
        cutmix: probability that a strong view gets a box of another one (`semivae.game.teaching.mixing`).
        temperature: at which the classes are drawn from the teacher's posterior; None: the most likely ones.

    Returns:
        The strong views, their maps int64 [batch, height, width], and the fraction of places that the teacher was
        confident of, [].
    """
    weakly = weak(images, generator)
    posterior = categorical_of(teacher({variable: weakly}))
    confidence, maps = posterior.probs.max(dim=-1)
    if temperature is not None:
        maps = drawn_maps(posterior, temperature, generator)
    confident = (confidence >= threshold) & surest_places(posterior, fraction)
    strongly, moved = strong.joint(weakly, maps.masked_fill(~confident, VOID), generator)
    if cutmix:
        count, height, width = moved.shape
        places = boxes(count, height, width, cutmix, generator)
        strongly, moved = pasted(strongly, places), pasted(moved, places)
    return strongly, moved, confident.float().mean()


def drawn_maps(posterior: Categorical, temperature: float, generator: torch.Generator) -> Tensor:
    """Draws a class at every place, int64 [batch, height, width], from the posterior sharpened by a temperature < 1.

    On average a draw teaches the teacher's own probabilities: where it is unsure, it stays so. The most likely classes
    would make it surer of whatever it says.
    """
    probabilities = (posterior.logits / temperature).softmax(dim=-1).flatten(0, -2)
    drawn = torch.multinomial(probabilities.to(generator.device), 1, generator=generator)
    return drawn.view(posterior.logits.shape[:-1]).to(posterior.logits.device)


def surest_places(posterior: Categorical, fraction: float) -> Tensor:
    """Marks the surest places of every class, bool [batch, height, width]; 1 marks all.

    Certainty is the log-odds of the most likely class against the second. Of the places where a class is the most
    likely one in the whole batch, that fraction is marked: were all taught alike, what is common would be taught long
    before what is small, also in the places of what is small (class-balanced self-training, Zou et al. 2018).
    """
    top = posterior.logits.topk(2, dim=-1)
    margin, maps = top.values[..., 0] - top.values[..., 1], top.indices[..., 0]
    marked = torch.ones_like(maps, dtype=torch.bool)
    if fraction >= 1.0:
        return marked
    for number in range(posterior.logits.shape[-1]):
        of_class = maps == number
        if of_class.any():
            least = margin[of_class].quantile(1.0 - fraction)
            marked &= ~of_class | (margin >= least)
    return marked
