"""The example concepts: pictures to learn from and held-out pictures to be judged by.

The two objects are of the held-out vendor (Fluent); the style is Twemoji's artwork in pastel colours, which
no training has seen. Pictures to learn from and held-out ones share neither backgrounds nor places.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pictures import COLOURS, HELD_OUT_VENDOR, FileSet, artwork, flat, paste, random_placement, things
from PIL import Image

Artist = Callable[[Path, str], Image.Image]
"""From the packages' folder and a code point to RGBA artwork."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture: what is on it, on which background, with which words.

    Attributes:
        name: of the object.
        colour: of the background.
        caption: with ``{token}`` and ``{class}`` to be filled in.
        files: where the object lies.
    """

    name: str
    colour: str
    caption: str
    files: FileSet


_PLACES = (
    FileSet(0.80, 0, 0, mirror=False),
    FileSet(0.70, 3, -2, mirror=True),
    FileSet(0.88, -1, 1, mirror=False),
    FileSet(0.75, -3, 2, mirror=False),
    FileSet(0.84, 2, 1, mirror=True),
    FileSet(0.68, -2, -3, mirror=False),
    FileSet(0.78, 1, 3, mirror=True),
    FileSet(0.72, 4, 0, mirror=False),
)
_SHOWN = ("red", "blue", "yellow", "white", "purple", "black")
_HELD_OUT = ("green", "orange", "pink", "gray")
_STYLE_COUNT = 64  # with fewer, the style stays with the objects that were shown
_STYLE_HELD_OUT = ("fox", "lemon", "crab", "tomato", "panda", "rocket", "bear", "pumpkin")


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
    """64 objects in the style to learn from, eight others to be judged by."""
    known = [thing.name for thing in things() if thing.trained]
    free = [name for name in known if name not in {*_STYLE_HELD_OUT, "dog"}]
    rng = torch.Generator().manual_seed(0)
    order = torch.randperm(len(free), generator=rng).tolist()[:_STYLE_COUNT]
    shown = [
        _style_shot(free[index], _SHOWN[number % len(_SHOWN)], random_placement(rng))
        for number, index in enumerate(order)
    ]
    held_out = [
        Shot(name, _HELD_OUT[i % 4], f"{{token}} style {name}, {_HELD_OUT[i % 4]} background", _PLACES[7 - i])
        for i, name in enumerate(_STYLE_HELD_OUT)
    ]
    return shown, held_out


def _style_shot(name: str, colour: str, files: FileSet) -> Shot:
    return Shot(name, colour, f"a {name} in {{token}} style on a {colour} background", files)


def fluent(packages: Path, code: str) -> Image.Image:
    """The held-out vendor's artwork."""
    return artwork(packages, HELD_OUT_VENDOR, code)


def pastel(packages: Path, code: str) -> Image.Image:
    """Twemoji's artwork, each colour half way to white."""
    art = artwork(packages, "twemoji", code)
    pale = Image.blend(art.convert("RGB"), Image.new("RGB", art.size, "white"), 0.5)
    pale.putalpha(art.getchannel("A"))
    return pale


def write_concepts(packages: Path, examples: Path) -> None:
    """Write ``dog_images``, ``pastel_style`` and ``robot_toy`` and their held-out pictures."""
    concepts: dict[str, tuple[Artist, tuple[list[Shot], list[Shot]]]] = {
        "dog_images": (fluent, object_shots("dog")),
        "pastel_style": (pastel, style_shots()),
        "robot_toy": (fluent, object_shots("robot")),
    }
    for folder, (artist, (shown, held_out)) in concepts.items():
        _write(packages, artist, examples / folder, shown)
        _write(packages, artist, examples / "held_out" / folder, held_out)


def _write(packages: Path, artist: Artist, folder: Path, shots: Sequence[Shot]) -> None:
    """PNG and caption of every shot."""
    codes = {thing.name: thing.code for thing in things()}
    folder.mkdir(parents=True, exist_ok=True)
    for number, shot in enumerate(shots, start=1):
        picture = paste(artist(packages, codes[shot.name]), flat(COLOURS[shot.colour]), shot.files)
        stem = f"{number:02}-{shot.name.replace(' ', '-')}-{shot.colour}"
        picture.save(folder / f"{stem}.png", optimize=True)
        (folder / f"{stem}.txt").write_text(f"{shot.caption}\n", encoding="utf-8")


if __name__ == "__main__":
    write_concepts(Path(sys.argv[1]), Path(sys.argv[2]))
