"""Emoji artwork on plain backgrounds: what concepts of the demo model's world are drawn from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image

from clora_ext.families.hub import DEMO_MODEL

__all__ = ["ARTWORK", "COLOURS", "SIDE", "Place", "artwork", "at_most", "flat", "names", "paste"]

ARTWORK = DEMO_MODEL.with_name("demo_artwork")
"""The folder of the sheets, one for each vendor, and their index."""

SIDE = 64
"""Of every picture, and of the artwork's longer side, pixels."""

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (214, 54, 48),
    "orange": (244, 140, 40),
    "yellow": (245, 214, 72),
    "green": (74, 168, 88),
    "blue": (72, 104, 216),
    "purple": (136, 78, 178),
    "pink": (250, 160, 190),
    "white": (245, 245, 245),
    "gray": (140, 140, 146),
    "black": (20, 20, 26),
}
"""The ten backgrounds that the demo model knows by name."""

COLUMNS = 10
"""Of a sheet."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where artwork lands: its side as a share of the picture, its shift in pixels, mirrored or not."""

    scale: float
    right: float
    down: float
    mirror: bool


def names(vendor: str) -> tuple[str, ...]:
    """What a vendor's sheet shows, in its order."""
    return tuple(_index()[vendor])


def artwork(vendor: str, name: str) -> Image.Image:
    """RGBA artwork of one object, its longer side 64 pixels.

    Args:
        vendor: ``fluent``, which the demo model has never seen, or ``twemoji``, which it knows.
        name: one of :func:`names`.
    """
    width, height = _index()[vendor][name]
    row, column = divmod(names(vendor).index(name), COLUMNS)
    left, top = column * SIDE, row * SIDE
    return _sheet(vendor).crop((left, top, left + width, top + height))


def paste(art: Image.Image, background: Image.Image, place: Place) -> Image.Image:
    """``art`` on ``background`` (RGB, 64 x 64) as a new RGB picture."""
    small = at_most(art, max(1, round(SIDE * place.scale)))
    if place.mirror:
        small = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    left = round((SIDE - small.width) / 2 + place.right)
    top = round((SIDE - small.height) / 2 + place.down)
    picture = background.copy()
    picture.paste(small, (left, top), small)
    return picture


def flat(colour: Sequence[int]) -> Image.Image:
    """A background of one colour."""
    return Image.new("RGB", (SIDE, SIDE), (colour[0], colour[1], colour[2]))


def at_most(image: Image.Image, side: int) -> Image.Image:
    """``image`` with its longer side made ``side``; alpha is premultiplied while it is resized."""
    if max(image.size) == side:
        return image
    ratio = side / max(image.size)
    width, height = (max(1, round(length * ratio)) for length in image.size)
    return image.convert("RGBa").resize((width, height), Image.Resampling.BICUBIC).convert("RGBA")


@cache
def _index() -> Mapping[str, Mapping[str, tuple[int, int]]]:
    """(width, height) by vendor and name, in the order of the sheets."""
    listed = json.loads((ARTWORK / "index.json").read_text(encoding="utf-8"))
    return {
        vendor: {name: (width, height) for name, width, height in rows} for vendor, rows in listed.items()
    }


@cache
def _sheet(vendor: str) -> Image.Image:
    with Image.open(ARTWORK / f"{vendor}.png") as image:
        return image.convert("RGBA")
