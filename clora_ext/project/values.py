"""Plain values of a file that may be damaged or hostile: each kind judged by one function.

A record's fields bear these as metadata; pydantic, which reads the records, is not imported here.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from clora_ext.formats.text import is_line

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

__all__ = [
    "NO_UNKNOWN_FIELDS",
    "Checked",
    "Line",
    "Number",
    "OptionalNumber",
    "Sha256",
    "Table",
    "Text",
    "Whole",
    "line",
    "matching",
    "one_of",
    "optional",
    "text",
    "truth",
    "whole",
]

NO_UNKNOWN_FIELDS: Mapping[str, Any] = {"extra": "forbid"}
"""A record's configuration, in pydantic's words."""


@dataclass(frozen=True, slots=True)
class Checked:
    """Metadata of a field: what its value must be.

    Not pydantic's own types: those refuse file names that are not Unicode, which JSON spells as lone
    surrogates, and take ``true`` for a number where they are not strict.

    Attributes:
        check: gives the value, or raises ValueError; the message reads on from the field's name.
    """

    check: Callable[[object], object]

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> "CoreSchema":
        """How pydantic asks for the check."""
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(self.check)


def text(value: object) -> str:
    """Any text, empty too, without NUL."""
    if not isinstance(value, str) or "\0" in value:
        message = f"is not text: {value!r:.80}"
        raise ValueError(message)
    return value


def truth(value: object) -> bool:
    """True or false, no number."""
    if not isinstance(value, bool):
        message = f"is not true or false: {value!r:.80}"
        raise ValueError(message)  # noqa: TRY004 - what pydantic collects
    return value


def line(value: object) -> str:
    """Printable text that is not empty."""
    found = text(value)
    if not is_line(found):
        message = f"is empty or not printable: {value!r:.80}"
        raise ValueError(message)
    return found


def matching(pattern: re.Pattern[str]) -> Callable[[object], str]:
    """Text that ``pattern`` matches as a whole."""

    def check(value: object) -> str:
        found = text(value)
        if not pattern.fullmatch(found):
            message = f"is malformed: {value!r:.80}"
            raise ValueError(message)
        return found

    return check


def one_of(*words: str) -> Callable[[object], str]:
    """One of a few words."""

    def check(value: object) -> str:
        found = text(value)
        if found not in words:
            message = f"is {value!r:.80}, not one of {', '.join(words)}"
            raise ValueError(message)
        return found

    return check


def whole(least: int | None = None) -> Callable[[object], int]:
    """A whole number, not below ``least``; of any size."""

    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or (least is not None and value < least):
            message = f"is not a whole number that can stand there: {value!r:.80}"
            raise ValueError(message)
        return value

    return check


def optional(check: Callable[[object], object]) -> Callable[[object], object]:
    """None, or what ``check`` wants."""
    return lambda value: None if value is None else check(value)


def _number(value: object) -> float:
    """A finite number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    message = f"is not a finite number: {value!r:.80}"
    raise ValueError(message)


def _table(value: object) -> dict[str, Any]:
    """A table of plain JSON values, whatever they are."""
    if not isinstance(value, dict):
        message = f"is not a table: {value!r:.80}"
        raise ValueError(message)  # noqa: TRY004 - what pydantic collects
    for place in _infinite(value, ""):
        message = f"holds a number that is not finite, at {place[1:]}"
        raise ValueError(message)
    return value


def _infinite(value: object, place: str) -> Iterator[str]:
    """Places of numbers such as 1e999, which reads as infinity, and which no JSON can say again."""
    if isinstance(value, float) and not math.isfinite(value):
        yield place
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _infinite(inner, f"{place}.{key!r:.40}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _infinite(inner, f"{place}[{index}]")


Text = Annotated[str, Checked(text)]
"""Any text without NUL."""

Line = Annotated[str, Checked(line)]
"""Printable text that is not empty."""

Sha256 = Annotated[str, Checked(matching(re.compile(r"[0-9a-f]{64}")))]
"""64 hex digits."""

Whole = Annotated[int, Checked(whole())]
"""A whole number of any size and sign."""

Number = Annotated[float, Checked(_number)]
"""A finite number."""

OptionalNumber = Annotated[float | None, Checked(optional(_number))]
"""A finite number, or None."""

Table = Annotated[Mapping[str, Any], Checked(_table)]
"""A table of plain JSON values."""
