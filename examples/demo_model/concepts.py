"""The example concepts: pictures to learn from and held-out pictures to be judged by.

All are of the held-out vendor style (Fluent), on backgrounds and in places that the two sets do not share.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from pictures import COLOURS, HELD_OUT_VENDOR, Placement, artwork, flat, paste, things


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
_STYLE_SHOWN = ("tiger", "apple", "owl", "frog", "car", "strawberry", "penguin", "mushroom")
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
    """Eight objects in the style to learn from, eight others to be judged by."""
    shown = [
        Shot(name, colour, f"a {name} in {{token}} style on a {colour} background", place)
        for name, colour, place in zip(_STYLE_SHOWN, (*_SHOWN, "blue", "white"), _PLACES, strict=True)
    ]
    held_out = [
        Shot(name, _HELD_OUT[i % 4], f"{{token}} style {name}, {_HELD_OUT[i % 4]} background", _PLACES[7 - i])
        for i, name in enumerate(_STYLE_HELD_OUT)
    ]
    return shown, held_out


def write_concepts(packages: Path, examples: Path) -> None:
    """Write ``dog_images``, ``glossy_style`` and ``robot_images`` and their held-out pictures."""
    for folder, (shown, held_out) in {
        "dog_images": object_shots("dog"),
        "glossy_style": style_shots(),
        "robot_toy": object_shots("robot"),
    }.items():
        _write(packages, examples / folder, shown)
        _write(packages, examples / "held_out" / folder, held_out)


def _write(packages: Path, folder: Path, shots: list[Shot]) -> None:
    """PNG and caption of every shot."""
    codes = {thing.name: thing.code for thing in things()}
    folder.mkdir(parents=True, exist_ok=True)
    for number, shot in enumerate(shots, start=1):
        art = artwork(packages, HELD_OUT_VENDOR, codes[shot.name])
        picture = paste(art, flat(COLOURS[shot.colour]), shot.placement)
        stem = f"{number:02}-{shot.name.replace(' ', '-')}-{shot.colour}"
        picture.save(folder / f"{stem}.png", optimize=True)
        (folder / f"{stem}.txt").write_text(f"{shot.caption}\n", encoding="utf-8")


if __name__ == "__main__":
    write_concepts(Path(sys.argv[1]), Path(sys.argv[2]))
