"""The decoder, trained on alone: sharper pictures of the same latents, which all else was learned on."""

from __future__ import annotations

from pathlib import Path

import torch
from attention import made_fast
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor
from trainer import Schedule, Trainer, say
from vae import VaeTask


class DecoderTask(VaeTask):
    """Reconstruct pictures from the latents of an encoder that stays as it is.

    Without a Kullback-Leibler term there is nothing to trade sharpness for; the squared error is what PSNR
    counts, the absolute one keeps lines crisp.
    """

    batch = 32

    def __init__(self, packages: Path, folder: Path, vae: AutoencoderKL) -> None:
        super().__init__(packages, folder)
        self.network = vae
        vae.encoder.requires_grad_(requires_grad=False)
        vae.quant_conv.requires_grad_(requires_grad=False)

    def loss(self, count: int, rng: torch.Generator) -> Tensor:
        """The loss of decoding samples of the encoder's posterior of ``count`` fresh random pictures."""
        vae, pictures = self.network, self.pictures(count, rng)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                place = vae.encode(pictures).latent_dist
                mean, log_variance = place.mean.float(), place.logvar.float()
                noise = torch.randn(mean.shape, generator=rng)
                latents = mean + (0.5 * log_variance).exp() * noise
            again = vae.decode(latents).sample.float()
        error = again - pictures
        total: Tensor = 0.2 * error.abs().mean() + 4 * error.pow(2).mean()
        return total


def train_decoder(packages: Path, work: Path, schedule: Schedule, seed: int) -> None:
    """Train the decoder of ``work``/vae/vae on or continue; at the end it is in that folder."""
    torch.manual_seed(seed)
    folder = work / "decoder"
    folder.mkdir(parents=True, exist_ok=True)
    vae = AutoencoderKL.from_pretrained(work / "vae" / "vae")
    made_fast(vae)
    trainer = Trainer(DecoderTask(packages, folder, vae), folder, schedule, seed, show_seconds=240.0)
    if not trainer.train():
        return
    trainer.average.swap()
    vae.eval().save_pretrained(work / "vae" / "vae")
    say("vae written with the new decoder")
