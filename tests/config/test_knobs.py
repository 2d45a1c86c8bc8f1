"""Knobs: what a dataclass's fields say of themselves, and whether a value fits one."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Gt, Le, Lt
from cases import check_each

from clora_ext import Settings
from clora_ext.config.knob import Knob
from clora_ext.config.knob_fields import KnobField, all_fields, knob_fields
from clora_ext.config.knob_values import check_knob, typed_value
from clora_ext.errors import SettingsError


@dataclass(frozen=True)
class Inner:
    width: Annotated[int, Ge(1), Le(9), Knob("Of the thing.", step=2)] = 3
    no_knob: int = 0


@dataclass(frozen=True)
class Outer:
    first: Annotated[float | None, Gt(0), Lt(1), Knob("A share.", default_text="all of it")] = None
    inner: Inner = field(default_factory=Inner)
    last: Annotated[Literal[1, 2], Knob("A kind.", suits_model=True)] = 1
    switch: Annotated[bool, Knob("On or off.")] = False


@dataclass(frozen=True)
class Twice:
    width: Annotated[int, Knob("Of another thing.")] = 1
    inner: Inner = field(default_factory=Inner)


KNOBS = knob_fields(Outer)


def test_a_knob_is_everything_that_its_field_says() -> None:
    assert list(KNOBS) == ["first", "width", "last", "switch"]
    first, width, last, _ = KNOBS.values()
    assert (first.group, first.kind, first.optional, first.default) == ("", float, True, None)
    assert (first.bounds, first.default_words) == ({"gt": 0, "lt": 1}, "all of it")
    assert (width.group, width.kind, width.optional, width.default) == ("inner", int, False, 3)
    assert (width.knob.help, width.knob.step, width.choices) == ("Of the thing.", 2, ())
    assert (last.choices, last.default_words) == ((1, 2), "as suits the model")


def test_fields_without_a_knob_are_options_without_a_help() -> None:
    assert list(knob_fields(Inner)) == ["width"]
    assert {name: one.knob.help for name, one in all_fields(Inner).items()} == {
        "width": "Of the thing.",
        "no_knob": "",
    }


def test_two_knobs_of_one_name_are_refused() -> None:
    with pytest.raises(TypeError, match="two knobs are called width"):
        knob_fields(Twice)


def test_every_knob_of_the_settings_says_what_it_is() -> None:
    for knob in knob_fields(Settings).values():
        assert knob.knob.help.endswith(".")
        assert knob.default_words or knob.default is not None
        assert check_knob(knob, knob.default) == []


BAD = [
    ("first", 1.0, "first must be less than 1, not 1.0"),
    ("width", 0, "width must be at least 1, not 0"),
    ("width", 10, "width must be at most 9, not 10"),
    ("width", None, "width cannot be None: input should be a valid integer"),
    ("last", 3, "unknown last 3; choose one of: 1, 2"),
    ("switch", 1, "switch cannot be 1: input should be a valid boolean"),
]


def test_a_value_that_does_not_fit_is_described_in_words() -> None:
    assert [check_knob(KNOBS[name], value) for name, value, _ in BAD] == [[told] for _, _, told in BAD]


READ = [
    ("first", "0.5", 0.5),
    ("first", None, None),
    ("width", "7", 7),
    ("last", "2", 2),
    ("switch", "yes", True),
    ("switch", "false", False),
    ("first", 0.25, 0.25),
]


def test_text_is_read_as_the_knobs_own_type() -> None:
    read = [typed_value(KNOBS[name], value) for name, value, _ in READ]
    assert read == [value for _, _, value in READ]
    assert [type(value) for value in read] == [type(value) for _, _, value in READ]


OF_ANOTHER_TYPE = [("width", "7.5"), ("width", "ten"), ("first", "2"), ("last", "3"), ("switch", "maybe")]


def test_text_of_another_type_is_refused() -> None:
    def check(case: tuple[str, str]) -> None:
        knob, text = case
        with pytest.raises(SettingsError, match=f"{knob} .*{text}"):
            typed_value(KNOBS[knob], text)

    check_each(OF_ANOTHER_TYPE, check)


def test_the_name_is_typed_with_hyphens() -> None:
    named: KnobField = knob_fields(Settings)["learning_rate"]
    assert named.option == "learning-rate"
