"""JSON of which every reader sees the same: no key twice, no NaN, no Infinity."""

import json
from typing import Any

__all__ = ["read_json"]


def read_json(text: str) -> Any:  # noqa: ANN401 - whatever the text says
    """The value that ``text`` spells.

    Raises:
        ValueError: it is no JSON, an object has a key twice, or a number is NaN or infinite by name.
        RecursionError: it is nested too deeply.

    >>> read_json('{"a": [1, true]}')
    {'a': [1, True]}
    """
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object with no key twice: of two readers each could take another of the values."""
    result = dict(pairs)
    if len(result) != len(pairs):
        message = "a key appears twice"
        raise ValueError(message)
    return result


def _refuse(constant: str) -> None:
    """JSON knows no NaN and no Infinity, though Python would read them."""
    message = f"{constant} is not valid JSON"
    raise ValueError(message)
