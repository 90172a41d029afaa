"""What lessons ask of networks is answered together: by one pass of each, as each lesson alone would be answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from semivae.game.conditionals import NetworkConditional, Prior
from semivae.game.flow import FlowConditional
from semivae.game.game import Game
from semivae.game.readings import Asking, answered, distributions_of, distributions_to_draw
from semivae.game.tables import TableConditional
from semivae.nets import Mlp
from semivae.variables import Variable
from tests.game_steps import PAIR, SIZES, H, X, Y, batches, certain_players, make_game, players

GAMES: dict[str, Callable[[], Game]] = {
    "plain": lambda: make_game(certain_players()),
    "views": lambda: make_game(certain_players(), views=PAIR),
    "adjusted pairs": lambda: make_game(certain_players(), frequencies=torch.tensor([0.2, 0.3, 0.5])),
}


def gradients(game: Game, total: Tensor) -> list[Tensor]:
    found = torch.autograd.grad(total, list(game.parameters()), allow_unused=True)
    return [torch.zeros(()) if gradient is None else gradient for gradient in found]


@pytest.mark.parametrize("name", list(GAMES))
def test_lessons_together_teach_what_each_teaches_alone(name: str) -> None:
    """Nothing is drawn in these games, so that both see the same samples."""
    game = GAMES[name]()
    step = game.begin(batches(), SIZES, 0.5, torch.Generator().manual_seed(0))
    for learners in game.turns:
        together = game.loss(learners, step)
        alone = [game.losses_of([lesson], step) for lesson in game.plan.lessons if lesson.learner in learners]
        assert len(alone) > 1
        torch.testing.assert_close(together.total, torch.stack([losses.total for losses in alone]).sum())
        for losses in alone:
            for term, value in losses.terms.items():
                torch.testing.assert_close(together.terms[term], value)
        expected = gradients(game, torch.stack([losses.total for losses in alone]).sum())
        for one, other in zip(gradients(game, together.total), expected, strict=True):
            torch.testing.assert_close(one, other)


def test_every_network_reads_all_samples_of_a_turn_at_once() -> None:
    game, runs = make_game(views=PAIR), Counter[str]()
    for name, module in game.named_modules():
        if isinstance(module, Mlp):
            module.register_forward_hook(lambda module, given, output, name=name: runs.update([name]))
    step = game.begin(batches(), SIZES, 0.5, torch.Generator().manual_seed(0))
    game.loss(("decoder",), step)
    assert set(runs.values()) == {1}  # of both players: what they complete, and what they score
    runs.clear()
    game.loss(("encoder",), step)
    assert {name: count for name, count in runs.items() if name.startswith("encoder.")} == {
        "encoder.conditionals.y.net": 1,
        "encoder.conditionals.h.net": 1,
    }


def test_samples_completed_together_are_drawn_as_each_alone() -> None:
    """Known variables stay, absent ones come from the distribution given this sample's parents and no other's."""
    _, encoder = players()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(1000.0)  # so sure that draws are certain
    images = torch.rand(12, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    pair, image = {"x": images[:4], "y": torch.tensor([0, 1, 2, 0])}, {"x": images[4:]}
    found = encoder.complete_all([pair, image], [4, 8])
    for sample, alone in zip(found, [encoder.complete(pair), encoder.complete(image)], strict=True):
        for name in ("x", "y", "h"):
            assert torch.equal(sample[name], alone[name]), name
    assert len(found[1]["y"].unique()) > 1 and len(torch.cat([sample["h"] for sample in found]).unique(dim=0)) > 1


@pytest.mark.parametrize("kind", ["prior", "table", "network"])
def test_one_reading_is_that_of_each_sample(kind: str) -> None:
    torch.manual_seed(0)
    label = Variable("y", "categorical", (), classes=3)
    conditional = {
        "prior": lambda: Prior(H, torch.randn(2)),
        "table": lambda: TableConditional(H, label, torch.randn(3, 2)),
        "network": lambda: NetworkConditional(H, (X, Y), Mlp((1, 2, 2), 3, (2,), (8,))),
    }[kind]()
    assert isinstance(conditional, nn.Module)
    samples = [
        {"x": torch.rand(size, 1, 2, 2), "y": torch.arange(size) % 3, "h": torch.ones(size, 2)} for size in (2, 5)
    ]
    for found, sample in zip(distributions_of(conditional, samples), samples, strict=True):
        torch.testing.assert_close(found.log_prob(sample["h"]), conditional(sample).log_prob(sample["h"]))
    sizes = [len(drawn.sample()) for drawn in distributions_to_draw(conditional, samples, [2, 5])]
    assert sizes == [2, 5]


def test_batch_norm_reads_each_sample_by_itself() -> None:
    """While it learns; with the statistics that it kept, it reads all at once."""
    conditional = NetworkConditional(Y, (X,), Normed())
    samples = [{"x": torch.rand(size, 1, 2, 2)} for size in (4, 6)]
    for sizes in ([4, 6], [10]):
        conditional.net.seen = []  # type: ignore[assignment]
        distributions_of(conditional, samples)
        distributions_to_draw(conditional, samples, [4, 6])
        assert conditional.net.seen == sizes * 2
        conditional.eval()


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.seen = nn.BatchNorm1d(4), list[int]()

    def forward(self, images: Tensor, vectors: None) -> Tensor:
        self.seen.append(len(images))
        normed: Tensor = self.norm(images.flatten(1))
        return normed[:, :3]


def test_a_flow_of_nothing_given_has_as_many_rows_as_each_sample() -> None:
    flow = FlowConditional(H, (), nn.Linear(1, 1))
    samples = [{"h": torch.zeros(count, *H.shape)} for count in (2, 5)]
    assert [found.batch_shape for found in distributions_of(flow, samples)] == [(2,), (5,)]


def test_a_lesson_that_asks_twice_is_a_fault() -> None:
    def twice() -> Asking[int]:
        yield []
        yield []
        return 1

    with pytest.raises(RuntimeError, match="may ask once only"):
        answered([twice()])
