"""The pictures: emoji artwork in three vendor styles, pasted on coloured backgrounds at 64 x 64."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from clora_ext.study.artwork import COLOURS, SIDE, at_most, flat

SIZE = SIDE
"""Pixels on a side."""

TRAINED_VENDORS = ("noto", "twemoji")
"""Vendor styles that the demo model is trained on."""

HELD_OUT_VENDOR = "fluent"
"""The style that the demo model never sees."""

VENDORS = (*TRAINED_VENDORS, HELD_OUT_VENDOR)

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
                return at_most(image.convert("RGBA"), SIZE)
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
