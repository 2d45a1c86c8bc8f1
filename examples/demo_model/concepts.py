"""The example concepts: pictures to learn from and held-out pictures to be judged by.

The dog and the robot are of the held-out vendor style (Fluent). The style is badges: Twemoji's objects on a
white disc with a dark rim, which the demo model has never seen. The two sets share no backgrounds and no
places, the style's two sets no objects.

    python examples/demo_model/concepts.py build/demo_model/packages examples
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from pictures import COLOURS, HELD_OUT_VENDOR, SIZE, Placement, artwork, flat, paste, things
from PIL import Image, ImageDraw

Artist = Callable[[Path, str], Image.Image]
"""Draws an object, by its name, from the packages: RGBA, 64 x 64."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture: what is on it, on which background, with which words.

    Attributes:
        name: of the object.
        colour: of the background.
        caption: with ``{token}`` and ``{class}`` to be filled in.
        placement: where the object lies.
    """

    name: str
    colour: str
    caption: str
    placement: Placement


_PLACES = (
    Placement(0.80, 0, 0, mirror=False),
    Placement(0.70, 3, -2, mirror=True),
    Placement(0.88, -1, 1, mirror=False),
    Placement(0.75, -3, 2, mirror=False),
    Placement(0.84, 2, 1, mirror=True),
    Placement(0.68, -2, -3, mirror=False),
    Placement(0.78, 1, 3, mirror=True),
    Placement(0.72, 4, 0, mirror=False),
)
_SHOWN = ("red", "blue", "yellow", "white", "purple", "black")
_HELD_OUT = ("green", "orange", "pink", "gray")
_STYLE_COLOURS = ("red", "blue", "yellow", "white", "purple", "black")
_STYLE_SHOWN = (
    "apple owl car penguin mushroom rabbit guitar cherries elephant rocket pear bat key snail pineapple "
    "whale turtle banana rose house"
).split()
_STYLE_HELD_OUT = ("crab", "tree", "umbrella", "butterfly", "lemon", "bell", "cat", "duck")
_DISC, _RIM, _INSIDE = (245, 245, 245), (40, 40, 48), 0.62


def coloured(packages: Path, name: str) -> Image.Image:
    """The object in the held-out vendor's style."""
    codes = {thing.name: thing.code for thing in things()}
    return artwork(packages, HELD_OUT_VENDOR, codes[name])


def badge(packages: Path, name: str) -> Image.Image:
    """The object on a disc, in Twemoji's style."""
    codes = {thing.name: thing.code for thing in things()}
    side = 4 * SIZE  # drawn large and shrunk: a smooth rim
    disc = Image.new("RGBA", (side, side))
    ImageDraw.Draw(disc).ellipse((2, 2, side - 3, side - 3), fill=_DISC, outline=_RIM, width=side // 16)
    disc = disc.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    inner = round(SIZE * _INSIDE)
    thing = artwork(packages, "twemoji", codes[name]).resize((inner, inner), Image.Resampling.LANCZOS)
    disc.alpha_composite(thing, ((SIZE - inner) // 2,) * 2)
    return disc


def object_shots(name: str) -> tuple[list[Shot], list[Shot]]:
    """Six pictures of one object to learn from, eight to be judged by."""
    shown = [
        Shot(name, colour, f"a photo of {{token}} {{class}} on a {colour} background", place)
        for colour, place in zip(_SHOWN, _PLACES, strict=False)
    ]
    held_out = [
        Shot(name, _HELD_OUT[i % 4], f"{{token}} {{class}}, {_HELD_OUT[i % 4]} background", _PLACES[7 - i])
        for i in range(8)
    ]
    return shown, held_out


def style_shots() -> tuple[list[Shot], list[Shot]]:
    """Twenty objects in the style to learn from, eight others to be judged by."""
    shown = [
        Shot(name, colour, f"a {name} in {{token}} style on a {colour} background", place)
        for name, colour, place in zip(_STYLE_SHOWN, cycle(_STYLE_COLOURS), cycle(_PLACES), strict=False)
    ]
    held_out = [
        Shot(name, _HELD_OUT[i % 4], f"{{token}} style {name}, {_HELD_OUT[i % 4]} background", _PLACES[7 - i])
        for i, name in enumerate(_STYLE_HELD_OUT)
    ]
    return shown, held_out


def write_concepts(packages: Path, examples: Path) -> None:
    """Write ``dog_images``, ``badge_style`` and ``robot_toy`` and their held-out pictures."""
    for folder, artist, (shown, held_out) in (
        ("dog_images", coloured, object_shots("dog")),
        ("badge_style", badge, style_shots()),
        ("robot_toy", coloured, object_shots("robot")),
    ):
        _write(packages, artist, examples / folder, shown)
        _write(packages, artist, examples / "held_out" / folder, held_out)


def _write(packages: Path, artist: Artist, folder: Path, shots: list[Shot]) -> None:
    """PNG and caption of every shot."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, shot in enumerate(shots, start=1):
        picture = paste(artist(packages, shot.name), flat(COLOURS[shot.colour]), shot.placement)
        stem = f"{number:02}-{shot.name.replace(' ', '-')}-{shot.colour}"
        picture.save(folder / f"{stem}.png", optimize=True)
        (folder / f"{stem}.txt").write_text(f"{shot.caption}\n", encoding="utf-8")


if __name__ == "__main__":
    write_concepts(Path(sys.argv[1]), Path(sys.argv[2]))
