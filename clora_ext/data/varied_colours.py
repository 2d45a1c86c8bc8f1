"""Colours that differ a little from step to step, within the bounds of sd-scripts' color_aug."""

from random import Random

import numpy as np
from PIL import Image

__all__ = ["varied_colours"]

_SHARE = 1 / 3  # of the steps in which anything is changed
_HUE = 8 / 180  # of the circle, either way
_GAMMA = 0.05
_LEVELS = 255


def varied_colours(image: Image.Image, rng: Random) -> Image.Image:
    """``image`` (RGB) as it is, or with its hue turned by up to 16 degrees, or with a gamma of .95 to 1.05.

    >>> plain = Image.new("RGB", (1, 1), (200, 100, 50))
    >>> sum(varied_colours(plain, Random(seed)) is plain for seed in range(300)) in range(170, 230)
    True
    """
    if rng.random() >= _SHARE:
        return image
    if rng.random() < 1 / 2:
        return _turned(image, rng.uniform(-_HUE, _HUE))
    gamma = rng.uniform(1 - _GAMMA, 1 + _GAMMA)
    return image.point([round(_LEVELS * (level / _LEVELS) ** gamma) for level in range(_LEVELS + 1)] * 3)


def _turned(image: Image.Image, share: float) -> Image.Image:
    """The hue turned by a share of the circle."""
    hue, saturation, value = image.convert("HSV").split()
    turned = (np.asarray(hue, dtype=np.int16) + round(share * (_LEVELS + 1))) % (_LEVELS + 1)
    return Image.merge("HSV", (Image.fromarray(turned.astype(np.uint8)), saturation, value)).convert("RGB")
