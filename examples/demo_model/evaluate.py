"""The quality of the demo model: reconstruction, and whether samples show what the prompt says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from captions import plain_caption
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from pictures import SIZE, TRAINED_VENDORS, artwork, sheet, things, to_images, to_tensor
from PIL import Image
from sampling import Model, sample
from scorer import Scorer, load_scorer
from tokenizer import load_tokenizer
from torch import nn
from trainer import say
from transformers import CLIPTextModel
from vae import measure

from clora_ext.study.artwork import COLOURS, Place, flat, paste

CENTRED = Place(scale=0.78, right=0, down=0, mirror=False)
"""How candidate pictures are placed."""

PROMPTS, CANDIDATES, STEPS, GUIDANCE = 200, 50, 30, 3.0
"""The protocol: prompts, candidates of each, steps of deterministic DDIM, guidance."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a prompt asks for: indices of the trained object, the trained vendor, and the colour."""

    thing: int
    vendor: int
    colour: int


def all_prompts() -> list[Prompt]:
    """Every trained combination."""
    count = sum(thing.trained for thing in things())
    return [
        Prompt(thing, vendor, colour)
        for thing in range(count)
        for vendor in range(len(TRAINED_VENDORS))
        for colour in range(len(COLOURS))
    ]


def chosen_prompts(seed: int) -> list[Prompt]:
    """The prompts of the protocol, all different, at random."""
    every = all_prompts()
    order = torch.randperm(len(every), generator=torch.Generator().manual_seed(seed)).tolist()
    return [every[index] for index in order[:PROMPTS]]


def candidates(right: Prompt, rng: torch.Generator) -> list[Prompt]:
    """The right picture, then the other backgrounds, the other style on all of them, other objects."""
    colours = range(len(COLOURS))
    backgrounds = [Prompt(right.thing, right.vendor, c) for c in colours if c != right.colour]
    styles = [
        Prompt(right.thing, v, c) for v in range(len(TRAINED_VENDORS)) if v != right.vendor for c in colours
    ]
    count = sum(thing.trained for thing in things())
    others = [index for index in torch.randperm(count, generator=rng).tolist() if index != right.thing]
    found = [right, *backgrounds, *styles]
    return found + [Prompt(index, right.vendor, right.colour) for index in others[: CANDIDATES - len(found)]]


def text_of(prompt: Prompt) -> str:
    """The prompt in the main phrasing."""
    return plain_caption(
        things()[prompt.thing].name, TRAINED_VENDORS[prompt.vendor], list(COLOURS)[prompt.colour]
    )


def picture_of(prompt: Prompt, packages: Path) -> Image.Image:
    """The true picture, centred."""
    art = artwork(packages, TRAINED_VENDORS[prompt.vendor], things()[prompt.thing].code)
    return paste(art, flat(COLOURS[list(COLOURS)[prompt.colour]]), CENTRED)


def load_snapshot(folder: Path) -> Model:
    """The demo model from diffusers' layout."""
    return Model(
        AutoencoderKL.from_pretrained(folder / "vae"),
        UNet2DConditionModel.from_pretrained(folder / "unet"),
        CLIPTextModel.from_pretrained(folder / "text_encoder"),
        load_tokenizer(folder / "tokenizer"),
        DDIMScheduler.from_pretrained(folder / "scheduler"),
    )


def matched(
    scorer: Scorer, pictures: torch.Tensor, prompts: Sequence[Prompt], packages: Path
) -> list[Prompt]:
    """For each picture, which of its candidates the image encoder finds nearest."""
    rng = torch.Generator().manual_seed(11)
    offered = [candidates(prompt, rng) for prompt in prompts]
    distinct = list(dict.fromkeys(one for group in offered for one in group))
    with torch.no_grad():
        known = torch.cat(
            [
                scorer.images(to_tensor([picture_of(one, packages) for one in distinct[start : start + 128]]))
                for start in range(0, len(distinct), 128)
            ]
        )
        vectors = torch.cat([scorer.images(part) for part in torch.split(pictures.clamp(-1, 1), 128)])
    place = {one: index for index, one in enumerate(distinct)}
    return [
        group[int((known[[place[one] for one in group]] @ vector).argmax())]
        for group, vector in zip(offered, vectors, strict=True)
    ]


def shares(prompts: Sequence[Prompt], found: Sequence[Prompt]) -> dict[str, float]:
    """Shares of pictures whose nearest candidate is right, in all and in each respect."""
    pairs = list(zip(prompts, found, strict=True))
    flags = {
        "top-1": [a == b for a, b in pairs],
        "object": [a.thing == b.thing for a, b in pairs],
        "style": [a.vendor == b.vendor for a, b in pairs],
        "background": [a.colour == b.colour for a, b in pairs],
    }
    return {name: sum(values) / len(values) for name, values in flags.items()}


def evaluate(packages: Path, work: Path, seed: int, guidance: float = GUIDANCE) -> None:
    """Print a table and write ``work``/quality.json and ``work``/quality.png."""
    model, scorer = load_snapshot(work / "snapshot"), load_scorer(work / "scorer.safetensors")
    parts: list[nn.Module] = [model.vae, model.unet, model.text_encoder]
    for part in parts:
        part.half().float()  # what ships is float16
    prompts = chosen_prompts(seed)
    true = torch.cat([to_tensor([picture_of(prompt, packages)]) for prompt in prompts])
    with torch.no_grad():
        again = torch.cat(
            [model.vae.decode(model.vae.encode(p).latent_dist.mode()).sample for p in torch.split(true, 25)]
        )
    pictures = sample(model, [text_of(prompt) for prompt in prompts], STEPS, guidance, seed)
    found = matched(scorer, pictures, prompts, packages)
    results = {
        "psnr_db": measure(model.vae, packages),
        "samples": shares(prompts, found),
        "reconstructions": shares(prompts, matched(scorer, again, prompts, packages)),
    }
    wrong = [f"{text_of(a)} -> {text_of(b)}" for a, b in zip(prompts, found, strict=True) if a != b]
    settings = {"prompts": PROMPTS, "candidates": CANDIDATES, "ddim_steps": STEPS, "guidance": guidance}
    report = {"settings": settings, **results, "wrong": wrong}
    (work / "quality.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    contact_sheet(pictures, prompts, packages).save(work / "quality.png")
    for name, values in results.items():
        say(table_row(name, values))


def table_row(name: str, values: Mapping[str, float]) -> str:
    """One printed line."""
    return f"{name:16s}" + "  ".join(f"{key} {value:.3f}" for key, value in values.items())


def contact_sheet(pictures: torch.Tensor, prompts: Sequence[Prompt], packages: Path) -> Image.Image:
    """Six rows of eight samples, each with the true picture, small, in its corner."""
    shown = to_images(pictures[:48])
    large = sheet(shown, columns=8)
    for index, prompt in enumerate(prompts[:48]):
        small = picture_of(prompt, packages).resize((SIZE // 2, SIZE // 2), Image.Resampling.LANCZOS)
        large.paste(small, (index % 8 * SIZE * 2, index // 8 * SIZE * 2))
    return large
