"""The authors' weights in our networks of the same shapes, and whether both then say the same of the same values.

Bits reach their networks as 0 and 1, ours as -1 and +1: a first layer's weights halve, its biases take the other half.
Their a0 adds a linear map of a1, ours a linear map of the features that a1 is itself linear in: the product of the two.
Their first transposed convolution starts from one place: our linear layer, its bias repeated at all places.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.hierarchies.peer import Experiment
from semivae.game.families import GaussianFamily
from semivae.game.players import Player
from semivae.recipe import Recipe, change_recipe, read_recipe
from semivae.scenario.build import build_players
from semivae.variables import Sample

State = dict[str, Tensor]
Weights = Mapping[str, Tensor]

RECIPES: dict[Experiment, tuple[str, dict[str, Any]]] = {
    "mnist-ladder": ("mnist_ladder", {}),
    "mnist-reverse": ("mnist_reverse", {}),
    # the authors' likelihood, padding and relu, where the recipe has rounded logistics fed from -2 to 2, and tanh
    "fmnist-ladder": (
        "fashion_mnist_ladder",
        {"variables.x.family": "gaussian", "bottom_up.outside": 0.0, "decoder.x.net.activation": "relu"},
    ),
}
CONVOLUTIONS = ("conv0", "conv1", "conv2", "conv3", "conv4", "conv5")
HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)  # their loss writes 0.91894, which is 1.2e-3 nats an image more
TRANSPOSED = ("conv2", "conv3", "conv4", "conv5", "conv6")


def recipe_of(experiment: Experiment, width: int = 32) -> Recipe:
    """Our recipe of their networks; x is never read from data here, so its shape is all that must be known."""
    name, changes = RECIPES[experiment]
    recipe = read_recipe(name, changes)
    reader = "bottom_up" if recipe.bottom_up is not None else "encoder.z1.net"
    return change_recipe(recipe, {"decoder.x.net.width": width, f"{reader}.width": width})


def players_with(experiment: Experiment, theirs: Weights, width: int = 32) -> tuple[Player, Player]:
    """Our decoder and encoder, in evaluation mode, with the weights of their model's state, in their precision."""
    decoder, encoder = build_players(recipe_of(experiment, width))
    ours = decoder_state(experiment, theirs), encoder_state(experiment, theirs)
    for player, state in zip((decoder, encoder), ours, strict=True):
        player.to(next(iter(theirs.values())).dtype).load_state_dict(state)
        player.eval().requires_grad_(False)
    return decoder, encoder


def decoder_state(experiment: Experiment, theirs: Weights) -> State:
    of_z1, of_x = ("pnet01", "pnet1x") if experiment == "mnist-reverse" else ("fnet01", "fnet1x")
    bits = theirs[f"{of_z1}.lin1.weight"].shape[1]
    state = {"conditionals.z0.natural": torch.zeros(bits)}
    state |= within("conditionals.z1.net", mlp_of_bits(part(theirs, of_z1), ("lin1", "lin2"), "lin3"))
    return state | within("conditionals.x.net", image_net(part(theirs, of_x), theirs.get("lsigma")))


def encoder_state(experiment: Experiment, theirs: Weights) -> State:
    if experiment == "mnist-reverse":
        of_z0 = mlp_of_bits(part(theirs, "qnet10"), ("conv_z1", "lin1", "lin2"), "lin3")
        of_z1 = part(theirs, "qnetx1")
        reading = reading_net(of_z1, bits=True) | within("head", part(of_z1, "conv_z1"))
        return within("conditionals.z1.net", reading) | within("conditionals.z0.net", of_z0)
    rnet = part(theirs, "rnet")
    shared = reading_net(rnet, bits=experiment == "mnist-ladder")
    skip, a1 = rnet["lin_skip.weight"], part(rnet, "conv_z1")
    a0 = {
        **within("body.0", part(rnet, "lin1")),
        **within("body.3", part(rnet, "lin2")),
        "head.weight": rnet["lin3.weight"],
        "head.bias": rnet["lin3.bias"] + skip @ a1["bias"],
        "skip.weight": skip @ a1["weight"],
    }
    state = within("conditionals.z0.net", a0) | within("conditionals.z1.net.head", a1)
    for level in ("z0", "z1"):
        state |= within(f"conditionals.{level}.bottom_up", shared)
    return state


def mlp_of_bits(theirs: Weights, hidden: tuple[str, ...], last: str) -> State:
    """A tanh network of bits with a linear skip from them; ours has an activation and a dropout after each layer."""
    state: State = {}
    for index, name in enumerate(hidden):
        layer = part(theirs, name)
        state |= within(f"body.{3 * index}", fed_with_signs(layer["weight"], layer["bias"]) if index == 0 else layer)
    skip = fed_with_signs(theirs["lin_skip.weight"], theirs[f"{last}.bias"])
    return state | {"skip.weight": skip["weight"], "head.bias": skip["bias"], "head.weight": theirs[f"{last}.weight"]}


def reading_net(theirs: Weights, bits: bool) -> State:
    """Their convolutions and the one down to a single place, which is our linear layer after `Flatten`."""
    state: State = {}
    for index, name in enumerate(CONVOLUTIONS):
        layer = part(theirs, name)
        state |= within(
            f"body.{2 * index}",
            fed_with_signs(layer["weight"], layer["bias"]) if index == 0 and bits else layer,
        )
    last = part(theirs, "conv6")
    return state | within("body.13", {"weight": last["weight"].flatten(1), "bias": last["bias"]})


def image_net(theirs: Weights, log_scale: Tensor | None) -> State:
    """Their transposed convolutions; a single learned log scale becomes a second, constant channel of the output."""
    first, last = part(theirs, "conv1"), part(theirs, "conv7")
    places = first["weight"].shape[2] * first["weight"].shape[3]
    weight, bias = first["weight"].flatten(1).T, first["bias"].repeat_interleave(places)
    state = within("start", fed_with_signs(weight, bias))
    for index, name in enumerate(TRANSPOSED):
        state |= within(f"body.{2 * index + 1}", part(theirs, name))
    if log_scale is not None:
        scale = log_scale.double().exp() - GaussianFamily.smallest_scale
        raw = (torch.expm1(scale).log() - math.log(math.e - 1.0)).to(last["bias"]).view(1)
        last = {
            "weight": torch.cat([last["weight"], torch.zeros_like(last["weight"])]),
            "bias": torch.cat([last["bias"], raw]),
        }
    return state | within("head", last)


def fed_with_signs(weight: Tensor, bias: Tensor) -> State:
    """The layer that does with 2 b - 1 what this one does with the bits b: W b + c = (W/2)(2b - 1) + c + sum(W)/2."""
    return {"weight": weight / 2, "bias": bias + weight.flatten(1).sum(dim=1) / 2}


def part(state: Weights, name: str) -> State:
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


def within(name: str, state: Weights) -> State:
    return {f"{name}.{key}": value for key, value in state.items()}


# Agreement -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def their_log_probs(experiment: Experiment, model: Any, sample: Sample) -> dict[str, Tensor]:
    """Log-probability of each of their factors, [batch], nats, by what their loss functions compute from scores."""
    x, z0, z1 = sample["x"], sample["z0"], sample["z1"]
    if experiment == "mnist-reverse":
        scores = {"q(z1|x)": model.qnetx1(x), "q(z0|z1)": model.qnet10(z1), "p(z1|z0)": model.pnet01(z0)}
        scores["p(x|z1)"] = model.pnet1x(z1)
    else:
        a0, a1 = model.rnet(x)
        down, _ = model.fnet01(z0)
        scores = {"q(z0|x)": model.fnet0(len(x), s0=a0)[0], "q(z1|z0,x)": down + a1, "p(z1|z0)": down}
        painted = model.fnet1x(z1)
        scores["p(x|z1)"] = painted[0] if isinstance(painted, tuple) else painted
    values = {"z0": z0, "z1": z1, "x": x}
    found = {}
    for name, score in scores.items():
        value = values[name[2:4].rstrip("|")]
        if name.startswith("p(x") and experiment == "fmnist-ladder":
            terms = -(HALF_LOG_TWO_PI + model.lsigma + (value - score) ** 2 / (2 * model.lsigma.exp() ** 2))
        else:
            terms = -F.binary_cross_entropy_with_logits(score, value, reduction="none")
        found[name] = terms.flatten(1).sum(dim=1)
    return found


@torch.no_grad()
def our_log_probs(decoder: Player, encoder: Player, sample: Sample) -> dict[str, Tensor]:
    """The same of our players, in the precision of their weights: a player's own log_prob always ends in float32."""
    found = {}
    for letter, player in (("p", decoder), ("q", encoder)):
        for name in player.conditionals:
            factor = player[name]
            if not factor.given:
                continue
            distribution = factor.family.distribution(factor.target, factor.parameters_of(sample))
            given = sorted((variable.name for variable in factor.given), key=lambda other: (other == "x", other))
            found[f"{letter}({name}|{','.join(given)})"] = distribution.log_prob(sample[name])
    return found


@torch.no_grad()
def agreement(
    experiment: Experiment, model: Any, count: int = 256, width: int = 32, precision: torch.dtype = torch.float64
) -> dict[str, dict[str, float]]:
    """By factor, on samples of their model: mean of its log-probability, largest difference, also relative, in nats."""
    drawn = model.float().sample_p(count)
    sample = {name: value.to(precision) for name, value in zip(("z0", "z1", "x"), drawn, strict=True)}
    decoder, encoder = players_with(experiment, model.to(precision).state_dict(), width)
    theirs, ours = their_log_probs(experiment, model, sample), our_log_probs(decoder, encoder, sample)
    report = {}
    for name, expected in theirs.items():
        difference = (ours[name] - expected).abs()
        report[name] = {
            "mean": expected.mean().item(),
            "largest": difference.max().item(),
            "relative": (difference / expected.abs()).max().item(),
        }
    return report
