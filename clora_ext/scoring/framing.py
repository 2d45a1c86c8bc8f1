"""How pictures are cut and coloured before an encoder sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["CLIP_COLOURS", "IMAGENET_COLOURS", "Colours", "Framing"]


@dataclass(frozen=True, slots=True)
class Colours:
    """Mean and standard deviation of red, green and blue, each from 0 to 1, in the encoder's training."""

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


CLIP_COLOURS = Colours((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
"""Of OpenAI's CLIP (arXiv 2103.00020, its published preprocessing)."""

IMAGENET_COLOURS = Colours((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Of ImageNet, which DINO and DINOv2 take."""


@dataclass(frozen=True, slots=True)
class Framing:
    """Scale the shorter side, cut the centre, normalise the colours.

    Attributes:
        shorter: side after scaling, pixels.
        side: of the square that is cut, pixels.
        colours: that the encoder was trained with.
    """

    shorter: int
    side: int
    colours: Colours

    def pixels(self, pictures: "Sequence[Image]") -> Tensor:
        """(n, 3, side, side), float32, normalised."""
        return torch.stack([self._one(picture) for picture in pictures])

    def _one(self, picture: "Image") -> Tensor:
        from PIL.Image import Resampling

        scale = self.shorter / min(picture.size)
        size = max(self.side, round(picture.width * scale)), max(self.side, round(picture.height * scale))
        scaled = picture.convert("RGB").resize(size, Resampling.BICUBIC)
        left, top = round((size[0] - self.side) / 2), round((size[1] - self.side) / 2)
        cut = scaled.crop((left, top, left + self.side, top + self.side))
        values = torch.from_numpy(np.array(cut, dtype=np.float32) / 255).permute(2, 0, 1)
        mean, deviation = (
            torch.tensor(numbers).reshape(3, 1, 1) for numbers in (self.colours.mean, self.colours.deviation)
        )
        return (values - mean) / deviation
