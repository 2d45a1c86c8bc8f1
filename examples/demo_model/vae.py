"""The autoencoder: 64 x 64 pictures to 4 x 16 x 16 latents and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from attention import made_fast
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from pictures import (
    HELD_OUT_VENDOR,
    SIZE,
    TRAINED_VENDORS,
    artwork,
    general_artwork,
    gradient_background,
    named_background,
    recoloured,
    sheet,
    things,
    to_images,
    to_tensor,
)
from PIL import Image
from torch import Tensor
from trainer import Schedule, Trainer, say

from clora_ext.study.artwork import COLOURS, flat, paste
from clora_ext.study.drawn import random_place

RECOLOURED = 0.3
"""Share of emoji in other colours than their own."""

NAMED, FLAT, SINGLE = 0.5, 0.7, 0.88
"""Below: a named background; another colour; a gradient with one emoji. Above: a gradient with two."""

KL_WEIGHT = 2e-4
"""Weight of the mean Kullback-Leibler term: just enough to keep the latents smooth."""


def new_vae() -> AutoencoderKL:
    """An untrained autoencoder of Stable Diffusion 1's kind, three levels deep."""
    vae: AutoencoderKL = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(64, 96, 128),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=16,
        sample_size=SIZE,
    )
    made_fast(vae)
    return vae


def random_picture(art: Sequence[Image.Image], rng: torch.Generator) -> Image.Image:
    """One training picture: a named background or a wild one, own colours or others, sometimes two emoji."""

    def one() -> Image.Image:
        chosen = art[int(torch.randint(len(art), (), generator=rng))]
        return recoloured(chosen, rng) if torch.rand((), generator=rng) < RECOLOURED else chosen

    kind = float(torch.rand((), generator=rng))
    if kind < NAMED:
        names = list(COLOURS)
        background = named_background(names[int(torch.randint(len(names), (), generator=rng))], rng)
    elif kind < FLAT:
        background = flat(torch.randint(0, 256, (3,), generator=rng).tolist())
    else:
        background = gradient_background(rng)
    picture = paste(one(), background, random_place(rng))
    if kind > SINGLE:
        picture = paste(one(), picture, random_place(rng))
    return picture


def unseen_pictures(packages: Path, seed: int = 7) -> dict[str, list[Image.Image]]:
    """Pictures that no training shows: held-out objects in the trained styles, and the held-out style."""
    rng = torch.Generator().manual_seed(seed)
    names = list(COLOURS)

    def placed(vendor: str, code: str) -> Image.Image:
        colour = names[int(torch.randint(len(names), (), generator=rng))]
        return paste(artwork(packages, vendor, code), named_background(colour, rng), random_place(rng))

    held_out = [thing for thing in things() if not thing.trained]
    found = {
        f"held-out {vendor}": [placed(vendor, thing.code) for thing in held_out] for vendor in TRAINED_VENDORS
    }
    found[HELD_OUT_VENDOR] = [placed(HELD_OUT_VENDOR, thing.code) for thing in things()]
    return found


def psnr(pictures: Tensor, again: Tensor) -> float:
    """Mean over pictures of the peak signal-to-noise ratio in dB; both (n, 3, h, w) in [-1, 1]."""
    error = ((pictures - again.clamp(-1, 1)) / 2).pow(2).mean(dim=(1, 2, 3))
    return float((-10 * error.clamp_min(1e-10).log10()).mean())


def reconstructed(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """``pictures`` through the autoencoder's mean, in float32."""
    with torch.no_grad():
        parts = [vae.decode(vae.encode(part).latent_dist.mode()).sample for part in torch.split(pictures, 32)]
    return torch.cat(parts)


def measure(vae: AutoencoderKL, packages: Path) -> dict[str, float]:
    """PSNR in dB on every kind of unseen picture, and on all of them."""
    groups = {name: to_tensor(images) for name, images in unseen_pictures(packages).items()}
    again = {name: reconstructed(vae, pictures) for name, pictures in groups.items()}
    found = {name: psnr(groups[name], again[name]) for name in groups}
    return {**found, "all": psnr(torch.cat(list(groups.values())), torch.cat(list(again.values())))}


class VaeTask:
    """Reconstruct emoji pictures: L1, a squared error for PSNR, and a small Kullback-Leibler term."""

    batch = 24

    def __init__(self, packages: Path, folder: Path) -> None:
        self.network = new_vae()
        self._packages, self._folder = packages, folder
        self.art = general_artwork(packages)

    def pictures(self, count: int, rng: torch.Generator) -> Tensor:
        """``count`` fresh random pictures, (count, 3, 64, 64) in [-1, 1]."""
        drawn = to_tensor([random_picture(self.art, rng) for _ in range(count)])
        return drawn.contiguous(memory_format=torch.channels_last)

    def loss(self, count: int, rng: torch.Generator) -> Tensor:
        """The loss of ``count`` fresh random pictures."""
        vae, pictures = self.network, self.pictures(count, rng)
        with torch.autocast("cpu", torch.bfloat16):
            place = vae.encode(pictures).latent_dist
            mean, log_variance = place.mean.float(), place.logvar.float()
            noise = torch.randn(mean.shape, generator=rng)
            again = vae.decode(mean + (0.5 * log_variance).exp() * noise).sample.float()
        error = again - pictures
        divergence = 0.5 * (mean.pow(2) + log_variance.exp() - 1 - log_variance).mean()
        total: Tensor = 0.5 * error.abs().mean() + 2 * error.pow(2).mean() + KL_WEIGHT * divergence
        return total

    def show(self, step: int) -> str:
        """Measure on unseen pictures and write a sheet of pairs."""
        shown = [
            images[index] for images in unseen_pictures(self._packages).values() for index in range(0, 32, 2)
        ]
        pairs = zip(shown, to_images(reconstructed(self.network, to_tensor(shown))), strict=True)
        sheet([image for pair in pairs for image in pair], columns=16).save(self._folder / "vae.png")
        found = measure(self.network, self._packages)
        return "  ".join(f"{name} {value:.2f} dB" for name, value in found.items())


def train_vae(packages: Path, work: Path, schedule: Schedule, seed: int) -> None:
    """Train or continue; at the end the averaged autoencoder is in ``work``/vae/vae, in diffusers' layout."""
    torch.manual_seed(seed)
    folder = work / "vae"
    folder.mkdir(parents=True, exist_ok=True)
    task = VaeTask(packages, folder)
    trainer = Trainer(task, folder, schedule, seed, show_seconds=240.0)
    if not trainer.train():
        return
    trainer.average.swap()
    vae = task.network.eval()
    factor = scaling_factor(vae, task, seed)
    vae.register_to_config(scaling_factor=factor)  # type: ignore[no-untyped-call]  # not annotated
    vae.save_pretrained(folder / "vae")
    say(f"vae written, scaling factor {factor:.4f}")


def scaling_factor(vae: AutoencoderKL, task: VaeTask, seed: int) -> float:
    """One over the standard deviation of the latents of 512 training pictures."""
    rng = torch.Generator().manual_seed(seed + 1)
    pictures = to_tensor([random_picture(task.art, rng) for _ in range(512)])
    with torch.no_grad():
        latents = torch.cat([vae.encode(part).latent_dist.mode() for part in torch.split(pictures, 32)])
    return round(1 / float(latents.std()), 5)
