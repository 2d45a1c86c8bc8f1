"""The example concepts and the artwork that studies draw theirs from.

    python examples/demo_model/concepts.py PACKAGES

Writes the sheets of ``clora_ext/assets/demo_artwork`` (Fluent: the held-out objects and some that are known
in other styles; Twemoji: the objects of the styles) and, drawn from them, ``dog_images``, ``pastel_style``
and ``robot_toy`` with their held-out pictures.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from pictures import HELD_OUT_VENDOR, SIZE, artwork, things
from PIL import Image

from clora_ext.study.artwork import ARTWORK, COLUMNS
from clora_ext.study.drawn import HELD_OUT, concept_shots, write_shots

EXAMPLES = Path(__file__).parents[1]
FOLDERS = {"dog_images": "dog", "pastel_style": "pastel style", "robot_toy": "robot"}
OBJECTS = 100
_STYLE_COUNT = 64
_STYLE_HELD_OUT = ("fox", "lemon", "crab", "tomato", "panda", "rocket", "bear", "pumpkin")


def objects() -> list[str]:
    """The objects of Fluent's sheet: those that no training has seen in any style, the dog, known ones."""
    listed = things()
    held_out = [thing.name for thing in listed if not thing.trained]
    known = [thing.name for thing in listed if thing.trained and thing.name != "dog"]
    return [*held_out, "dog", *known][:OBJECTS]


def style_objects() -> list[str]:
    """64 known objects in a random order, and eight others, which are held out."""
    known = [thing.name for thing in things() if thing.trained]
    free = [name for name in known if name not in {*_STYLE_HELD_OUT, "dog"}]
    order = torch.randperm(len(free), generator=torch.Generator().manual_seed(0)).tolist()
    return [*(free[index] for index in order[:_STYLE_COUNT]), *_STYLE_HELD_OUT]


def write_sheet(packages: Path, vendor: str, names: Sequence[str]) -> list[tuple[str, int, int]]:
    """A vendor's artwork in rows of ten; give the index of it."""
    codes = {thing.name: thing.code for thing in things()}
    rows = -(-len(names) // COLUMNS)
    sheet = Image.new("RGBA", (COLUMNS * SIZE, rows * SIZE))
    index = []
    for number, name in enumerate(names):
        art = artwork(packages, vendor, codes[name])
        sheet.paste(art, (number % COLUMNS * SIZE, number // COLUMNS * SIZE))
        index.append((name, art.width, art.height))
    sheet.save(ARTWORK / f"{vendor}.png", optimize=True)
    return index


def write_concepts(packages: Path) -> None:
    """Write sheets and example folders."""
    ARTWORK.mkdir(exist_ok=True)
    wanted = {HELD_OUT_VENDOR: objects(), "twemoji": style_objects()}
    index = {vendor: write_sheet(packages, vendor, names) for vendor, names in wanted.items()}
    (ARTWORK / "index.json").write_text(f"{json.dumps(index)}\n", encoding="utf-8")
    for folder, subject in FOLDERS.items():
        taught, judged = concept_shots(subject)
        write_shots(taught, EXAMPLES / folder)
        write_shots(judged, EXAMPLES / HELD_OUT / folder)


if __name__ == "__main__":
    write_concepts(Path(sys.argv[1]))
