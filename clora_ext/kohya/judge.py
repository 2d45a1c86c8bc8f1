"""What becomes of one key and its value, by the table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .finding import Finding, Verdict
from .key import Key
from .nearest import did_you_mean_one_of
from .typed_value import WrongValue, typed_value

__all__ = ["Given", "judge", "nothing_asked", "unknown"]


_NOT_DONE: Mapping[str, Callable[[Key], tuple[Verdict, str]]] = {
    "later": lambda key: ("refuse", f"not built yet: {key.says}"),
    "note": lambda key: ("note", key.says),
}


@dataclass(frozen=True, slots=True)
class Given:
    """A key that a file gives and clora honours.

    Attributes:
        key: of the table.
        value: in the key's own type.
        written: as the file has it.
        path: of the file.
        line: on which it stands.
    """

    key: Key
    value: Any
    written: Any
    path: Path
    line: int | None

    def finding(self, verdict: Verdict, message: str, suggestion: str = "") -> Finding:
        """What is to be told about it."""
        return Finding(self.path, self.line, self.key.name, verdict, message, suggestion, self.written)


def judge(key: Key, value: object, path: Path, line: int | None) -> tuple[Finding, Given | None]:
    """The finding, and what is to be done, if anything is."""

    def found(verdict: Verdict, message: str = "", suggestion: str = "") -> Finding:
        return Finding(path, line, key.name, verdict, message, suggestion, value)

    if key.is_neutral(value):
        return found("neutral"), None
    if key.verdict == "refuse":
        return found("refuse", key.says), None
    try:
        typed, note = typed_value(key, value)
    except WrongValue as error:
        return found("error", error.reason, error.suggestion), None
    if key.is_neutral(typed):
        return found("neutral", note), None
    if key.verdict == "honour":
        return found("honour", note), Given(key, typed, value, path, line)
    return found(*_NOT_DONE[key.verdict](key)), None


def nothing_asked(key: Key, value: object, path: Path, line: int | None) -> Given | None:
    """A neutral value of a key that is honoured: it asks for nothing, whatever a table above asks for."""
    nothing: dict[str, object] = {"flag": False, "text": None, "whole": key.default, "number": key.default}
    if key.verdict != "honour" or key.kind not in nothing:
        return None
    return Given(key, nothing[key.kind], value, path, line)


def unknown(name: str, known: Mapping[str, Key], path: Path, line: int | None) -> Finding:
    """A key that sd-scripts does not have, with the nearest one that it has."""
    suggestion = did_you_mean_one_of(name, known)
    return Finding(path, line, name, "error", "sd-scripts has no such option", suggestion)
