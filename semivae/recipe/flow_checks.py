"""What must hold of flows in a recipe: which variables they are for, and what guides them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from semivae.recipe.document import KeyPath, Problem
from semivae.recipe.explaining import suggestion
from semivae.recipe.registered import FAMILY
from semivae.recipe.schema import ConditionalSpec, Factor, FlowSpec, VariableSpec

Variables = Mapping[str, VariableSpec]


def check_flows(
    variables: Variables, decoder: Mapping[str, Factor], encoder: Mapping[str, ConditionalSpec]
) -> Iterator[Problem]:
    """Flows are factors of the decoder, of what can be led from noise, and guided by what they are given."""
    for name, ours in encoder.items():
        if ours.flow is not None:
            yield Problem(("encoder", name, "flow"), "only the decoder's factors can be flows; remove flow")
    for name, factor in decoder.items():
        if not isinstance(factor, ConditionalSpec) or factor.flow is None:
            continue
        path: KeyPath = ("decoder", name, "flow")
        yield from check_guides(path, factor.flow, factor.given)
        if name not in variables:
            continue
        if variables[name].has_classes and not variables[name].shape:
            yield Problem(path, f"{name} is a single class, whose probabilities need no flow; remove flow")
        if variables[name].family not in FAMILY.built_in:
            yield Problem(path, f"a flow needs a built-in family, and {name} is {variables[name].family}; remove flow")
        if variables[name].complete_with == "mode":
            message = "the most likely value of a flow is not known; write complete_with: sample"
            yield Problem(("variables", name, "complete_with"), message)
        if name in encoder and encoder[name].ladder:
            message = f"the level starts from the decoder's natural parameters of {name}, and a flow has none"
            yield Problem(("encoder", name, "ladder"), f"{message}; remove ladder, or flow")


def check_guides(path: KeyPath, flow: FlowSpec, given: Iterable[str]) -> Iterator[Problem]:
    """A flow is guided by variables that it is given."""
    for index, guide in enumerate(flow.guides):
        if guide not in given:
            message = f"{guide} is not given to this factor, so it cannot lead it; {suggestion(guide, list(given))}"
            yield Problem((*path, "guides", index), message)
