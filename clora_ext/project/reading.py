"""Records made of plain JSON values that may be damaged or hostile; all that is wrong is told at once."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from clora_ext.errors import ProjectError

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

__all__ = ["damaged", "read_record", "unknown_fields"]

_FIX = "restore manifest.json from a backup, or undo the change that was made to it by hand"
_MOST = 20  # problems in one complaint
_PLAIN = re.compile(r"[A-Za-z0-9_]{1,64}")
_UNKNOWN = "unexpected_keyword_argument"
_PROBLEMS = {
    "missing": "is missing",
    _UNKNOWN: "is not a field that clora knows",
    "dataclass_type": "is not a table: {input!r:.80}",
    "dict_type": "is not a table: {input!r:.80}",
    "tuple_type": "is not a list: {input!r:.80}",
    "string_unicode": "has a field whose name is not Unicode: {input!r:.80}",
}
"""What is wrong, by pydantic's word for it; reads on from the field's name."""

Record = TypeVar("Record")


def damaged(problems: Sequence[str]) -> ProjectError:
    """The complaint about a file; each problem names the file and the field."""
    lines = list(problems[:_MOST])
    if len(problems) > _MOST:
        lines.append(f"and {len(problems) - _MOST} more problems of that kind")
    return ProjectError("\n".join(lines), fix=_FIX)


def read_record(kind: type[Record], value: object, where: str) -> Record:
    """``value`` as a frozen dataclass whose fields say what they may hold.

    Args:
        kind: the dataclass; its fields are read by their annotations, and it may forbid others.
        value: what JSON gave.
        where: the file, for complaints.

    Raises:
        ProjectError: names every field that is wrong, missing or unknown.
    """
    from pydantic import ValidationError

    try:
        record: Record = _adapter(kind).validate_python(value)
    except ValidationError as error:
        details = error.errors(include_url=False)
    else:
        return record
    raise damaged([f"{where}{_place(one['loc'], one['type'])} {_problem(one)}" for one in details])


def unknown_fields(kind: type[Any], value: object) -> list[str]:
    """Names of the fields in ``value`` that a record of this kind and those inside it do not have.

    Places in lists are left out: what stands in every concept is told once.
    """
    from pydantic import ValidationError

    try:
        _adapter(kind).validate_python(value)
    except ValidationError as error:
        unknown = [one["loc"] for one in error.errors(include_url=False) if one["type"] == _UNKNOWN]
        plain = (tuple(step for step in loc if isinstance(step, str)) for loc in unknown)
        return list(dict.fromkeys(_place(loc, _UNKNOWN)[1:] for loc in plain))
    return []


_adapters: dict[type[Any], "TypeAdapter[Any]"] = {}  # making one takes as long as reading a manifest


def _adapter(kind: type[Any]) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def _place(loc: Sequence[int | str], problem: str) -> str:
    """Where in the file; names that came from the file itself are shown as they can be shown."""
    steps = [step for step in loc if step != "[key]"]  # pydantic's mark: it is the name that is wrong
    last = len(steps) - 1
    return "".join(
        _step(step, foreign=problem == _UNKNOWN and index == last) for index, step in enumerate(steps)
    )


def _step(step: int | str, *, foreign: bool) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _PLAIN.fullmatch(step) and not foreign else f".{step!r:.80}"


def _problem(error: "ErrorDetails") -> str:
    """What is wrong in words that read on from the field's name."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return _PROBLEMS.get(error["type"], f"cannot be read: {error['msg']}").format(input=error["input"])
