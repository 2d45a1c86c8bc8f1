"""Pictures of one prompt, as many at a time as suits their size."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from .picture_size import PictureSize, width_and_height

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

__all__ = ["draw"]

# More pictures together are drawn sooner, and take more memory: one of 1024 x 1024 pixels, four of 512 x 512.
_PIXELS_AT_ONCE = 1 << 20


def draw(
    seeds: Sequence[int],
    size: PictureSize,
    steps: int,
    on_step: Callable[[int, int], None],
    *,
    latents: "Callable[[Sequence[int], Callable[[int], None]], Tensor]",
    decode: "Callable[[Tensor], list[Image]]",
) -> "list[Image]":
    """One picture for every seed, in their order.

    Args:
        seeds: of the starting noises.
        size: of the pictures.
        steps: that each takes.
        on_step: told (done, total) after every step; may raise to stop.
        latents: some of the pictures' latents at once (n, channels, h, w), of their seeds and of whom to tell
            the steps that are done.
        decode: the pictures of latents.
    """
    width, height = width_and_height(size)
    at_once = max(1, _PIXELS_AT_ONCE // (width * height))
    parts = [seeds[start : start + at_once] for start in range(0, len(seeds), at_once)]
    images: list[Image] = []
    for number, part in enumerate(parts):
        images += decode(latents(part, partial(_tell, on_step, number * steps, len(parts) * steps)))
    return images


def _tell(on_step: Callable[[int, int], None], before: int, total: int, done: int) -> None:
    """Steps of one part as steps of the whole."""
    on_step(before + done, total)
