"""What a user gives for a variable on the command line: any text is a value, or refused in words."""

from __future__ import annotations

import pytest
import torch
import typer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from semivae.cli.opening import given_values
from semivae.errors import RunError
from semivae.recipe.schema import VariableSpec
from semivae.tasks.user_values import UserValue, class_maps, class_numbers, numbers

CODE = VariableSpec(family="gaussian", shape=(2,))
CLASS = VariableSpec(family="categorical", classes=10)
MAP = VariableSpec(family="categorical", shape=(1, 2), classes=3)
quick = settings(
    max_examples=80, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@quick
@given(st.text("0123456789.,-+eExo[]{}&*:#'\" _anif\n\t", max_size=12))
@example("9" * 5000)
@example("0x" + "f" * 5000)
@example("'" + "9" * 5000 + "'")
@example("&a [*a]")
@example("[" * 5000)
@example("1" + "0" * 240)
@example("[1" + "0" * 240 + ", 1]")
@example("{a: 1}")
@example("!!set {a}")
@example("[[1], [1, 2]]")
@example("2026-11-28")
@example("!!binary aGVsbG8=")
@example("9223372036854775808")
def test_any_given_text_is_a_value_or_refused(text: str) -> None:
    try:
        value = given_values([f"v={text}"])["v"]
    except typer.BadParameter as error:
        assert len(error.message) < 300
        return
    for tensor_of in (
        lambda: class_numbers(UserValue("v", value, 4, CLASS)),
        lambda: class_numbers(UserValue("v", value, 4, CLASS, ("1", "99999"))),
        lambda: class_maps(UserValue("v", value, 4, MAP)),
        lambda: numbers(UserValue("v", value, 4, CODE)),
    ):
        try:
            tensor = tensor_of()
        except RunError as error:
            assert len(str(error)) < 300
        else:
            assert len(tensor) == 4 and torch.isfinite(tensor).all()


def test_numbers_of_programs_are_refused_in_words() -> None:
    for value in (10**5000, [10**5000, 1], -(10**5000)):
        with pytest.raises(RunError, match="is not a number or an array of numbers"):
            numbers(UserValue("h", value, 1, CODE))
        with pytest.raises(RunError):
            class_numbers(UserValue("y", value, 2, CLASS, ("0", "1")))


def test_classes_called_like_numbers_and_truth_are_given_as_they_are_written() -> None:
    names = ("1e3", "True", "1000", "nan", "no")
    variable = CLASS.model_copy(update={"classes": 5})

    def number(text: str) -> int:
        return int(class_numbers(UserValue("y", given_values([f"y={text}"])["y"], 1, variable, names))[0])

    assert [number(text) for text in ("1e3", "True", "true", "nan", "no", "1000")] == [0, 1, 1, 3, 4, 2]
    with pytest.raises(RunError, match="class False is unknown"):
        number("false")
    codes = numbers(UserValue("h", given_values(["h=[1e-1, 01]"])["h"], 3, CODE.model_copy(update={"shape": (2,)})))
    assert codes.tolist() == [[pytest.approx(0.1), 1.0]] * 3


def test_a_class_that_is_nearly_named_is_asked_about() -> None:
    variable, names = CLASS.model_copy(update={"classes": 3}), ("Cat", "dog", "12")

    def refusal(value: object) -> str:
        with pytest.raises(RunError) as error:
            class_numbers(UserValue("y", value, 1, variable, names))
        return str(error.value)

    assert refusal("cats") == "y: class 'cats' is unknown; did you mean Cat?; the classes are Cat, dog, 12"
    for value in ("bird", 13, False):
        assert "did you mean" not in refusal(value)
