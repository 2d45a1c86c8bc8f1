"""A value of a configuration in the type that its key asks for, and how it was read if that must be told."""

import json
from collections.abc import Callable
from math import isfinite
from typing import Any

from clora_ext.errors import did_you_mean
from clora_ext.formats.text import quoted

from .key import Key

__all__ = ["Typed", "WrongValue", "above_zero", "typed_value"]

Typed = tuple[Any, str]
"""The value, and how it was read; empty: as it stands."""


class WrongValue(Exception):  # the check collects these; users meet a finding
    """A value is none of its key's.

    Attributes:
        reason: what is wrong; continues a sentence that begins with the key.
        suggestion: what to write.
    """

    def __init__(self, reason: str, suggestion: str = "") -> None:
        super().__init__(reason)
        self.reason, self.suggestion = reason, suggestion


def typed_value(key: Key, value: object) -> Typed:
    """The value as the key's kind, and a note where it was not written as one.

    Raises:
        WrongValue: it is of another kind, none of the key's choices, or out of bounds.
    """
    typed, note = _READERS[key.kind](value)
    if key.choices:
        typed = _choice(key, typed)
    for number in typed if isinstance(typed, list) else [typed]:
        _check_bounds(key, number)
    return typed, note


def above_zero(text: str) -> float | None:
    """The number that an argument's text is; None: it is none above 0."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def _choice(key: Key, value: object) -> object:
    known = {str(one).casefold() if key.any_case else str(one): one for one in key.choices}
    written = str(value).casefold() if key.any_case else str(value)
    if written not in known:
        raise WrongValue(f"no {quoted(str(value))}", did_you_mean(str(value), tuple(map(str, key.choices))))
    return known[written]


def _check_bounds(key: Key, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if key.above is not None and value <= key.above:
        raise WrongValue(f"{value} is not more than {key.above}")
    if key.min is not None and value < key.min:
        raise WrongValue(f"{value} is less than {key.min}")
    if key.max is not None and value > key.max:
        raise WrongValue(f"{value} is more than {key.max}")


def _flag(value: object) -> Typed:
    if isinstance(value, bool):
        return value, ""
    if isinstance(value, int) and value in {0, 1}:
        return bool(value), f"read as {str(bool(value)).lower()}"
    if isinstance(value, str) and value.casefold() in {"true", "false"}:
        reason = f"{quoted(value)} is text, which sd-scripts takes for true whatever it says"
        raise WrongValue(reason, f"write {value.casefold()}, without quotes")
    raise WrongValue(f"{_shown(value)} is neither true nor false")


def _whole(value: object) -> Typed:
    number, note = _number(value)
    if isinstance(number, float):
        if not number.is_integer():
            raise WrongValue(f"{_shown(value)} is no whole number")
        return int(number), f"read as {int(number)}"
    return number, note


def _number(value: object) -> Typed:
    if isinstance(value, str):
        return _spelled(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongValue(f"{_shown(value)} is no number")
    if not isfinite(value):
        raise WrongValue(f"{_shown(value)} is no finite number")
    return value, ""


def _spelled(text: str) -> Typed:
    """A number in quotes."""
    try:
        number: int | float = int(text) if text.strip().lstrip("+-").isdecimal() else float(text)
    except ValueError:
        raise WrongValue(f"{quoted(text)} is no number") from None
    if not isfinite(number):
        raise WrongValue(f"{quoted(text)} is no finite number")
    return number, f"{quoted(text)} read as {number}"


def _numbers(value: object) -> Typed:
    if isinstance(value, list):
        if not value:
            raise WrongValue("an empty list holds no number")
        return [_number(one)[0] for one in value], ""
    number, note = _number(value)
    return [number], note


def _text(value: object) -> Typed:
    if isinstance(value, str):
        return value, ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value), f"read as the text {quoted(str(value))}"
    raise WrongValue(f"{_shown(value)} is no text")


def _texts(value: object) -> Typed:
    if isinstance(value, str):
        return [value], "read as a list of one"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return list(value), ""
    raise WrongValue(f"{_shown(value)} is no list of texts")


def _path(value: object) -> Typed:
    if not isinstance(value, str):
        raise WrongValue(f"{_shown(value)} is no path")
    if "\0" in value:
        raise WrongValue("no path can hold a character of number 0")
    return value, ""


def _ending(value: object) -> Typed:
    text, note = _text(value)
    if not text.strip(".").isalnum() or len(text) > 20:  # noqa: PLR2004 - longer than any
        raise WrongValue(f"{quoted(text)} is no ending of file names", 'write it as ".txt"')
    return (text, note) if text.startswith(".") else (f".{text}", f"read as {quoted(f'.{text}')}")


def _pairs(value: object) -> Typed:
    """Texts ``name=value`` as a mapping."""
    texts, note = _texts(value)
    pairs: dict[str, str] = {}
    for text in texts:
        name, mark, said = text.partition("=")
        name = name.strip()
        if not mark or not name:
            raise WrongValue(f"{quoted(text)} is no name=value")
        if name in pairs:
            raise WrongValue(f"{quoted(name)} is given twice")
        pairs[name] = said.strip()
    return pairs, note


def _sides(value: object) -> Typed:
    """Width and height, pixels, as dataset files have them: numbers."""
    pair = _width_and_height(value)
    as_usual = pair == value or (isinstance(value, int) and not isinstance(value, bool))
    return pair, "" if as_usual else f"read as {pair}"


def _sides_in_text(value: object) -> Typed:
    """The same as training files have them: text."""
    pair = _width_and_height(value)
    return pair, "" if isinstance(value, str) else f"read as {pair}"


def _width_and_height(value: object) -> list[int]:
    parts = value if isinstance(value, list) else [value]
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",")]
    sides = [_whole(part)[0] for part in parts]
    if len(sides) not in {1, 2} or min(sides) < 1:
        raise WrongValue(f"{_shown(value)} is neither one side nor two", "write 512, or [512, 768]")
    return [sides[0], sides[-1]]


def _steps(value: object) -> Typed:
    """A whole number of steps, or a share of all below 1 as a float."""
    if isinstance(value, str) and value.strip().endswith("%"):
        percent, _ = _number(value.strip()[:-1])
        share = percent / 100
        if not 0 <= share < 1:
            raise WrongValue(f"{quoted(value)} is no share below 100%")
        return float(share), ""
    number, note = _number(value)
    if isinstance(number, float) and number >= 1:
        count = int(number) if number.is_integer() else number
        often = "the whole run" if number == 1 else f"{count} times the whole run"
        raise WrongValue(f"with a point it is a share, {often}", f"write {int(number)} or 0.1")
    return number, note


def _table(value: object) -> Typed:
    if not isinstance(value, dict):
        raise WrongValue(f"{_shown(value)} is no table")
    return value, ""


def _anything(value: object) -> Typed:
    return value, ""


def _shown(value: object) -> str:
    return quoted(value) if isinstance(value, str) else json.dumps(value, default=str)[:80]


_READERS: dict[str, Callable[[object], Typed]] = {
    "flag": _flag,
    "whole": _whole,
    "number": _number,
    "numbers": _numbers,
    "text": _text,
    "texts": _texts,
    "path": _path,
    "ending": _ending,
    "pairs": _pairs,
    "sides": _sides,
    "sides in text": _sides_in_text,
    "steps": _steps,
    "table": _table,
    "anything": _anything,
}
