"""The pictures: emoji artwork in three vendor styles, pasted on coloured backgrounds at 64 x 64."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

SIZE = 64
"""Pixels on a side."""

TRAINED_VENDORS = ("noto", "twemoji")
"""Vendor styles that the demo model is trained on."""

HELD_OUT_VENDOR = "fluent"
"""The style that the demo model never sees."""

VENDORS = (*TRAINED_VENDORS, HELD_OUT_VENDOR)

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
"""The ten named backgrounds."""

_FOLDERS = {
    "noto": ("emoji-datasource-google/img/google/64", ".png"),
    "twemoji": ("emoji-datasource-twitter/img/twitter/64", ".png"),
    "fluent": ("fluent-emoji-3d/assets", ".webp"),
}


@dataclass(frozen=True, slots=True)
class Thing:
    """One object of `objects.json`: its English name, its kind, its code point, and whether it is trained."""

    name: str
    kind: str
    code: str
    trained: bool


@dataclass(frozen=True, slots=True)
class FileSet:
    """Where artwork lands: its side as a share of the picture, its shift in pixels, mirrored or not."""

    scale: float
    right: float
    down: float
    mirror: bool


def things() -> list[Thing]:
    """All objects, trained ones first, in the order of the file."""
    listed = json.loads((Path(__file__).parent / "objects.json").read_text(encoding="utf-8"))
    return [
        Thing(name, kind, code, split == "trained")
        for split in ("trained", "held_out")
        for kind, codes in listed[split].items()
        for name, code in codes.items()
    ]


def artwork(packages: Path, vendor: str, code: str) -> Image.Image:
    """The RGBA artwork of one code point, 64 x 64; raises FileNotFoundError when there is none."""
    folder, ending = _FOLDERS[vendor]
    for name in (code, f"{code}-fe0f"):
        path = packages / folder / (name + ending)
        if path.exists():
            with Image.open(path) as image:
                return _at_most(image.convert("RGBA"), SIZE)
    raise FileNotFoundError(f"{vendor} has no picture of {code} under {packages / folder}")


def general_artwork(packages: Path) -> list[Image.Image]:
    """Every emoji of the trained vendors except the held-out objects: what the autoencoder learns from."""
    held_out = {thing.code for thing in things() if not thing.trained}
    images = []
    for vendor in TRAINED_VENDORS:
        folder = packages / _FOLDERS[vendor][0]
        listed = json.loads((folder.parents[2] / "emoji.json").read_text(encoding="utf-8"))
        for code in sorted(entry["image"].removesuffix(".png") for entry in listed):
            if code.removesuffix("-fe0f") not in held_out and (folder / f"{code}.png").exists():
                images.append(artwork(packages, vendor, code))  # noqa: PERF401 - clearer than a long expression
    return images


def random_placement(rng: torch.Generator) -> FileSet:
    """A side of .65 to .9 of the picture, a shift that keeps it inside, mirrored half of the time."""
    scale, right, down, mirror = torch.rand(4, generator=rng).tolist()
    scale = 0.65 + 0.25 * scale
    room = min(6.0, SIZE * (1 - scale) / 2)
    return FileSet(scale, (2 * right - 1) * room, (2 * down - 1) * room, mirror < 0.5)


def paste(art: Image.Image, background: Image.Image, files: FileSet) -> Image.Image:
    """``art`` on ``background`` (RGB, 64 x 64) as a new RGB picture."""
    side = max(1, round(SIZE * files.scale))
    small = _at_most(art, side)
    if files.mirror:
        small = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    left = round((SIZE - small.width) / 2 + files.right)
    top = round((SIZE - small.height) / 2 + files.down)
    picture = background.copy()
    picture.paste(small, (left, top), small)
    return picture


def flat(colour: Sequence[int]) -> Image.Image:
    """A background of one colour."""
    return Image.new("RGB", (SIZE, SIZE), (colour[0], colour[1], colour[2]))


def named_background(name: str, rng: torch.Generator) -> Image.Image:
    """The named colour, each channel up to 6 of 255 away from its centre."""
    shift = torch.randint(-6, 7, (3,), generator=rng).tolist()
    return flat([min(255, max(0, c + s)) for c, s in zip(COLOURS[name], shift, strict=True)])


def gradient_background(rng: torch.Generator) -> Image.Image:
    """Four random corner colours, blended."""
    corners = torch.randint(0, 256, (2, 2, 3), generator=rng, dtype=torch.int64).to(torch.uint8).numpy()
    return Image.fromarray(corners, "RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)


def to_tensor(images: Sequence[Image.Image]) -> torch.Tensor:
    """RGB pictures as float32 (n, 3, 64, 64) in [-1, 1]."""
    stacked = np.stack([np.asarray(image, dtype=np.uint8) for image in images])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_images(tensor: torch.Tensor) -> list[Image.Image]:
    """The reverse of `to_tensor`, clamped."""
    levels = ((tensor.detach().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return [Image.fromarray(np.ascontiguousarray(one)) for one in levels.permute(0, 2, 3, 1).cpu().numpy()]


def sheet(images: Sequence[Image.Image], columns: int, zoom: int = 2) -> Image.Image:
    """Pictures in rows of ``columns``, each enlarged ``zoom`` times."""
    side = SIZE * zoom
    rows = -(-len(images) // columns)
    canvas = Image.new("RGB", (columns * side, rows * side), "white")
    for index, image in enumerate(images):
        large = image.resize((side, side), Image.Resampling.BICUBIC)
        canvas.paste(large, (index % columns * side, index // columns * side))
    return canvas


def recoloured(art: Image.Image, rng: torch.Generator) -> Image.Image:
    """``art`` with its channels in a random order and its colours a little brighter or darker."""
    red, green, blue, alpha = art.split()
    channels = [(red, green, blue)[index] for index in torch.randperm(3, generator=rng).tolist()]
    gains = (0.7 + 0.6 * torch.rand(3, generator=rng)).tolist()
    scaled = [_times(channel, gain) for channel, gain in zip(channels, gains, strict=True)]
    return Image.merge("RGBA", (*scaled, alpha))


def _times(channel: Image.Image, gain: float) -> Image.Image:
    """One channel, each value times ``gain``, clipped at 255."""
    table = [min(255, round(value * gain)) for value in range(256)]
    return channel.point(table)


def _at_most(image: Image.Image, side: int) -> Image.Image:
    """``image`` with its longer side made ``side``; alpha is premultiplied while it is resized."""
    if max(image.size) == side:
        return image
    ratio = side / max(image.size)
    width, height = (max(1, round(length * ratio)) for length in image.size)
    return image.convert("RGBa").resize((width, height), Image.Resampling.BICUBIC).convert("RGBA")
