"""Evidence: what is seen of a label besides the label, as the plan derives it and as a step of the game uses it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from semivae.errors import RecipeError
from semivae.game.conditionals import NetworkConditional, Prior
from semivae.game.distributions import categorical_of, with_evidence
from semivae.game.evidence import log_likelihood, log_likelihoods, marginal_log_prob
from semivae.game.families import FAMILIES
from semivae.game.game import Game
from semivae.game.graphs import Factor, StreamGraph
from semivae.game.lower_bound import LowerBound
from semivae.game.ordinal import CumulativeLink
from semivae.game.plan import Lesson, derive_plan
from semivae.game.players import Player
from semivae.game.tables import TableConditional
from semivae.game.teaching.class_teacher import ClassTeacher
from semivae.game.teaching.map_teacher import MapTeacher
from semivae.game.teaching.teacher import StreamViews
from semivae.nets import Mlp
from semivae.scenario.plan_rows import evidence_notes, plan_rows
from semivae.variables import VOID, Sample, Variable
from tests.game_steps import PAIR, STILL, Seen, play

# The plan ------------------------------------------------------------------------------------------------------------

DECODER = (
    Factor("y", learnable=False),
    Factor("c", ("y",)),
    Factor("a", ("y",)),
    Factor("h", learnable=False),
    Factor("x", ("y", "h")),
)
ENCODER = (Factor("y", ("x",)), Factor("h", ("x", "y")))
UNLABELLED, LABELS = StreamGraph("unlabelled", ("x",)), StreamGraph("labels", ("y",))


def lessons(*streams: StreamGraph, encoder: tuple[Factor, ...] = ENCODER) -> list[Lesson]:
    plan = derive_plan(DECODER, encoder, [*streams, StreamGraph("all", ("x", "y", "c", "a")), UNLABELLED, LABELS])
    return [lesson for lesson in plan.lessons if lesson.stream in {stream.name for stream in streams}]


def test_evidence_lets_the_encoder_draw_the_label_and_teaches_it() -> None:
    assert lessons(StreamGraph("coarse", ("x", "c"))) == [
        Lesson("coarse", "decoder", draws=("y", "h"), scores=("c", "x"), evidence=("c",)),
        Lesson("coarse", "encoder", draws=(), scores=("y",), evidence=("c",)),
    ]
    both = lessons(StreamGraph("both", ("x", "a", "c")))
    assert [lesson.evidence for lesson in both] == [("c", "a"), ("c", "a")]


def test_beside_the_label_itself_it_only_teaches_the_decoder() -> None:
    assert lessons(StreamGraph("pairs", ("x", "y", "c"))) == [
        Lesson("pairs", "decoder", draws=("h",), scores=("c", "x")),
        Lesson("pairs", "encoder", draws=(), scores=("y",)),
    ]
    assert lessons(StreamGraph("tables", ("y", "c"))) == [
        Lesson("tables", "decoder", draws=(), scores=("c",)),
        Lesson("tables", "encoder", draws=("h", "x"), scores=("y", "h")),  # given y, c says nothing more
    ]


def test_the_teacher_of_its_stream_takes_it_too() -> None:
    found = lessons(StreamGraph("coarse", ("x", "c"), pseudo_label="y"))
    assert found[-1] == Lesson("coarse", "encoder", ("y",), ("y",), self_training=True, evidence=("c",))


def test_what_the_decoder_draws_for_labels_leaves_evidence_out() -> None:
    plan = derive_plan(DECODER, ENCODER, [StreamGraph("all", ("x", "y", "c", "a")), UNLABELLED, LABELS])
    assert plan.lessons[-1] == Lesson("labels", "encoder", draws=("h", "x"), scores=("y", "h"))


def test_a_weight_of_zero_switches_its_lesson_off() -> None:
    off = StreamGraph("coarse", ("x", "c"), without=frozenset({("encoder", "y")}))
    assert [lesson.learner for lesson in lessons(off)] == ["decoder"]


@pytest.mark.parametrize(
    ("decoder", "encoder"),
    [
        # x depends on c: c tells about x not through y alone
        ((Factor("y"), Factor("c", ("y",)), Factor("h"), Factor("x", ("y", "c", "h"))), ENCODER),
        # c depends on the codes too
        ((Factor("y"), Factor("h"), Factor("c", ("y", "h")), Factor("x", ("y", "h"))), ENCODER),
        # the encoder knows c, and draws it after y
        ((Factor("y"), Factor("c", ("y",)), Factor("h"), Factor("x", ("y", "h"))), (*ENCODER, Factor("c", ("x", "y")))),
    ],
)
def test_what_is_no_evidence_lets_nobody_draw(decoder: tuple[Factor, ...], encoder: tuple[Factor, ...]) -> None:
    streams = [StreamGraph("coarse", ("x", "c")), StreamGraph("all", ("x", "y", "c", "h"))]
    try:
        plan = derive_plan(decoder, encoder, streams)
    except RecipeError as error:
        assert "stream coarse" in str(error)
        return
    assert not [lesson for lesson in plan.lessons if lesson.stream == "coarse" and (lesson.draws or lesson.evidence)]


def test_codes_drawn_before_the_label_are_refused() -> None:
    """h would be drawn without c, which is evidence of it by way of y."""
    encoder = (Factor("h", ("x",)), Factor("y", ("x", "h")))
    with pytest.raises(
        RecipeError,
        match=r"stream coarse observes c, which is evidence of y, but the encoder draws h before y, so h cannot be "
        r"drawn given c; in the encoder, put y first and add it to what h is given",
    ):
        derive_plan(DECODER, encoder, [StreamGraph("coarse", ("x", "c")), UNLABELLED, LABELS])


def test_evidence_of_a_later_label_is_refused_where_it_says_something_of_an_earlier_one() -> None:
    decoder = (Factor("y"), Factor("t", ("y",)), Factor("b", ("t",)), Factor("x", ("y", "t")))
    encoder = (Factor("y", ("x",)), Factor("t", ("x", "y")))
    with pytest.raises(RecipeError, match="observes b, which is evidence of t, but the encoder draws y before t"):
        derive_plan(decoder, encoder, [StreamGraph("some", ("x", "b")), UNLABELLED, StreamGraph("prior", ())])
    apart = (Factor("y", ("x",)), Factor("t", ("x",)))
    plan = derive_plan(decoder, apart, [StreamGraph("some", ("x", "b")), UNLABELLED, StreamGraph("prior", ())])
    assert plan.lessons[0].draws == ("y", "t") and plan.lessons[0].evidence == ("b",)


def test_the_plan_says_in_words_what_evidence_does() -> None:
    streams = [StreamGraph("coarse", ("x", "c"), pseudo_label="y"), StreamGraph("all", ("x", "y", "a")), LABELS]
    plan = derive_plan(DECODER, ENCODER, streams)
    assert plan_rows(plan)[:3] == [
        ("coarse", "decoder", "encoder draws y, h given c", "p(c | y), p(x | y, h)"),
        ("coarse", "encoder", "c observed, y summed out", "q(y | x) by the likelihood of c"),
        (
            "coarse",
            "encoder",
            "the encoder's EMA labels y on the weak view, times p(c | y)",
            "q(y | x) on the strong view",
        ),
    ]
    assert evidence_notes(plan) == [
        "evidence of y: c. y is drawn from q(y | x) p(c | y), normalised; the encoder learns by log sum_y of that. "
        "What an example does not show adds nothing."
    ]
    assert evidence_notes(derive_plan(DECODER, ENCODER, [StreamGraph("all", ("x", "y", "c", "a")), LABELS])) == []


# Likelihoods ---------------------------------------------------------------------------------------------------------

X = Variable("x", "bernoulli", (1, 2, 2))
Y = Variable("y", "categorical", (), classes=3)
C = Variable("c", "categorical", (), classes=2)
A = Variable("a", "categorical", (), classes=3)
S = Variable("s", "bernoulli", (3,))
N = Variable("n", "gaussian", (2,))
H = Variable("h", "bernoulli", (2,))
GRADE = Variable("y", "ordinal", (), classes=3)
GRADED = Variable("a", "ordinal", (), classes=3)  # what somebody wrote down, a grade, too
GROUPS = torch.tensor([[1.0, 1e-9], [1.0, 1e-9], [1e-9, 1.0]]).log()
CONFUSION = torch.tensor([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.25, 0.25, 0.5]])


def test_a_table_is_looked_up_and_what_is_not_seen_adds_nothing() -> None:
    table = TableConditional(A, Y, CONFUSION.log())
    found = log_likelihood(table, torch.tensor([1, VOID, 0]))
    torch.testing.assert_close(found, torch.stack([CONFUSION[:, 1].log(), torch.zeros(3), CONFUSION[:, 0].log()]))
    sample = {"y": torch.tensor([1, 2]), "a": torch.tensor([0, VOID])}
    torch.testing.assert_close(table(sample).log_prob(sample["a"]), torch.tensor([math.log(0.3), 0.0]))


def test_candidates_leave_the_classes_in_the_set_as_they_were() -> None:
    sets = TableConditional(S, Y, 30.0 * torch.eye(3))
    found = log_likelihood(sets, torch.tensor([[1, 1, 0], [VOID, VOID, VOID]], dtype=torch.int8))
    posterior = with_evidence(Categorical(torch.tensor([[0.2, 0.3, 0.5]]).repeat(2, 1)), found).probs
    torch.testing.assert_close(posterior, torch.tensor([[0.4, 0.6, 0.0], [0.2, 0.3, 0.5]]), atol=1e-6, rtol=0)


def test_the_lowest_grades_as_candidates_are_a_point_of_the_cumulative_link() -> None:
    """P(y <= 1) = sigmoid((c_2 - location) / scale), whatever the first threshold is."""
    net = Mlp((1, 2, 2), 0, (2,), (8,))
    encoder, images = NetworkConditional(GRADE, (X,), CumulativeLink(net, 3)), torch.rand(5, 1, 2, 2)
    sets = log_likelihood(TableConditional(S, GRADE, 30.0 * torch.eye(3)), torch.tensor([[1, 1, 0]]).repeat(5, 1))
    found = marginal_log_prob(encoder({"x": images}), sets)
    location, raw_scale = net(2.0 * images - 1.0, None).chunk(2, dim=1)
    scale = nn.functional.softplus(raw_scale + math.log(math.e - 1.0)) + 1e-2
    expected = ((math.log(2.0) - location) / scale).sigmoid().log() - math.log(4.0)  # two bits of the set say nothing
    torch.testing.assert_close(found, expected[:, 0])


def test_networks_and_numbers_can_be_evidence() -> None:
    torch.manual_seed(0)
    network = NetworkConditional(N, (Y,), Mlp(None, 3, (4,), [8]))
    value = torch.randn(5, 2)
    value[2] = torch.nan
    found = log_likelihood(network, value)
    for number in range(3):
        each = network({"y": torch.full((5,), number)}).log_prob(value)
        torch.testing.assert_close(found[:, number], torch.where(value.isnan()[:, 0], torch.zeros(5), each))
    found.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters() if parameter.grad is not None)


def test_one_accuracy_is_shared_by_all_rows_and_a_table_moves_quickly() -> None:
    tied = TableConditional(A, Y, math.log(8.0) * torch.eye(3), learnable=True, tied=True)
    assert [parameter.numel() for parameter in tied.parameters()] == [1]
    every = {"y": torch.arange(3)}
    torch.testing.assert_close(tied(every).probs, 0.1 + 0.7 * torch.eye(3))
    with torch.no_grad():
        tied.weight.mul_(0.5)
    odds = math.sqrt(8.0)
    torch.testing.assert_close(tied(every).probs.diagonal(), torch.full((3,), odds / (odds + 2)))
    free = TableConditional(A, Y, CONFUSION.log(), learnable=True)
    free(every).log_prob(torch.zeros(3, dtype=torch.long)).sum().backward()
    gradient = free.weight.grad
    assert gradient is not None
    expected = 8.0 * (torch.tensor([1.0, 0.0, 0.0]) - CONFUSION)
    torch.testing.assert_close(gradient, expected)


def test_several_annotators_multiply() -> None:
    decoder = Player([Prior(Y), TableConditional(C, Y, GROUPS), TableConditional(A, Y, CONFUSION.log(), True)])
    sample = {"c": torch.tensor([0, 1]), "a": torch.tensor([VOID, 1])}
    both = log_likelihoods(decoder, sample, ("c", "a"))
    assert set(both) == {"y"} and not both["y"].requires_grad
    torch.testing.assert_close(both["y"][0], GROUPS[:, 0])
    torch.testing.assert_close(both["y"][1], GROUPS[:, 1] + CONFUSION[:, 1].log())
    assert log_likelihoods(decoder, sample, ()) == {}


def test_the_gradient_of_the_marginal_is_that_of_pairs_drawn_from_the_evidence() -> None:
    logits = torch.tensor([[0.3, -0.2, 1.0], [2.0, 0.1, -1.0]], requires_grad=True)
    evidence = CONFUSION.log()[:, [1, 0]].T
    marginal = marginal_log_prob(Categorical(logits=logits), evidence)
    torch.testing.assert_close(marginal.exp(), (logits.softmax(-1) * evidence.exp()).sum(-1))
    (gradient,) = torch.autograd.grad(marginal.sum(), logits)
    posterior = with_evidence(Categorical(logits=logits.detach()), evidence).probs
    (pairs,) = torch.autograd.grad((posterior * logits.log_softmax(-1)).sum(), logits)
    torch.testing.assert_close(gradient, pairs)


# One step ------------------------------------------------------------------------------------------------------------


CLASSES_AND_GRADES = pytest.mark.parametrize(
    ("label", "annotated"), [(Y, A), (GRADE, GRADED)], ids=["classes", "grades"]
)


def make(
    views: StreamViews | None = None, kind: type[Game] = Game, label: Variable = Y, annotated: Variable = A
) -> Game:
    torch.manual_seed(0)
    decoder = Player(
        [
            Prior(label),
            TableConditional(C, label, GROUPS),
            TableConditional(annotated, label, CONFUSION.log(), learnable=True),
            Prior(H),
            NetworkConditional(X, (label, H), Mlp(None, 5, (1, 2, 2), (8,))),
        ]
    )
    reader = FAMILIES[label.family].linked(label, Mlp((1, 2, 2), 0, label.network_shape, (8,)))
    encoder = Player(
        [
            NetworkConditional(label, (X,), reader),
            NetworkConditional(H, (X, label), Mlp((1, 2, 2), 3, (2,), (8,))),
        ]
    )
    streams = [
        StreamGraph("labelled", ("x", "c", "a"), pseudo_label="y" if views and views.weak else None),
        StreamGraph("unlabelled", ("x",)),
        StreamGraph("labels", ("y",)),
    ]

    def graph(player: Player) -> list[Factor]:
        return [Factor(n, tuple(g.name for g in player[n].given), player[n].learnable) for n in player.names]

    if views is not None and views.teacher is None:
        views = replace(views, teacher=ClassTeacher)
    return kind(
        decoder,
        encoder,
        derive_plan(graph(decoder), graph(encoder), streams),
        None,
        {"labelled": views} if views else None,
    )


def given() -> dict[str, Sample]:
    torch.manual_seed(1)
    images = torch.rand(9, 1, 2, 2)
    return {
        "labelled": {"x": images[:4], "c": torch.tensor([0, 1, 1, VOID]), "a": torch.tensor([0, VOID, 2, 1])},
        "unlabelled": {"x": images[4:]},
        "labels": {"y": torch.tensor([0, 1, 2, 0, 1, 2])},
    }


def likelihoods(sample: Sample) -> Tensor:
    """p(c, a | y) of what is seen, [batch, classes], by hand."""
    rows = []
    for c, a in zip(sample["c"].tolist(), sample["a"].tolist(), strict=True):
        row = torch.ones(3)
        row = row if c == VOID else row * GROUPS[:, c].exp()
        rows.append(row if a == VOID else row * CONFUSION[:, a])
    return torch.stack(rows)


@CLASSES_AND_GRADES
def test_the_encoders_lesson_is_the_likelihood_of_what_is_seen(label: Variable, annotated: Variable) -> None:
    game, data = make(label=label, annotated=annotated), given()
    q = categorical_of(game.encoder["y"](data["labelled"])).probs
    played = play(game, data, STILL)
    expected = -(q * likelihoods(data["labelled"])).sum(-1).log().mean()
    torch.testing.assert_close(played.losses["encoder.labelled.y"], expected.detach())


@CLASSES_AND_GRADES
def test_the_decoder_learns_from_labels_that_agree_with_the_evidence(label: Variable, annotated: Variable) -> None:
    """Of c = 1 the label is 2; the lesson of a is then that of the third row alone."""
    game, data = make(label=label, annotated=annotated), given()
    data["labelled"] |= {"c": torch.tensor([1, 1, 1, 1]), "a": torch.tensor([0, 1, 2, VOID])}
    played = play(game, data, STILL)
    expected = -(CONFUSION[2].log().sum()) / 4
    torch.testing.assert_close(played.losses["decoder.labelled.a"], expected)
    gradient = played.gradients["decoder"]["conditionals.a.weight"]
    assert gradient[:2].abs().max() == 0 and gradient[2].abs().max() > 0


@CLASSES_AND_GRADES
def test_labels_are_drawn_from_the_posterior_given_evidence(label: Variable, annotated: Variable) -> None:
    """20,000 draws: a frequency is off by 0.02 with a probability below 1e-7."""
    game, data = make(label=label, annotated=annotated), given()["labelled"]
    rows = {name: value[2:].repeat_interleave(10_000, dim=0) for name, value in data.items()}
    torch.manual_seed(0)
    evidence = log_likelihoods(game.decoder, rows, ("c", "a"))
    (drawn,) = game.encoder.complete_all([rows], [len(rows["x"])], evidence=[evidence])
    q = categorical_of(game.encoder["y"](data)).probs[2:]
    expected = q * likelihoods(data)[2:]
    expected = expected / expected.sum(-1, keepdim=True)
    frequencies = torch.stack([torch.bincount(part, minlength=3) / 10_000 for part in drawn["y"].split(10_000)])
    assert (frequencies - expected).abs().max() < 0.02
    assert torch.equal(drawn["c"], rows["c"]) and drawn["h"].shape == (20_000, 2)


def test_no_gradient_of_the_encoders_lesson_reaches_the_decoders_table() -> None:
    """All of it comes from its own lesson: the likelihood of a in rows of labels drawn for it."""
    game, data = make(), given()
    data["labelled"] |= {"c": torch.full((4,), VOID), "a": torch.full((4,), VOID)}
    played = play(game, data, STILL)
    assert played.gradients["decoder"]["conditionals.a.weight"].abs().max() == 0
    assert played.losses["encoder.labelled.y"] == 0, "what is not seen teaches nothing"


@CLASSES_AND_GRADES
def test_the_teacher_multiplies_its_posterior_by_the_evidence(label: Variable, annotated: Variable) -> None:
    pair = replace(PAIR, strong=Seen(lambda x: x), temperature=1.0)
    game, data = make(pair, label=label, annotated=annotated), given()
    teacher = game.teachers["stream_labelled"]
    assert isinstance(teacher, ClassTeacher)
    q = categorical_of(game.ema_encoder["y"](data["labelled"])).probs
    expected = q * likelihoods(data["labelled"])
    expected = expected / expected.sum(-1, keepdim=True)
    played = play(game, data, STILL)
    learnt = categorical_of(game.encoder["y"](data["labelled"])).logits
    torch.testing.assert_close(played.losses["views.labelled.y"], -(expected * learnt).sum(-1).mean().detach())


def test_a_teacher_of_maps_takes_none() -> None:
    game = make(replace(PAIR, teacher=lambda label, views, decoder, ema: MapTeacher(label, views, ema)))
    with pytest.raises(ValueError, match="the teacher of y takes no evidence"):
        play(game, given(), STILL)


def test_the_lower_bound_takes_evidence() -> None:
    game, data = make(kind=LowerBound), given()
    played = play(game, data, STILL)
    assert {"decoder.labelled.c", "decoder.labelled.a", "encoder.labelled.y"} <= set(played.losses)
    assert all(torch.isfinite(value) for value in played.losses.values())
    assert played.gradients["decoder"]["conditionals.a.weight"].abs().max() > 0
