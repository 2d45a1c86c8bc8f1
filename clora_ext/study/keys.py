"""Keys: what a job's result depends on, as a short hash; equal content, equal key, one job."""

import hashlib
import json

__all__ = ["key_of"]

_LENGTH = 20  # hex digits: 80 bits
_FORMAT = 1  # to be raised when the same content gives other results


def key_of(*content: object) -> str:
    """A hash of plain JSON values.

    >>> key_of("a", {"x": 1, "y": 2}) == key_of("a", {"y": 2, "x": 1})
    True
    """
    text = json.dumps([_FORMAT, *content], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]
