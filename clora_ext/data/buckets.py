"""The sizes to train at, and the one that fits a picture best."""

from collections.abc import Sequence
from functools import cache
from math import log, sqrt

from clora_ext.errors import UsageError

__all__ = ["WIDEST", "bucket_sizes", "check_resolution", "cover", "nearest"]

WIDEST = 2
LARGEST = 16_384  # pixels; the sizes of buckets are tried one by one


def check_resolution(resolution: int, step: int) -> None:
    """Raise :class:`UsageError` unless pictures of ``resolution`` squared pixels can be made in ``step``.

    Args:
        resolution: side of the square bucket, pixels.
        step: sides have to be multiples of it, pixels; the model's requirement.
    """
    if step < 1 or resolution < step:
        raise UsageError(
            f"a resolution of {resolution} px is too small: the sides of this model's pictures are multiples "
            f"of {step} px",
            fix=f"choose a resolution of at least {max(step, 1)}, ideally a multiple of it",
        )
    if resolution > LARGEST:
        message = f"a resolution of {resolution:,} px is too large"
        raise UsageError(message, fix=f"choose {LARGEST:,} at the most; 512 and 1024 are usual")


@cache
def bucket_sizes(resolution: int, step: int) -> tuple[tuple[int, int], ...]:
    """All (width, height) in pixels, sorted, with about ``resolution`` squared pixels and never more.

    Sides are multiples of ``step``, and no side is longer than twice the other. The square is always
    among them.

    Args:
        resolution: side of the square bucket, pixels.
        step: sides have to be multiples of it, pixels; the model's requirement.

    Raises:
        UsageError: ``resolution`` is smaller than ``step``, or absurdly large.

    >>> bucket_sizes(64, 16)
    ((48, 80), (64, 64), (80, 48))
    """
    check_resolution(resolution, step)
    sizes = {(resolution // step * step,) * 2}
    for short in range(step, resolution + 1, step):
        long = resolution * resolution // short // step * step
        if long <= WIDEST * short:
            sizes |= {(short, long), (long, short)}
    return tuple(sorted(sizes))


def nearest(width: int, height: int, sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The size whose proportions are nearest to width : height; of several equally near ones the largest.

    >>> nearest(4000, 3000, [(48, 80), (64, 64), (80, 48)])
    (80, 48)
    """
    proportion = log(width / height)
    return min(sizes, key=lambda size: (abs(log(size[0] / size[1]) - proportion), -size[0] * size[1], size))


def cover(width: int, height: int, resolution: int) -> tuple[float, float]:
    """How a picture fits ``resolution``: its enlargement (above 1: enlarged) and the share cropped away.

    >>> cover(256, 256, 512), cover(400, 100, 50)[1]
    ((2.0, 0.0), 0.5)
    """
    kept = min(max(width / height, 1 / WIDEST), WIDEST)
    enlargement = resolution * max(sqrt(kept) / width, 1 / sqrt(kept) / height)
    proportion = width / height
    return enlargement, 1 - min(proportion / kept, kept / proportion)
