"""A configuration file as written: its values, and the line on which each key stands."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clora_ext.formats.strict_json import read_json
from clora_ext.formats.text import escaped

if TYPE_CHECKING:
    from tomlkit.container import Container
    from tomlkit.items import Item, Table

__all__ = ["Document", "Place", "Unreadable", "read_document"]

Place = tuple[str | int, ...]
"""Keys and indices that lead to a value."""

_MOST_BYTES = 1 << 20
_BACKSLASH = re.compile(r'"[^"\n]*\\[^"\n]*"')


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says.

    Attributes:
        path: of the file.
        values: plain values, in its order.
        lines: of each key, counted from 1, by the keys and indices that lead to it.
    """

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[Place, int]

    def line(self, place: Place) -> int | None:
        """The line of a key, or of what it stands in."""
        while place:
            if place in self.lines:
                return self.lines[place]
            place = place[:-1]
        return None


class Unreadable(Exception):  # the check collects these; users meet a finding
    """A file is not what it is said to be.

    Attributes:
        line: where; None: everywhere.
        reason: what is wrong.
        fix: what to do about it.
    """

    def __init__(self, reason: str, fix: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.line, self.reason, self.fix = line, reason, fix


def read_document(path: Path) -> Document:
    """A TOML file, or a JSON file by its ending.

    Raises:
        Unreadable: it cannot be read, is too large, is not UTF-8, or is neither TOML nor JSON.
    """
    text = _text(path)
    return _read_json(path, text) if path.suffix.lower() == ".json" else _read_toml(path, text)


def _text(path: Path) -> str:
    """Without a byte order mark, and every line ended as on Unix."""
    try:
        if path.is_dir():
            raise Unreadable("is a folder", "name a file")
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"cannot be read ({error.strerror or error})", "check the path") from error
    except ValueError as error:
        raise Unreadable("has a name that no file can have", "check the path") from error
    if len(data) > _MOST_BYTES:
        raise Unreadable(f"has more than {_MOST_BYTES:,} bytes: no configuration has", "name another file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Unreadable("is not UTF-8", "save it in your editor with the encoding UTF-8", line) from error
    return text.replace("\r\n", "\n")


def _read_toml(path: Path, text: str) -> Document:
    import tomlkit
    from tomlkit.exceptions import ParseError, TOMLKitError

    try:
        document = tomlkit.parse(text)
        values = document.unwrap()
    except ParseError as error:
        raise _not_toml(text, error.line, str(error)) from error
    except (TOMLKitError, RecursionError, ValueError) as error:
        raise _not_toml(text, None, str(error)) from error
    lines: dict[Place, int] = {}
    _walk(document, 1, (), lines)
    return Document(path, values, lines)


def _not_toml(text: str, line: int | None, message: str) -> Unreadable:
    written = text.split("\n")[line - 1] if line is not None and line <= text.count("\n") + 1 else ""
    if _BACKSLASH.search(written):
        reason = "a backslash in double quotes begins an escape"
        return Unreadable(reason, r"use single quotes, 'C:\pictures', or / in place of each \\", line)
    if re.search(r"=\s*(True|False)\b", written):
        return Unreadable("TOML writes true and false in lower case", "write true or false", line)
    said = re.sub(r"\s*at line \d+ col \d+$", "", message)
    return Unreadable(f"is not TOML: {escaped(said)}", "mend the file", line)


def _walk(container: "Container", line: int, place: Place, lines: dict[Place, int]) -> int:
    """Enter the lines of a container's keys, which begins on ``line``; give the line after it."""
    from tomlkit.items import AoT, Table

    for key, item in container.body:
        if key is None:
            line += item.as_string().count("\n")
            continue
        here = (*place, key.key)
        if isinstance(item, AoT):
            start = len({at[len(here)] for at in lines if at[: len(here)] == here and len(at) > len(here)})
            for number, table in enumerate(item.body, start):
                line = _walk_table(table, line, (*here, number), lines)
        elif isinstance(item, Table):
            line = _walk_table(item, line, here, lines)
        else:
            line += item.trivia.indent.count("\n")
            lines[here] = line
            _inside(item, line, here, lines)
            line += (item.as_string() + item.trivia.comment_ws + item.trivia.trail).count("\n")
    return line


def _walk_table(table: "Table", line: int, place: Place, lines: dict[Place, int]) -> int:
    if not table.is_super_table():
        line += table.trivia.indent.count("\n")
        lines.setdefault(place, line)
        line += table.trivia.trail.count("\n")
    return _walk(table.value, line, place, lines)


def _inside(item: "Item", line: int, place: Place, lines: dict[Place, int]) -> None:
    """Keys of inline tables: on the line of the key that holds them."""
    from tomlkit.items import Array, InlineTable

    if isinstance(item, InlineTable):
        for key, inner in item.value.body:
            if key is not None:
                lines[(*place, key.key)] = line
                _inside(inner, line, (*place, key.key), lines)
    elif isinstance(item, Array):
        for number, inner in enumerate(item):
            _inside(inner, line, (*place, number), lines)


def _read_json(path: Path, text: str) -> Document:
    try:
        values = read_json(text)
    except json.JSONDecodeError as error:
        raise Unreadable(f"is not JSON: {error.msg}", "mend the file", error.lineno) from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"is not JSON: {error}", "mend the file") from error
    if not isinstance(values, dict):
        raise Unreadable("holds no object", "a configuration is an object of keys and values")
    written = _json_keys(text)
    lines: dict[Place, int] = {}
    for place in _places(values, ()):
        lines[place] = next(written)
    return Document(path, values, lines)


def _json_keys(text: str) -> Iterator[int]:
    """The lines of an object's keys, in the order in which they are written."""
    for found in re.finditer(r'"(?:[^"\\]|\\.)*"(\s*:)?', text):
        if found[1]:
            yield text.count("\n", 0, found.start()) + 1


def _places(value: object, place: Place) -> Iterator[Place]:
    """Where keys stand, in the order in which they are written."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (*place, name)
            yield from _places(inner, (*place, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _places(inner, (*place, number))
