"""The latents: every trained picture in many placements, encoded once, with what it shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from pictures import TRAINED_VENDORS, Thing, artwork, named_background, things, to_tensor
from torch import Tensor
from trainer import say

from clora_ext.study.artwork import COLOURS, paste
from clora_ext.study.drawn import random_place


@dataclass(frozen=True, slots=True)
class Latents:
    """Scaled latents (n, 4, 16, 16), float32, and the thing, vendor and colour of each."""

    values: Tensor
    things: list[Thing]
    vendors: list[str]
    colours: list[str]


def cached_latents(vae: AutoencoderKL, packages: Path, file: Path, variants: int, seed: int) -> Latents:
    """The latents of all trained pictures, ``variants`` of each; from ``file`` when it is there."""
    trained = [thing for thing in things() if thing.trained]
    names = list(COLOURS)
    shown = [(thing, vendor) for thing in trained for vendor in TRAINED_VENDORS]
    if not file.exists():
        encoded = []
        for index, (thing, vendor) in enumerate(shown):
            rng = torch.Generator().manual_seed(seed + index)
            encoded.append(_encoded(vae, packages, thing, vendor, variants, rng))
            if index % 40 == 0:
                say(f"latents of {index + 1} of {len(shown)} pictures")
        temporary = file.with_suffix(".tmp")
        torch.save(torch.cat(encoded), temporary)
        temporary.replace(file)
    values = torch.load(file, weights_only=True).float()
    rows = [(thing, vendor, names[v % len(names)]) for thing, vendor in shown for v in range(variants)]
    if len(rows) != len(values):
        raise ValueError(f"{file} holds {len(values)} latents and {len(rows)} are wanted; delete it")
    return Latents(values, [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])


def _encoded(
    vae: AutoencoderKL, packages: Path, thing: Thing, vendor: str, variants: int, rng: torch.Generator
) -> Tensor:
    """Scaled latents of one picture in ``variants`` placements, the colours in turn, as float16."""
    art = artwork(packages, vendor, thing.code)
    names = list(COLOURS)
    pictures = [
        paste(art, named_background(names[index % len(names)], rng), random_place(rng))
        for index in range(variants)
    ]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        moments = vae.encode(to_tensor(pictures).contiguous(memory_format=torch.channels_last)).latent_dist
    scaled: Tensor = moments.mode().float() * vae.config["scaling_factor"]
    return scaled.half()
