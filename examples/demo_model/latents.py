"""The latents: every picture that is trained on in many placements, encoded once, with what it shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from made_up import LOOKS, in_look, variants
from pictures import TRAINED_VENDORS, Thing, artwork, named_background, things, to_tensor
from PIL import Image
from torch import Tensor
from trainer import say

from clora_ext.study.artwork import COLOURS, paste
from clora_ext.study.drawn import random_place

PLACEMENTS, VARIANT_PLACEMENTS, LOOK_PLACEMENTS = 40, 16, 1
"""Of each plain picture, each variant, and each object in each look."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a picture shows.

    Attributes:
        thing: the object.
        vendor: whose artwork, of a plain picture; else empty.
        colour: of the background.
        name: index of the variant's name, or None.
        look: index of the look, or None.
    """

    thing: Thing
    vendor: str
    colour: str
    name: int | None = None
    look: int | None = None


@dataclass(frozen=True, slots=True)
class Latents:
    """Scaled latents (n, 4, 16, 16), float32, what each shows, and the indices of each kind."""

    values: Tensor
    shown: Sequence[Shown]
    plain: Tensor
    variants: Tensor
    looks: Tensor


@dataclass(frozen=True, slots=True)
class _Artwork:
    """One artwork and what all pictures of it show; ``place`` counts through the colours."""

    art: Image.Image
    thing: Thing
    vendor: str
    placements: int
    place: int = 0
    name: int | None = None
    look: int | None = None

    def shown(self) -> list[Shown]:
        """What its pictures show, in order."""
        names = list(COLOURS)
        return [
            Shown(self.thing, self.vendor, names[(self.place + index) % len(names)], self.name, self.look)
            for index in range(self.placements)
        ]


def cached_latents(vae: AutoencoderKL, packages: Path, file: Path, seed: int) -> Latents:
    """The latents of all pictures that are trained on; from ``file`` when it is there."""
    works = list(_works(packages, seed))
    if not file.exists():
        encoded = []
        for index, work in enumerate(works):
            rng = torch.Generator().manual_seed(seed + index)
            encoded.append(_encoded(vae, work, rng))
            if index % 1000 == 0:
                say(f"latents of {index + 1} of {len(works)} pictures")
        temporary = file.with_suffix(".tmp")
        torch.save(torch.cat(encoded), temporary)
        temporary.replace(file)
    values = torch.load(file, weights_only=True).float()
    shown = [one for work in works for one in work.shown()]
    if len(shown) != len(values):
        raise ValueError(f"{file} holds {len(values)} latents and {len(shown)} are wanted; delete it")
    return Latents(
        values,
        shown,
        _indices(one.name is None and one.look is None for one in shown),
        _indices(one.name is not None for one in shown),
        _indices(one.look is not None for one in shown),
    )


def _indices(flags: Iterator[bool]) -> Tensor:
    return torch.tensor([index for index, flag in enumerate(flags) if flag])


def _works(packages: Path, seed: int) -> Iterator[_Artwork]:
    """Plain artwork, variants, and every object in every look."""
    trained = [thing for thing in things() if thing.trained]
    for thing in trained:
        for vendor in TRAINED_VENDORS:
            yield _Artwork(artwork(packages, vendor, thing.code), thing, vendor, PLACEMENTS)
    for name, variant in enumerate(variants(seed)):
        yield _Artwork(variant.art(packages), variant.thing, "", VARIANT_PLACEMENTS, name=name)
    for look in range(len(LOOKS)):
        for index, thing in enumerate(trained):
            for number, vendor in enumerate(TRAINED_VENDORS):
                art = in_look(artwork(packages, vendor, thing.code), look)
                place = look + 3 * index + number
                yield _Artwork(art, thing, "", LOOK_PLACEMENTS, place, look=look)


def _encoded(vae: AutoencoderKL, work: _Artwork, rng: torch.Generator) -> Tensor:
    """Scaled latents of one artwork's pictures, as float16."""
    pictures = [paste(work.art, named_background(one.colour, rng), random_place(rng)) for one in work.shown()]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        moments = vae.encode(to_tensor(pictures).contiguous(memory_format=torch.channels_last)).latent_dist
    scaled: Tensor = moments.mode().float() * vae.config["scaling_factor"]
    return scaled.half()
