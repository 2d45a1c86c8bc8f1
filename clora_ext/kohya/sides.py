"""Width and height that a file asks for, as clora takes them."""

from collections.abc import Sequence
from math import isqrt

__all__ = ["side_of", "sides_of"]

_STEP = 64  # of sd-scripts' buckets, and no model needs a larger one


def side_of(sides: Sequence[int]) -> int:
    """The side of the square that samples have: of the same area, and no larger.

    >>> side_of([512, 512]), side_of([512, 768])
    (512, 576)
    """
    width, height = sides
    return width if width == height else max(_STEP, isqrt(width * height) // _STEP * _STEP)


def sides_of(sides: Sequence[int]) -> tuple[int, int] | None:
    """Both, where they differ; None: they are those of a square.

    >>> sides_of([512, 512]), sides_of([512, 768])
    (None, (512, 768))
    """
    width, height = sides
    return None if width == height else (width, height)
