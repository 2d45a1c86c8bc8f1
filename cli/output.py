"""Where text goes: answers to stdout, progress and errors to stderr; with ``--json`` only JSON to stdout."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime, timezone
from io import TextIOWrapper
from math import isfinite

from rich.console import Console, RenderableType
from rich.text import Text

from clora_ext.events import Event

from .wording import printable

__all__ = ["Output", "jsonable", "tick", "tolerate_any_text"]


_GAP = 2
_NARROWEST = 24


class Output:
    """The two streams of one call.

    Attributes:
        as_json: whether stdout carries JSON lines for programs, and all text for people goes to stderr.
        answers: the console for what the user asked for.
        meanwhile: the console for progress and errors.
        is_silent: whether nothing is written at all, since another process of the same job does.
    """

    def __init__(self, *, as_json: bool, is_silent: bool = False) -> None:
        self.as_json = as_json
        self.is_silent = is_silent
        self.answers = _console(stderr=as_json, quiet=is_silent)
        self.meanwhile = _console(stderr=True, quiet=is_silent)

    def show(self, what: RenderableType) -> None:
        """Something for people to read; strings are never read as markup."""
        self.answers.print(
            printable(what) if isinstance(what, str) else what, soft_wrap=isinstance(what, str)
        )

    def facts(self, facts: Mapping[str, object]) -> None:
        """Name and value, one pair a line.

        On a terminal long words are wrapped between words. Paths, and everything that goes to a file or
        another program, run on unbroken, so that they can be copied.
        """
        width = max(map(len, facts), default=0)
        for name, value in facts.items():
            wrapped = isinstance(value, str) and self.answers.is_terminal
            room = self.answers.width - width - _GAP
            text = _wrapped(printable(value), room, width + _GAP) if wrapped else printable(value)
            line = Text.assemble((f"{name:<{width}}  ", "bold"), text)
            self.answers.print(line, soft_wrap=True)

    def event(self, event: Event) -> None:
        """One JSON line for what happened."""
        self._line({"event": _snake(type(event).__name__), **_values(event)})

    def plan(self, plan: Mapping[str, object]) -> None:
        """One JSON line for what is about to happen."""
        self._line({"event": "plan", "plan": plan})

    def result(self, result: object) -> None:
        """The last JSON line; without ``--json`` the command has told people already."""
        if self.as_json:
            self._line({"result": result})

    def error(self, error: Mapping[str, object]) -> None:
        """The last JSON line of a call that failed."""
        self._line({"error": error})

    def _line(self, content: Mapping[str, object]) -> None:
        if self.is_silent:
            return
        # ASCII, because the reader's encoding is unknown; flushed, because a program waits for each line.
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        sys.stdout.write(json.dumps(jsonable({"time": now, **content}), allow_nan=False) + "\n")
        sys.stdout.flush()


def tick(console: Console) -> Text:
    """The sign that something is done, in what the console can write."""
    return Text("ok " if console.options.ascii_only else "\N{CHECK MARK} ", "green")


def tolerate_any_text() -> None:
    """Let stdout and stderr write what their encoding lacks as escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def jsonable(value: object) -> object:
    """``value`` in JSON's own kinds: paths as text, records as objects, NaN and infinities as null."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): jsonable(content) for key, content in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return jsonable(_values(value))
    if isinstance(value, (Sequence, set, frozenset)):
        return [jsonable(content) for content in value]
    return str(value)


def _wrapped(text: str, room: int, indent: int) -> str:
    """Lines of ``room`` characters, the first of which stands behind a name; words are never cut.

    Where there is no room beside the name, the rest stands below it.
    """
    first = max(room, _NARROWEST)
    below = " " * (indent if room >= _NARROWEST else _GAP)
    rest = room + indent - len(below)
    lines: list[str] = []
    for word in text.split(" "):
        most = first if len(lines) <= 1 else rest
        if lines and len(lines[-1]) + 1 + len(word) <= most:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return f"\n{below}".join(lines)


def _values(record: object) -> dict[str, object]:
    """A record's fields by name."""
    if not is_dataclass(record):
        return {}
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _snake(name: str) -> str:
    """The name of a class as JSON spells it.

    >>> _snake("TrainStep")
    'train_step'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _console(*, stderr: bool, quiet: bool) -> Console:
    """A console that takes every text literally: file names and captions are not ours."""
    return Console(stderr=stderr, quiet=quiet, markup=False, emoji=False, highlight=False)
