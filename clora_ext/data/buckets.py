"""The sizes to train at, and the one that fits a picture best."""

from collections.abc import Sequence
from math import log, sqrt

from clora_ext.errors import UsageError

__all__ = ["WIDEST", "bucket_sizes", "cover", "nearest"]

WIDEST = 2


def bucket_sizes(resolution: int, step: int) -> tuple[tuple[int, int], ...]:
    """All (width, height) in pixels, sorted, with about ``resolution`` squared pixels and never more.

    Sides are multiples of ``step``, and no side is longer than twice the other. The square is always
    among them.

    Args:
        resolution: side of the square bucket, pixels.
        step: sides have to be multiples of it, pixels; the model's requirement.

    Raises:
        UsageError: ``step`` is not positive or larger than ``resolution``.

    >>> bucket_sizes(64, 16)
    ((48, 80), (64, 64), (80, 48))
    """
    if step < 1 or resolution < step:
        raise UsageError(
            f"resolution {resolution} is smaller than the step of image sizes, {step}",
            fix=f"choose a resolution of at least {max(step, 1)}, ideally a multiple of it",
        )
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
