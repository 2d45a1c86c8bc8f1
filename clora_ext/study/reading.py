"""A table of a TOML file as a frozen dataclass; everything that is wrong with it is told at once."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from clora_ext.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["read_table"]

Record = TypeVar("Record")
_UNKNOWN = "unexpected_keyword_argument"


def read_table(kind: type[Record], values: object, where: str) -> Record:
    """``values`` as ``kind``, a dataclass whose annotations say what its fields may hold.

    Args:
        kind: the dataclass; tables inside are dataclasses too.
        values: what TOML gave.
        where: the file, for complaints.

    Raises:
        SettingsError: names every key that is unknown, missing or wrong, with the nearest known one.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        # As JSON: of Python's own values, pydantic's strict mode takes no tables for dataclasses.
        record: Record = TypeAdapter(kind).validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise SettingsError([f"{where}: {_in_words(kind, one)}" for one in details]) from error
    return record


def _in_words(kind: type, error: "ErrorDetails") -> str:
    place = [part for part in error["loc"] if not isinstance(part, str) or part.isidentifier()]
    if error["type"] == _UNKNOWN:
        *above, name = place
        known = tuple(one.name for one in fields(_table_at(kind, above)))
        return f"unknown key {_dotted(place)}; {did_you_mean(str(name), known)}"
    if error["type"] == "missing":
        return f"{_dotted(place)} is missing"
    message = error["msg"]
    return f"{_dotted(place)}: {message[:1].lower()}{message[1:]}, not {error['input']!r:.80}"


def _dotted(place: Sequence[int | str]) -> str:
    """As TOML writes it, lists counted from 1.

    >>> _dotted(["concepts", 0, "name"])
    'concepts[1].name'
    """
    text = ""
    for part in place:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _table_at(kind: type, place: Sequence[int | str]) -> Any:  # noqa: ANN401 - a dataclass
    """The dataclass of the table at ``place``."""
    for part in place:
        if isinstance(part, str):
            kind = next(_dataclasses(get_type_hints(kind)[part]), kind)
    return kind


def _dataclasses(hint: object) -> Iterator[type]:
    """The dataclasses in an annotation such as ``list[Kind]``."""
    if isinstance(hint, type) and is_dataclass(hint):
        yield hint
    for part in get_args(hint):
        yield from _dataclasses(part)
