"""Made-up words with a meaning: names of variants, and looks.

A name stands before a noun and calls one variant of that thing: recoloured, with a small thing in a corner,
or both. A look is a way to draw that fits every thing. So the model learns to read the word before a noun and
the word beside "style", as large models do. The words are rows of the text encoder beyond its tokenizer's
vocabulary; the model that ships is without them, and its rare tokens get rows drawn from their distribution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from captions import RARE_TOKENS
from pictures import SIZE, TRAINED_VENDORS, Thing, artwork, recoloured, things
from PIL import Image, ImageFilter, ImageOps
from torch import Tensor, nn
from transformers import CLIPTokenizer

from clora_ext.study.artwork import at_most

NAMES_OF_EACH = 2
"""Variants of each trained object."""

_SMALL_THINGS = "crown bell heart star sun maple_leaf cherries rose drum book gift key".split()
"""What a variant may carry in a corner."""

_CARRIED_SIDE = 30
"""Of it, pixels of the artwork's 64."""

_RECOLOURED, _CARRYING = 0.8, 0.5
"""Shares of the variants; one that would be neither is recoloured."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What a name calls.

    Attributes:
        thing: the object that it is a variant of.
        vendor: whose artwork it was.
        seed: of its looks.
    """

    thing: Thing
    vendor: str
    seed: int

    def art(self, packages: Path) -> Image.Image:
        """Its RGBA artwork, at most 64 x 64."""
        rng = torch.Generator().manual_seed(self.seed)
        drawn = artwork(packages, self.vendor, self.thing.code)
        recolour, carry, which, side = torch.rand(4, generator=rng).tolist()
        carries = carry < _CARRYING
        if recolour < _RECOLOURED or not carries:
            drawn = recoloured(drawn, rng)
        if carries:
            code = {thing.name.replace(" ", "_"): thing.code for thing in things()}
            name = _SMALL_THINGS[int(which * len(_SMALL_THINGS))]
            drawn = _with_small(drawn, artwork(packages, self.vendor, code[name]), left=side < 0.5)
        return drawn


def variants(seed: int) -> list[Variant]:
    """All variants, in the order of their names."""
    trained = [thing for thing in things() if thing.trained]
    return [
        Variant(thing, TRAINED_VENDORS[number % len(TRAINED_VENDORS)], seed + 1000 * number + index)
        for number in range(NAMES_OF_EACH)
        for index, thing in enumerate(trained)
    ]


def _with_small(art: Image.Image, small: Image.Image, *, left: bool) -> Image.Image:
    """``art`` with a small thing in its lower left or right corner."""
    canvas = Image.new("RGBA", (SIZE, SIZE))
    canvas.paste(art, ((SIZE - art.width) // 2, (SIZE - art.height) // 2))
    carried = at_most(small, _CARRIED_SIDE)
    across = 0 if left else SIZE - carried.width
    canvas.alpha_composite(carried, (across, SIZE - carried.height))
    return canvas


Draw = Callable[[Image.Image], Image.Image]


def _channels(order: str) -> Draw:
    """The colour channels in another order."""

    def draw(picture: Image.Image) -> Image.Image:
        parts = dict(zip("rgb", picture.split(), strict=True))
        return Image.merge("RGB", [parts[one] for one in order])

    return draw


def _hue(turn: int) -> Draw:
    """Every hue turned, of 256."""

    def draw(picture: Image.Image) -> Image.Image:
        hue, saturation, value = picture.convert("HSV").split()
        return Image.merge(
            "HSV", (hue.point([(v + turn) % 256 for v in range(256)]), saturation, value)
        ).convert("RGB")

    return draw


def _between(dark: str, light: str) -> Draw:
    """Only shades between two colours."""
    return lambda picture: ImageOps.colorize(picture.convert("L"), dark, light)


def _towards(colour: str) -> Draw:
    """Half way to a colour."""
    return lambda picture: Image.blend(picture, Image.new("RGB", picture.size, colour), 0.5)


def _pixels(side: int) -> Draw:
    """Squares of one colour."""
    return lambda picture: picture.resize(
        (max(1, picture.width // side), max(1, picture.height // side)), Image.Resampling.BOX
    ).resize(picture.size, Image.Resampling.NEAREST)


def _stripes(colour: str, step: int, *, across: bool) -> Draw:
    """Bars of a colour."""

    def draw(picture: Image.Image) -> Image.Image:
        striped = picture.copy()
        for start in range(0, picture.height if across else picture.width, 2 * step):
            box = (
                (0, start, picture.width, start + step)
                if across
                else (start, 0, start + step, picture.height)
            )
            striped.paste(colour, box)
        return striped

    return draw


def _edges(picture: Image.Image) -> Image.Image:
    """Light outlines on black."""
    return (
        picture.convert("L")
        .filter(ImageFilter.FIND_EDGES)
        .point([min(255, 2 * v) for v in range(256)])
        .convert("RGB")
    )


LOOKS: tuple[Draw, ...] = (
    *(_channels(order) for order in ("grb", "bgr", "rbg", "gbr", "brg")),
    *(_hue(turn) for turn in (32, 64, 96, 128, 160, 192, 224)),
    *(_between("black", colour) for colour in ("red", "lime", "cyan", "gold", "magenta")),
    *(_between("navy", colour) for colour in ("orange", "yellow")),
    *(_towards(colour) for colour in ("red", "blue", "green", "yellow")),
    *(_pixels(side) for side in (8, 12)),
    *(
        _stripes(colour, 4, across=across)
        for colour in ("black", "orange", "blue")
        for across in (False, True)
    ),
    ImageOps.invert,
    lambda picture: ImageOps.posterize(picture, 1),
    lambda picture: picture.point([v // 3 for v in range(256)] * 3),
    lambda picture: picture.filter(ImageFilter.GaussianBlur(3)),
    ImageOps.flip,
    _edges,
)
"""Ways to draw; none goes towards white or gray, as the styles of the studies do."""


def in_look(art: Image.Image, look: int) -> Image.Image:
    """RGBA artwork in one of :data:`LOOKS`; what is transparent stays so."""
    drawn = LOOKS[look](art.convert("RGB"))
    alpha = art.getchannel("A")
    drawn.putalpha(ImageOps.flip(alpha) if LOOKS[look] is ImageOps.flip else alpha)
    return drawn


@torch.no_grad()
def retire(embedding: nn.Embedding, tokenizer: CLIPTokenizer, seed: int) -> Tensor:
    """The rows that ship: (vocabulary, width) float32, without the made-up words.

    The rare tokens' rows are the made-up words' mean and a random combination of their deviations from it,
    so that they look like words that nobody has given a meaning yet.
    """
    size = len(tokenizer)
    rows, words = embedding.weight[:size].clone(), embedding.weight[size:]
    rng = torch.Generator().manual_seed(seed)
    mix = torch.randn(len(RARE_TOKENS), len(words), generator=rng) / len(words) ** 0.5
    ids = tokenizer.convert_tokens_to_ids([f"{token}</w>" for token in RARE_TOKENS])
    rows[torch.tensor(ids)] = words.mean(0) + mix @ (words - words.mean(0))
    return rows
