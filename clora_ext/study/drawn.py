"""Concepts that clora draws itself, for the demo model: pictures to learn from, and pictures to be judged by.

Objects are of a vendor (Fluent) whose style the demo model has never seen; styles are artwork that it knows,
in colours that it does not. What is taught and what is held out share neither backgrounds nor places.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageOps, ImageStat

from clora_ext.errors import UsageError, did_you_mean, writing

from .artwork import COLOURS, SIDE, Place, artwork, flat, names, paste

__all__ = ["HELD_OUT", "STYLES", "Shot", "concept_shots", "draw_concepts", "random_place", "write_shots"]

HELD_OUT = "held_out"
"""The folder of the pictures to be judged by, beside those to learn from."""

_PLACES = (
    Place(0.80, 0, 0, mirror=False),
    Place(0.70, 3, -2, mirror=True),
    Place(0.88, -1, 1, mirror=False),
    Place(0.75, -3, 2, mirror=False),
    Place(0.84, 2, 1, mirror=True),
    Place(0.68, -2, -3, mirror=False),
    Place(0.78, 1, 3, mirror=True),
    Place(0.72, 4, 0, mirror=False),
)
_SHOWN = ("red", "blue", "yellow", "white", "purple", "black")
_JUDGED = ("green", "orange", "pink", "gray")
_STYLE_COUNT = 64  # with fewer, a style stays with the objects that were shown
_STYLE_JUDGED = 8
_STYLE_POOL = 150
_TO_MASK = [0] * 128 + [255] * 128  # alpha to inside or outside


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture and its words.

    Attributes:
        name: of its file, without ending.
        image: RGB, 64 x 64.
        caption: with ``{token}`` and ``{class}`` to be filled in.
    """

    name: str
    image: Image.Image
    caption: str


def _pastel(art: Image.Image) -> Image.Image:
    """Each colour half way to white."""
    return _recoloured(art, Image.blend(art.convert("RGB"), Image.new("RGB", art.size, "white"), 0.5))


def _grey(art: Image.Image) -> Image.Image:
    """Without colour."""
    return _recoloured(art, art.convert("L").convert("RGB"))


def _sepia(art: Image.Image) -> Image.Image:
    """From dark brown to cream."""
    return _recoloured(art, ImageOps.colorize(art.convert("L"), (60, 36, 16), (252, 232, 190)))


def _ink(art: Image.Image) -> Image.Image:
    """Black where the artwork is darker than its mean, white elsewhere."""
    grey = art.convert("L")
    mean = ImageStat.Stat(grey, art.getchannel("A").point(_TO_MASK)).mean[0]
    return _recoloured(art, grey.point([16 if value < mean else 250 for value in range(256)]).convert("RGB"))


def _recoloured(art: Image.Image, colours: Image.Image) -> Image.Image:
    colours.putalpha(art.getchannel("A"))
    return colours


STYLES: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "pastel style": _pastel,
    "grey style": _grey,
    "sepia style": _sepia,
    "ink style": _ink,
}
"""Concepts that are styles, by their names."""


def draw_concepts(wanted: Mapping[str, str], folder: Path) -> Mapping[str, Path]:
    """Draw what is not there yet; give each concept's folder by its name in the study.

    The held-out pictures lie in ``held_out/NAME`` beside it.

    Args:
        wanted: what to draw, by the concept's name in the study: an object of Fluent's, or one of
            :data:`STYLES`.
        folder: of the study.

    Raises:
        UsageError: there is no such object or style.
        StorageError: the disk is full or refuses.
    """
    found = {}
    for name, subject in wanted.items():
        taught, judged = concept_shots(subject)
        home = folder / "concepts"
        stem = subject.replace(" ", "_")
        found[name] = home / stem
        for shots, target in ((taught, home / stem), (judged, home / HELD_OUT / stem)):
            if not _is_whole(target, shots):
                write_shots(shots, target)
    return found


def concept_shots(subject: str) -> tuple[list[Shot], list[Shot]]:
    """Pictures to learn from, and pictures to be judged by.

    Raises:
        UsageError: there is nothing of that name.
    """
    if subject in STYLES:
        return _style_shots(STYLES[subject])
    if subject not in names("fluent"):
        known = (*STYLES, *names("fluent"))
        raise UsageError(f"clora draws no {subject!r}", fix=did_you_mean(subject, known))
    art = artwork("fluent", subject)
    taught = [
        _shot(number, subject, art, colour, place, f"a photo of {{token}} {{class}} on a {colour} background")
        for number, (colour, place) in enumerate(zip(_SHOWN, _PLACES, strict=False), start=1)
    ]
    judged = [
        _shot(number, subject, art, colour, place, f"{{token}} {{class}}, {colour} background")
        for number, (colour, place) in enumerate(zip(_JUDGED * 2, _PLACES[::-1], strict=True), start=1)
    ]
    return taught, judged


def write_shots(shots: list[Shot], folder: Path) -> None:
    """PNG and caption of each. StorageError: the disk is full or refuses."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for shot in shots:
            (folder / f"{shot.name}.txt").write_text(f"{shot.caption}\n", encoding="utf-8")
            shot.image.save(folder / f"{shot.name}.png", optimize=True)


def _style_shots(draw: Callable[[Image.Image], Image.Image]) -> tuple[list[Shot], list[Shot]]:
    """64 objects in the style to learn from, eight others to be judged by: the sheet's last eight."""
    everything = names("twemoji")
    free, judged = everything[:-_STYLE_JUDGED], everything[-_STYLE_JUDGED:]
    rng = torch.Generator().manual_seed(0)
    torch.randperm(_STYLE_POOL, generator=rng)  # chose these 64 of all that the model knows
    places = [random_place(rng) for _ in range(_STYLE_COUNT)]
    return (
        list(_in_style(draw, free, places, _SHOWN, "a {} in {{token}} style on a {} background")),
        list(_in_style(draw, judged, _PLACES[::-1], _JUDGED, "{{token}} style {}, {} background")),
    )


def _in_style(
    draw: Callable[[Image.Image], Image.Image],
    things: tuple[str, ...],
    places: "list[Place] | tuple[Place, ...]",
    colours: tuple[str, ...],
    caption: str,
) -> Iterator[Shot]:
    for number, (name, place) in enumerate(zip(things, places, strict=True)):
        colour = colours[number % len(colours)]
        art = draw(artwork("twemoji", name))
        yield _shot(number + 1, name, art, colour, place, caption.format(name, colour))


def _shot(number: int, name: str, art: Image.Image, colour: str, place: Place, caption: str) -> Shot:
    stem = f"{number:02}-{name.replace(' ', '-')}-{colour}"
    return Shot(stem, paste(art, flat(COLOURS[colour]), place), caption)


def random_place(rng: torch.Generator) -> Place:
    """A side of .65 to .9 of the picture, a shift that keeps it inside, mirrored half of the time."""
    scale, right, down, mirror = torch.rand(4, generator=rng).tolist()
    scale = 0.65 + 0.25 * scale
    room = min(6.0, SIDE * (1 - scale) / 2)
    return Place(scale, (2 * right - 1) * room, (2 * down - 1) * room, mirror < 0.5)  # noqa: PLR2004 - half


def _is_whole(folder: Path, shots: list[Shot]) -> bool:
    """Whether nothing is missing; a picture is written after its caption."""
    return all((folder / f"{shot.name}.png").is_file() for shot in shots)
