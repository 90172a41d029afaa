"""Names of a user's own that a recipe may use, once a Python file has registered them (`semivae.extending`).

Only names are known here, so that recipes are checked without torch. A recipe can name what is registered, but nothing
in a recipe or a run has any code loaded.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema

from semivae.family_facts import FAMILY_FACTS
from semivae.recipe.section import Name
from semivae.text import short_repr

Kind = Literal["network", "family", "teacher", "game"]
REGISTERED: Mapping[Kind, set[str]] = {"network": set(), "family": set(), "teacher": set(), "game": set()}


@dataclass(frozen=True)
class Choice:
    """Accepts a built-in name of a kind, or one that is registered.

    Attributes:
        kind: of what is named.
        built_in: the names that semivae itself gives, in order.
    """

    kind: Kind
    built_in: tuple[str, ...] = ()

    def __call__(self, value: Any) -> Any:
        """Returns the name as it is.

        Raises:
            ValueError: it is neither built in nor registered; the message lists what is.
        """
        known = [*self.built_in, *sorted(REGISTERED[self.kind])]
        if isinstance(value, str) and value in known:
            return value
        choices = f"one of {', '.join(known)}" if len(known) > 1 else "".join(known)
        if not isinstance(value, str):
            choices = choices or f"the name of a {self.kind}"
        said = f"must be {choices}, not {short_repr(value)}" if choices else f"nothing is called {short_repr(value)}"
        if guesses := difflib.get_close_matches(short_repr(value).strip("'"), known, n=1):
            said += f"; did you mean {guesses[0]}?"
        elif isinstance(value, str):
            how = "semivae --import FILE, or import it first"
            said += f"; a {self.kind} of your own needs the Python file that registers it ({how})"
        raise ValueError(said)

    def schema(self) -> WithJsonSchema:
        """Returns the JSON schema: the built-in names, or any other."""
        own: dict[str, Any] = {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"}
        return WithJsonSchema({"anyOf": [{"enum": list(self.built_in)}, own]} if self.built_in else own)


FAMILY = Choice("family", tuple(FAMILY_FACTS))
GAME = Choice("game", ("symmetric", "elbo"))
NETWORK, TEACHER = Choice("network"), Choice("teacher")

FamilyName = Annotated[str, BeforeValidator(FAMILY), FAMILY.schema()]
ObjectiveName = Annotated[str, BeforeValidator(GAME), GAME.schema()]
NetworkName = Annotated[Name, BeforeValidator(NETWORK)]
TeacherName = Annotated[Name, BeforeValidator(TEACHER)]
