"""Vectors of bits that are known in part: how they are scored, fed to networks, completed and taught."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from semivae.game.conditionals import NetworkConditional, Prior
from semivae.game.distributions import bits_of
from semivae.game.families import FAMILIES
from semivae.game.game import Game
from semivae.game.graphs import Factor, StreamGraph
from semivae.game.losses import Term
from semivae.game.lower_bound import LowerBound
from semivae.game.plan import derive_plan
from semivae.game.players import Player
from semivae.game.teaching.alignment import RAREST
from semivae.game.teaching.attribute_teacher import AttributeTeacher, align_bits, bit_curriculum_mask, fitting_offsets
from semivae.game.teaching.teacher import StreamViews
from semivae.nets import Mlp
from semivae.parallel.cut import Cut
from semivae.parallel.shards import Shard
from semivae.variables import VOID, Variable
from tests.game_steps import Seen

X, A = Variable("x", "bernoulli", (1, 2, 2)), Variable("a", "bernoulli", (3,))
H, Y = Variable("h", "bernoulli", (2,)), Variable("y", "categorical", (), 2)


class Fixed(nn.Module):
    """The same parameters for all, whatever is given; they can be learnt."""

    def __init__(self, *parameters: float) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.tensor(parameters))
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor | None, vectors: Tensor | None) -> Tensor:
        given = images if images is not None else vectors
        assert given is not None
        if vectors is not None:
            self.seen.append(vectors.detach())
        return self.values.expand(len(given), -1)


def logits(*probabilities: float) -> list[float]:
    return torch.tensor(probabilities, dtype=torch.float64).logit().tolist()


# Scores and inputs ---------------------------------------------------------------------------------------------------


def test_an_unknown_bit_adds_nothing_to_the_log_probability() -> None:
    parameters = torch.tensor([logits(0.8, 0.3, 0.5)], dtype=torch.float32, requires_grad=True)
    value = torch.tensor([[1.0, VOID, 0.0]])
    log_prob = FAMILIES["bernoulli"].distribution(A, parameters).log_prob(value)
    assert log_prob.tolist() == pytest.approx([math.log(0.8) + math.log(0.5)])
    log_prob.sum().backward()
    assert parameters.grad is not None
    assert parameters.grad[0].tolist() == pytest.approx([0.2, 0.0, -0.5], abs=1e-6)


def test_an_unknown_bit_is_between_both_values_for_a_network() -> None:
    value = torch.tensor([[1.0, VOID, 0.0], [0.25, 1.0, 0.0]])
    assert FAMILIES["bernoulli"].as_input(A, value).tolist() == [[1.0, 0.0, -1.0], [-0.5, 1.0, -1.0]]


def test_pixels_have_no_unknown_value() -> None:
    """Only vectors ask for it: an image's log-probabilities and inputs stay as they are."""
    value = torch.full((1, 1, 2, 2), float(VOID))
    assert FAMILIES["bernoulli"].as_input(X, value).unique().tolist() == [-3.0]
    assert FAMILIES["bernoulli"].distribution(X, torch.zeros(1, 1, 2, 2)).log_prob(value).item() != 0.0


# Completion ----------------------------------------------------------------------------------------------------------


def encoder_of(*parameters: float) -> Player:
    return Player(
        [NetworkConditional(A, (X,), Fixed(*parameters)), NetworkConditional(H, (X, A), Mlp((1, 2, 2), 3, (2,), (4,)))]
    )


@pytest.mark.parametrize("how", ["complete", "fill"])
def test_known_bits_stay_and_unknown_ones_are_drawn_from_q(how: str) -> None:
    """The mean of 10,000 draws lies within 4 standard errors, 0.02: fails by chance once in 16,000 times."""
    torch.manual_seed(0)
    encoder = encoder_of(*logits(0.9, 0.3, 0.6))
    given = torch.tensor([[0.0, VOID, 1.0]]).repeat(10_000, 1)
    sample = {"x": torch.zeros(10_000, 1, 2, 2), "a": given}
    filled = getattr(encoder, how)(sample)
    assert filled["a"][:, 0].unique().tolist() == [0.0] and filled["a"][:, 2].unique().tolist() == [1.0]
    assert filled["a"][:, 1].mean().item() == pytest.approx(0.3, abs=0.02)
    assert set(filled["a"][:, 1].tolist()) == {0.0, 1.0}
    assert torch.equal(sample["a"], given), "what was given does not change"
    assert ("h" in filled) == (how == "complete"), "fill draws nothing else"


def test_codes_are_drawn_given_the_filled_vector() -> None:
    torch.manual_seed(0)
    reads = Fixed(0.0, 0.0)
    encoder = Player([NetworkConditional(A, (X,), Fixed(*logits(0.5, 0.5, 0.5))), NetworkConditional(H, (A,), reads)])
    encoder.complete({"x": torch.zeros(50, 1, 2, 2), "a": torch.full((50, 3), float(VOID))})
    assert set(reads.seen[0].flatten().tolist()) == {-1.0, 1.0}


def test_a_known_vector_costs_no_draw() -> None:
    encoder = encoder_of(0.0, 0.0, 0.0)
    before = torch.random.get_rng_state()
    sample = {"x": torch.zeros(2, 1, 2, 2), "a": torch.tensor([[0.0, 1.0, 1.0], [1.0, 1.0, 0.0]])}
    assert torch.equal(encoder.fill(sample)["a"], sample["a"])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_bits_stay_unknown_where_a_known_variable_depends_on_them() -> None:
    """q(a | x) knows nothing of the observed y, so a draw from it would be biased."""
    conditionals = [NetworkConditional(A, (X,), Fixed(0.0, 0.0, 0.0)), NetworkConditional(Y, (A,), Fixed(0.0, 0.0))]
    sample = {"x": torch.zeros(2, 1, 2, 2), "a": torch.full((2, 3), float(VOID)), "y": torch.tensor([0, 1])}
    for draw in (Player(conditionals).complete, Player(conditionals).fill):
        assert (draw(sample)["a"] == VOID).all()
        del sample["y"]
        assert (draw(sample)["a"] != VOID).all()
        sample["y"] = torch.tensor([0, 1])


# The game ------------------------------------------------------------------------------------------------------------


def game(kind: type[Game] = Game, codes: bool = True) -> Game:
    torch.manual_seed(0)
    parents, width = ((A, H), 5) if codes else ((A,), 3)
    decoder = Player(
        [
            Prior(A, learnable=True),
            *([Prior(H)] if codes else []),
            NetworkConditional(X, parents, Mlp(None, width, (1, 2, 2), (4,))),
        ]
    )
    encoder = encoder_of(*logits(0.5, 0.9, 0.5))
    if not codes:
        encoder = Player([encoder["a"]])
    code_of_decoder = [Factor("h", learnable=False)] if codes else []
    given = ("a", "h") if codes else ("a",)
    plan = derive_plan(
        [Factor("a"), *code_of_decoder, Factor("x", given)],
        [Factor("a", ("x",)), *([Factor("h", ("x", "a"))] if codes else [])],
        [StreamGraph("labelled", ("x", "a")), StreamGraph("labels", ("a",))],
    )
    return kind(decoder, encoder, plan)


@pytest.mark.parametrize("kind", [Game, LowerBound])
@pytest.mark.parametrize("codes", [True, False])
def test_the_decoder_learns_from_filled_vectors_and_the_encoder_from_what_is_known(
    kind: type[Game], codes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """q says 0.9 of the unknown bit, so a vector without it would be told by a 0 in the decoder's input."""
    played = game(kind, codes)
    seen: list[Tensor] = []
    net = played.decoder["x"].net
    assert isinstance(net, nn.Module)
    net.register_forward_hook(lambda module, given, output: seen.append(given[1].detach()[:, :3]))
    a = torch.tensor([[1.0, VOID, 0.0]]).repeat(400, 1)
    batches = {"labelled": {"x": torch.rand(400, 1, 2, 2), "a": a}, "labels": {"a": a.clamp_min(0.0)}}
    step = played.begin(batches, {"labelled": 400, "labels": 400}, 0.0, torch.Generator().manual_seed(0))
    losses: dict[Term, Tensor] = {}
    for lesson in played.plan.lessons:
        if lesson.stream == "labelled":
            losses |= played.losses_of([lesson], step).terms
    assert seen and set(seen[0][:, 1].tolist()) == {-1.0, 1.0}, "filled"
    assert (seen[0][:, 1] > 0).float().mean().item() == pytest.approx(0.9, abs=0.06), "4 standard errors"
    assert set(seen[0][:, 0].tolist()) == {1.0} and set(seen[0][:, 2].tolist()) == {-1.0}, "known"
    (encoder_loss,) = [value.item() for term, value in losses.items() if (term.kind, term.factor) == ("encoder", "a")]
    assert encoder_loss == pytest.approx(2 * math.log(2.0)), "two known bits, each at one half"


def test_the_average_fills_vectors_for_the_decoder_not_the_encoder_that_moves() -> None:
    played = game(codes=False)
    played.encoder["a"].net = Fixed(*logits(0.5, 1e-9, 0.5))
    a = torch.tensor([[1.0, VOID, 0.0]]).repeat(400, 1)
    batches = {"labelled": {"x": torch.rand(400, 1, 2, 2), "a": a}}
    step = played.begin(batches, {"labelled": 400}, 0.0, torch.Generator().manual_seed(0))
    seen: list[Tensor] = []
    net = played.decoder["x"].net
    assert isinstance(net, nn.Module)
    net.register_forward_hook(lambda module, given, output: seen.append(given[1].detach()))
    lessons = [lesson for lesson in played.plan.lessons if (lesson.learner, lesson.stream) == ("decoder", "labelled")]
    played.losses_of(lessons, step)
    assert (seen[0][:, 1] > 0).float().mean().item() == pytest.approx(0.9, abs=0.06), "4 standard errors"


def test_a_decoder_without_images_does_not_fill_what_teaches_the_encoder() -> None:
    """Its p(a) says 0.9 of all; an encoder that says one half of each learns two known entries, and no draw."""
    torch.manual_seed(0)
    decoder = Player([Prior(A, torch.tensor(logits(0.9, 0.9, 0.9)), learnable=True)])
    plan = derive_plan([Factor("a")], [Factor("a", ("x",))], [StreamGraph("labelled", ("x", "a"))])
    played = Game(decoder, Player([NetworkConditional(A, (X,), Fixed(0.0, 0.0, 0.0))]), plan)
    batch = {"x": torch.rand(8, 1, 2, 2), "a": torch.tensor([[1.0, VOID, 0.0]]).repeat(8, 1)}
    step = played.begin({"labelled": batch}, {"labelled": 8}, 0.0, torch.Generator())
    (lesson,) = played.plan.of("encoder")
    assert played.losses_of([lesson], step).total.item() == pytest.approx(2 * math.log(2.0))


def test_a_vector_that_depends_on_codes_has_a_plan() -> None:
    """p(a | h): attributes that occur together. The stream of labels alone could draw no code, so there is none."""
    plan = derive_plan(
        [Factor("h", learnable=False), Factor("a", ("h",)), Factor("x", ("a", "h"))],
        [Factor("a", ("x",)), Factor("h", ("x", "a"))],
        [StreamGraph("labelled", ("x", "a")), StreamGraph("unlabelled", ("x",)), StreamGraph("prior", ())],
    )
    scored = {(lesson.stream, lesson.learner): lesson.scores for lesson in plan.lessons}
    assert scored["labelled", "decoder"] == scored["unlabelled", "decoder"] == ("a", "x")
    assert scored["prior", "encoder"] == ("a", "h")


# The teacher ---------------------------------------------------------------------------------------------------------


def teacher_of(*probabilities: float, **settings: object) -> tuple[AttributeTeacher, Player]:
    views = StreamViews("x", weak=Seen(lambda x: x), strong=Seen(lambda x: x), **{"threshold": 0.0, **settings})  # type: ignore[arg-type]
    decoder = Player([Prior(A, torch.tensor(logits(0.5, 0.2, 0.5)))])
    ema = Player([NetworkConditional(A, (X,), Fixed(*logits(*probabilities)))])
    return AttributeTeacher("a", views, decoder, ema), Player(
        [NetworkConditional(A, (X,), Fixed(*logits(0.5, 0.5, 0.75)))]
    )


def taught(teacher: AttributeTeacher, encoder: Player) -> tuple[float, float]:
    loss, parts = teacher.loss(encoder, torch.zeros(8, 1, 2, 2), torch.Generator(), 0.0)
    assert loss.requires_grad
    return loss.item(), parts["mask_rate"].item()


def test_each_entry_is_learnt_where_the_teacher_is_sure_of_it() -> None:
    """Of absence as well as of presence; the loss of each entry is its own."""
    teacher, encoder = teacher_of(0.97, 0.5, 0.02, threshold=0.95)
    loss, rate = taught(teacher, encoder)
    assert (loss, rate) == pytest.approx((math.log(2.0) - math.log(0.25), 2 / 3))


def test_an_entry_as_sure_as_the_threshold_is_learnt() -> None:
    teacher, encoder = teacher_of(0.5, 0.5, 0.5, threshold=0.5)
    assert taught(teacher, encoder)[1] == 1.0


def test_without_a_temperature_an_entry_is_taught_as_what_is_likelier() -> None:
    teacher, encoder = teacher_of(0.6, 0.4, 0.6)
    assert taught(teacher, encoder)[0] == pytest.approx(2 * math.log(2.0) - math.log(0.75))


def test_attributes_take_no_evidence() -> None:
    teacher, encoder = teacher_of(0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match="the teacher of a takes no evidence"):
        next(teacher.lesson(encoder, torch.zeros(8, 1, 2, 2), torch.Generator(), 0.0, torch.zeros(8, 3)))


def test_an_attribute_that_all_or_none_have_is_aligned_to_all_but_a_thousandth() -> None:
    spread = torch.linspace(-3.0, 3.0, 101)[:, None].repeat(1, 2)
    fitted = (spread + fitting_offsets(spread, torch.tensor([0.0, 1.0]))).sigmoid().mean(dim=0)
    torch.testing.assert_close(fitted, torch.tensor([RAREST, 1.0 - RAREST]), atol=1e-5, rtol=0)


def test_soft_targets_keep_the_teachers_doubt() -> None:
    teacher, encoder = teacher_of(0.8, 0.8, 0.8, temperature=1.0)
    expected = 2 * math.log(2.0) - 0.8 * math.log(0.75) - 0.2 * math.log(0.25)
    assert taught(teacher, encoder)[0] == pytest.approx(expected)
    sharp, encoder = teacher_of(0.8, 0.8, 0.8, temperature=0.5)
    p = 16 / 17  # odds of 4, squared
    assert taught(sharp, encoder)[0] == pytest.approx(2 * math.log(2.0) - p * math.log(0.75) - (1 - p) * math.log(0.25))


def test_alignment_moves_each_attribute_to_its_own_frequency() -> None:
    """The mean probability of each attribute nears its own prior, and never passes it."""
    spread = torch.linspace(-3.0, 3.0, 101)[:, None].repeat(1, 3)
    prior, offsets = torch.tensor([0.1, 0.5, 0.8]), torch.zeros(3)
    fitted = spread + fitting_offsets(spread, prior)
    assert fitted.sigmoid().mean(dim=0).tolist() == pytest.approx(prior.tolist(), abs=1e-3)
    align_bits(spread, prior, offsets)
    torch.testing.assert_close(offsets, 0.02 * (fitted - spread)[0])  # a fiftieth of the way
    means = torch.stack([align_bits(spread, prior, offsets).sigmoid().mean(dim=0) for _ in range(400)])
    assert means[-1].tolist() == pytest.approx(prior.tolist(), abs=1e-3)
    assert (means[1:, 0] <= means[:-1, 0]).all() and (means[:, 0] > 0.0999).all()
    assert (means[1:, 2] >= means[:-1, 2]).all() and (means[:, 2] < 0.8001).all()


def test_an_attribute_that_is_never_or_always_there_gets_no_endless_offset() -> None:
    found = fitting_offsets(torch.zeros(5, 2), torch.tensor([0.0, 1.0]))
    assert found.tolist() == pytest.approx([math.log(0.001 / 0.999), -math.log(0.001 / 0.999)], abs=1e-2)


def test_alignment_takes_the_decoders_prior() -> None:
    teacher, encoder = teacher_of(0.6, 0.6, 0.6, distribution_alignment=True)
    for _ in range(5):
        taught(teacher, encoder)
    first, second, third = teacher.get_buffer("offsets").tolist()
    assert second < first == third < 0, "0.2 is wanted of the second, 0.5 of the others, and 0.6 is answered"
    with pytest.raises(ValueError, match="distribution alignment needs a prior of a in the decoder"):
        views = StreamViews("x", distribution_alignment=True)
        AttributeTeacher("a", views, Player([NetworkConditional(A, (H,), Fixed(0.0, 0.0, 0.0))]), encoder)


def test_the_curriculum_takes_the_surest_of_each_attribute_and_value() -> None:
    """Column 0 has four present and four absent entries, column 1 one present one, which is kept for being alone."""
    margins = torch.tensor([1.0, 2.0, 3.0, 4.0])
    both = torch.cat([margins, -margins])
    rare = torch.tensor([-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -8.0, 0.1])
    mask = bit_curriculum_mask(torch.stack([both, rare], dim=1), 0.5)
    assert mask[:, 0].tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    assert mask[:, 1].tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    assert bit_curriculum_mask(torch.stack([both, rare], dim=1), 1.0).all()
    assert bit_curriculum_mask(torch.stack([both, rare], dim=1), 0.0).sum(dim=0).tolist() == [2, 2], "one of either"


def test_the_curriculum_grows_with_the_training() -> None:
    teacher, encoder = teacher_of(0.9, 0.9, 0.9, curriculum=0.5)
    teacher._players[1]["a"].net = Mlp((1, 2, 2), 0, (3,), (4,))
    images = torch.rand(40, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    parts = [teacher.loss(encoder, images, torch.Generator(), progress)[1] for progress in (0.0, 0.25, 0.6)]
    rates = [part["mask_rate"].item() for part in parts]
    assert rates == pytest.approx([0.1, 0.55, 1.0], abs=0.05)


def test_the_teacher_sees_the_weak_view_and_the_encoder_the_strong_one() -> None:
    teacher, encoder = teacher_of(0.9, 0.9, 0.9)
    seen: dict[str, float] = {}

    def watch(name: str, value: float) -> Seen:
        def view(x: Tensor) -> Tensor:
            seen[name] = x.mean().item()
            return torch.full_like(x, value)

        return Seen(view)

    teacher.views = replace(teacher.views, weak=watch("weak", 0.25), strong=watch("strong", 0.75))
    given: dict[str, float] = {}
    for name, player in (("teacher", teacher._players[1]), ("encoder", encoder)):
        player["a"].register_forward_hook(
            lambda module, sample, output, name=name: given.__setitem__(name, sample[0]["x"].mean().item())
        )
    taught(teacher, encoder)
    assert seen == {"weak": 0.0, "strong": 0.0} and given == {"teacher": 0.25, "encoder": 0.75}


def test_the_bits_of_a_vector_are_found_in_its_distribution() -> None:
    assert bits_of(FAMILIES["bernoulli"].distribution(A, torch.zeros(2, 3))).probs.shape == (2, 3)


# In shards -----------------------------------------------------------------------------------------------------------


def in_shards(task: Callable[[Shard], Tensor], count: int) -> Tensor:
    """The rows that a task returns for every shard, one below the other; all draw from the same seeds."""
    cut = Cut(shards=count)
    for shard in cut.own:
        shard.seed(1, 100 + shard.index)
    return torch.cat(cut.each(task))


@pytest.mark.parametrize("count", [2, 4])
def test_shards_fill_what_the_whole_batch_would(count: int) -> None:
    """In the first shard nothing is unknown; it draws all the same, and so does a code after it."""
    encoder = encoder_of(*logits(0.5, 0.5, 0.5))
    a = torch.tensor([[1.0, 0.0, 1.0]] * 6 + [[VOID, VOID, 1.0]] * 6)
    x = torch.rand(12, 1, 2, 2, generator=torch.Generator().manual_seed(0))

    def complete(shard: Shard) -> Tensor:
        found = encoder.complete({"x": shard.rows(x), "a": shard.rows(a)})
        return torch.cat([found["a"], found["h"]], dim=1)

    assert torch.equal(in_shards(complete, count), in_shards(complete, 1))


@pytest.mark.parametrize("count", [2, 4])
def test_shards_share_the_curriculum_and_the_alignment(count: int) -> None:
    values = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    prior = torch.tensor([0.1, 0.5, 0.8])

    def align(shard: Shard) -> Tensor:
        for _ in range(4):
            shifted = align_bits(shard.rows(values), prior, offsets)
        return shifted

    found = []
    for shards in (1, count):
        offsets = torch.zeros(3)
        mask = in_shards(lambda shard: bit_curriculum_mask(shard.rows(values), 0.4), shards)
        found.append((mask, in_shards(align, shards), offsets))
    assert all(torch.allclose(*pair) for pair in zip(*found, strict=True)) and found[0][2].abs().max() > 0.05
