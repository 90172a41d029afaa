"""Why a scenario cannot teach: each problem in a sentence that says what to change."""

from __future__ import annotations

from collections.abc import Collection

from semivae.game.graphs import Graphs, PlayerName, StreamGraph, drawable, evidence_in, observed_after

ADVICE: dict[PlayerName, str] = {
    "decoder": "add a stream that observes the encoder's inputs (usually x)",
    "encoder": "add a stream that observes only labels, or nothing, so that the decoder can draw the rest",
}


def biased_draws(graphs: Graphs, stream: StreamGraph) -> list[str]:
    """Returns a problem for each variable that the encoder draws before one that the stream observes."""
    problems = []
    evidence = evidence_in(graphs, stream.observes)
    parent_of = {factor.target: factor.given[0] for factor in evidence}
    for drawn in drawable(graphs["encoder"], stream.observes):
        later = observed_after(drawn, graphs["encoder"], evidence, stream.observes)
        if later:
            first, shown = parent_of.get(later[0], later[0]), later[0]
            what, it = (shown, "it") if first == shown else (f"{shown}, which is evidence of {first}", first)
            problems.append(
                f"stream {stream.name} observes {what}, but the encoder draws {drawn} before {it}, so {drawn} cannot "
                f"be drawn given {shown}; in the encoder, put {first} first and add it to what {drawn} is given"
            )
    return problems


def nobody_learns(stream: StreamGraph) -> str:
    """Returns the problem of a stream without a lesson."""
    observed = ", ".join(stream.observes) or "nothing"
    return (
        f"stream {stream.name} (observes {observed}) teaches nobody: no learnable factor has all its variables "
        f"observed or drawn by the other player; remove the stream, or let a factor depend on what it observes"
    )


def untaught(graphs: Graphs, scored: Collection[tuple[PlayerName, str]]) -> list[str]:
    """Returns a problem for each learnable factor that is not among those that a lesson scores, (player, target)."""
    return [
        f"{player} factor {factor.text(player)} is learnable, but no stream teaches it; {ADVICE[player]}, or make the "
        f"factor fixed"
        for player, factors in graphs.items()
        for factor in factors
        if factor.learnable and (player, factor.target) not in scored
    ]
