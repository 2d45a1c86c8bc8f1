"""The concepts that a model file says it holds: JSON in its header's metadata. Needs no torch."""

import json
from collections.abc import Mapping, Sequence

__all__ = ["HISTORY_KEY", "decode_history", "encode_history"]

HISTORY_KEY = "clora.history"
"""Metadata key of a checkpoint: the concepts in it, JSON."""

_CONCEPTS = "concepts"
_LONGEST = 1 << 24  # characters: of some ten thousand concepts; beyond that, nobody wrote them


def encode_history(concepts: Sequence[Mapping[str, object]], about: Mapping[str, object]) -> str:
    """A JSON object with the list ``concepts``, oldest first, after what is said ``about`` all of them.

    An object and not a bare list, because web interfaces show values that begin with a brace as a tree.

    >>> encode_history([{"token": "sks", "class": "dog"}], {})
    '{"concepts":[{"token":"sks","class":"dog"}]}'
    """
    content = {**about, _CONCEPTS: list(concepts)}
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def decode_history(text: str) -> tuple[Mapping[str, str], ...]:
    """The concepts as text by text; none if they are not readable. A bare list is read, too.

    >>> decode_history('[{"token": "sks"}]') == decode_history('{"concepts": [{"token": "sks"}]}')
    True
    """
    if len(text) > _LONGEST:
        return ()
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    entries = content.get(_CONCEPTS) if isinstance(content, dict) else content
    if not isinstance(entries, list):
        return ()
    return tuple(
        {str(key): str(value) for key, value in entry.items() if value is not None}
        for entry in entries
        if isinstance(entry, dict)
    )
