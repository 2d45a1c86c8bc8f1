"""A table of a JSON file that may be damaged or hostile, taken apart field by field."""

import math
import re
from collections.abc import Collection
from typing import Any

from clora_ext.errors import ProjectError

__all__ = ["HASH", "Fields", "damaged"]

HASH = re.compile(r"[0-9a-f]{64}")
"""A sha256 in hex."""

_FIX = "restore manifest.json from a backup, or undo the change that was made to it by hand"

# Composed emoji and several scripts need them, and they steer no terminal.
_JOINERS = dict.fromkeys(map(ord, "\u200c\u200d"), "-")


def damaged(where: str, problem: str) -> ProjectError:
    """The complaint about one field."""
    return ProjectError(f"{where} {problem}", fix=_FIX)


class Fields:
    """One table; each complaint names the file and the field.

    Args:
        value: what JSON gave.
        where: the file and the table's place in it.
        names: all the fields that the table must have.

    Raises:
        ProjectError: not a table, or fields are missing or unknown.
    """

    def __init__(self, value: object, where: str, names: Collection[str]) -> None:
        if not isinstance(value, dict):
            raise damaged(where, "is not a table")
        for name in names:
            if name not in value:
                raise damaged(f"{where}.{name}", "is missing")
        unknown = sorted(set(value) - set(names))
        if unknown:
            raise damaged(f"{where}.{unknown[0]!r}", "is not a field that clora knows")
        self._value: dict[str, Any] = value  # checked by whoever takes a field
        self.where = where

    def place(self, name: str) -> str:
        """How a complaint calls the field."""
        return f"{self.where}.{name}"

    def text(self, name: str) -> str:
        """Any text, empty too, without NUL."""
        value = self._value[name]
        if not isinstance(value, str) or "\0" in value:
            raise damaged(self.place(name), f"is not text: {value!r:.80}")
        return value

    def line(self, name: str) -> str:
        """Printable text that is not empty."""
        value = self.text(name)
        if not value.strip() or not value.translate(_JOINERS).isprintable():
            raise damaged(self.place(name), f"is empty or not printable: {value!r:.80}")
        return value

    def matching(self, name: str, pattern: re.Pattern[str]) -> str:
        """Text that ``pattern`` matches as a whole."""
        value = self.text(name)
        if not pattern.fullmatch(value):
            raise damaged(self.place(name), f"is malformed: {value!r:.80}")
        return value

    def one_of(self, name: str, known: Collection[str]) -> str:
        """One of a few words."""
        value = self.text(name)
        if value not in known:
            raise damaged(self.place(name), f"is {value!r:.80}, not one of {', '.join(known)}")
        return value

    def is_null(self, name: str) -> bool:
        """Whether nothing is recorded there."""
        return self._value[name] is None

    def whole(self, name: str, least: int | None = None) -> int:
        """A whole number, not below ``least``."""
        value = self._value[name]
        if not isinstance(value, int) or isinstance(value, bool) or (least is not None and value < least):
            raise damaged(self.place(name), f"is not a whole number that can stand there: {value!r:.80}")
        return value

    def number(self, name: str) -> float:
        """A finite number."""
        value = self._value[name]
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number):
                return number
        raise damaged(self.place(name), f"is not a finite number: {value!r:.80}")

    def table(self, name: str) -> dict[str, Any]:
        """A table of plain JSON values, whatever they are."""
        value = self._value[name]
        if not isinstance(value, dict):
            raise damaged(self.place(name), f"is not a table: {value!r:.80}")
        _refuse_infinite(value, self.place(name))
        return value

    def items(self, name: str) -> list[tuple[object, str]]:
        """A list: every value with its place."""
        value = self._value[name]
        if not isinstance(value, list):
            raise damaged(self.place(name), f"is not a list: {value!r:.80}")
        return [(item, f"{self.place(name)}[{index}]") for index, item in enumerate(value)]

    def value(self, name: str) -> object:
        """Whatever stands there."""
        return self._value[name]


def _refuse_infinite(value: object, where: str) -> None:
    """JSON's 1e999 reads as infinity, which no JSON can say again."""
    if isinstance(value, float) and not math.isfinite(value):
        raise damaged(where, f"is not a finite number: {value!r}")
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_infinite(item, f"{where}.{key!r:.40}")
    if isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_infinite(item, f"{where}[{index}]")
