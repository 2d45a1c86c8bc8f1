"""sd-scripts' buckets: its list of sizes, the one that it chooses for a picture, and how it cuts.

By its behaviour in v0.11.1, table by table; clora's own buckets are in :mod:`clora_ext.data.buckets`.
"""

from dataclasses import dataclass
from math import sqrt

from clora_ext.errors import UsageError

from .cut import Cut

__all__ = ["KohyaBuckets"]

Size = tuple[int, int]
"""(width, height), pixels."""


@dataclass(frozen=True, slots=True)
class KohyaBuckets:
    """The sizes that pictures are cut to where ``enable_bucket`` is on.

    Attributes:
        smallest: of a bucket's sides, pixels (``min_bucket_reso``).
        largest: of a bucket's sides, pixels (``max_bucket_reso``).
        step: all sides are multiples of it, pixels (``bucket_reso_steps``).
        no_upscale: whether pictures are never enlarged; then buckets are made as pictures need them.
    """

    smallest: int = 256
    largest: int = 1024
    step: int = 64
    no_upscale: bool = False

    def sizes(self, resolution: Size) -> tuple[Size, ...]:
        """All buckets, sorted; with ``no_upscale`` there is no such list.

        >>> KohyaBuckets().sizes((256, 256))
        ((256, 256),)

        Args:
            resolution: whose area the buckets keep to.

        Raises:
            UsageError: a side of the resolution lies outside of the smallest and the largest.
        """
        smallest = self.smallest // self.step * self.step
        largest = -(-self.largest // self.step) * self.step
        if min(resolution) < smallest:
            message = f"min_bucket_reso {smallest} is above the resolution {min(resolution)}"
            raise UsageError(message, fix="make it smaller, or the resolution larger")
        if max(resolution) > largest:
            message = f"max_bucket_reso {largest} is below the resolution {max(resolution)}"
            raise UsageError(message, fix="make it larger, or the resolution smaller")
        area = resolution[0] * resolution[1]
        square = int(sqrt(area) // self.step) * self.step
        found = {(square, square)}
        for short in range(smallest, largest + 1, self.step):
            long = min(largest, area // short // self.step * self.step)
            if long >= smallest:
                found |= {(short, long), (long, short)}
        return tuple(sorted(found))

    def cut(self, picture: Size, resolution: Size) -> Cut:
        """How a picture is scaled and cut.

        Raises:
            UsageError: no bucket fits it.
        """
        bucket, scaled = (
            self._kept_small(picture, resolution) if self.no_upscale else self._nearest(picture, resolution)
        )
        if min(bucket) < 1 or any(one < other for one, other in zip(scaled, bucket, strict=True)):
            width, height = picture
            message = f"a picture of {width} x {height} px fits no bucket in steps of {self.step}"
            raise UsageError(message, fix="leave it out, or set bucket_no_upscale = false")
        left, top = ((one - other) // 2 for one, other in zip(scaled, bucket, strict=True))
        across, down = picture[0] / scaled[0], picture[1] / scaled[1]
        box = (left * across, top * down, (left + bucket[0]) * across, (top + bucket[1]) * down)
        shown_left, shown_top, shown_right = _told(picture, bucket)
        return Cut(bucket, box, (shown_left, shown_top), (bucket[0] - shown_right, shown_top))

    def _nearest(self, picture: Size, resolution: Size) -> tuple[Size, Size]:
        """The bucket whose proportions are nearest, and the picture scaled until it covers it."""
        sizes = self.sizes(resolution)
        proportion = picture[0] / picture[1]
        bucket = (
            picture if picture in sizes else min(sizes, key=lambda one: abs(one[0] / one[1] - proportion))
        )
        by_height = proportion > bucket[0] / bucket[1]
        scale = bucket[1] / picture[1] if by_height else bucket[0] / picture[0]
        return bucket, (int(picture[0] * scale + 0.5), int(picture[1] * scale + 0.5))

    def _kept_small(self, picture: Size, resolution: Size) -> tuple[Size, Size]:
        """The picture, made smaller where it has more area than the resolution, and the bucket inside it."""
        self.sizes(resolution)  # which refuses what cannot be
        area, proportion = resolution[0] * resolution[1], picture[0] / picture[1]
        scaled = picture
        if picture[0] * picture[1] > area:
            width = sqrt(area * proportion)
            by_width, by_height = self._rounded(width), self._rounded(area / width)
            if not by_width or not by_height:  # thinner than a step
                return (by_width, by_height), picture
            height_then, width_then = (
                self._rounded(by_width / proportion),
                self._rounded(by_height * proportion),
            )
            width_error = abs(by_width / height_then - proportion)
            height_error = abs(width_then / by_height - proportion)
            if width_error < height_error:
                scaled = (by_width, int(by_width / proportion + 0.5))
            else:
                scaled = (int(by_height * proportion + 0.5), by_height)
        return (scaled[0] // self.step * self.step, scaled[1] // self.step * self.step), scaled

    def _rounded(self, side: float) -> int:
        """To whole pixels, then down to a multiple of the step."""
        return int(side + 0.5) // self.step * self.step


def _told(picture: Size, bucket: Size) -> tuple[float, float, float]:
    """(left, top, right) of the cut that SDXL is told of: the picture as it would lie inside the bucket."""
    proportion = picture[0] / picture[1]
    if bucket[0] / bucket[1] > proportion:
        width, height = bucket[1] * proportion, float(bucket[1])
    else:
        width, height = float(bucket[0]), bucket[0] / proportion
    left, top = (bucket[0] - width) // 2, (bucket[1] - height) // 2
    return left, top, left + width
