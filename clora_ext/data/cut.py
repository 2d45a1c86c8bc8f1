"""How a picture is scaled and cut to the size that it is trained at."""

from dataclasses import dataclass, replace
from random import Random

__all__ = ["Cut", "covering"]


@dataclass(frozen=True, slots=True)
class Cut:
    """What is kept of a picture, and at which size.

    Attributes:
        size: (width, height) of the result, pixels.
        box: (left, top, right, bottom) of what is kept, pixels of the picture.
        corner: (left, top) that SDXL is told, pixels of the picture after scaling.
        mirrored_corner: the same where the picture is mirrored.
    """

    size: tuple[int, int]
    box: tuple[float, float, float, float]
    corner: tuple[float, float]
    mirrored_corner: tuple[float, float]

    def elsewhere(self, width: int, height: int, rng: Random) -> "Cut":
        """As large a part of a picture, anywhere in it.

        Args:
            width: of the picture, pixels.
            height: likewise.
            rng: says where.
        """
        across, down = self.box[2] - self.box[0], self.box[3] - self.box[1]
        left, top = rng.random() * max(0.0, width - across), rng.random() * max(0.0, height - down)
        scale = self.size[0] / across
        corner = round(left * scale), round(top * scale)
        mirrored = max(0, round((width - across) * scale) - corner[0]), corner[1]
        box = (left, top, left + across, top + down)
        return replace(self, box=box, corner=corner, mirrored_corner=mirrored)


def covering(width: int, height: int, across: int, down: int) -> Cut:
    """Scaled until it just covers (across, down), and cut about its centre.

    >>> covering(1000, 500, 256, 256).corner
    (128, 0)

    Args:
        width: of the picture, pixels.
        height: likewise.
        across: width of the result, pixels.
        down: height of the result, pixels.
    """
    scale = max(across / width, down / height)
    kept_across, kept_down = min(across / scale, width), min(down / scale, height)
    left, top = (width - kept_across) / 2, (height - kept_down) / 2
    corner = round((width * scale - across) / 2), round((height * scale - down) / 2)
    mirrored = round(width * scale) - across - corner[0]
    return Cut(
        (across, down), (left, top, left + kept_across, top + kept_down), corner, (mirrored, corner[1])
    )
