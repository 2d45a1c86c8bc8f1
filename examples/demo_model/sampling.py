"""Sampling: prompts to pictures with deterministic DDIM and classifier-free guidance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from tokenizer import token_ids
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer


@dataclass(frozen=True, slots=True)
class Model:
    """The five parts of the demo model."""

    vae: AutoencoderKL
    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: DDIMScheduler


def sample(
    model: Model, prompts: Sequence[str], steps: int, guidance: float, seed: int, batch: int = 48
) -> Tensor:
    """Pictures (n, 3, 64, 64) in about [-1, 1]; the noise of prompt ``i`` depends on ``seed`` and ``i``."""
    noise = torch.stack(
        [
            torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(seed * 100_003 + i))
            for i in range(len(prompts))
        ]
    )
    parts = []
    for start in range(0, len(prompts), batch):
        text = _encoded(model, list(prompts[start : start + batch]))
        parts.append(_one_batch(model, noise[start : start + batch], text, steps, guidance))
    return torch.cat(parts)


def _encoded(model: Model, prompts: list[str]) -> Tensor:
    """Text states (2n, tokens, width): the empty prompt for each, then the prompts."""
    ids = token_ids(model.tokenizer, [""] * len(prompts) + prompts)
    with torch.no_grad():
        states: Tensor = model.text_encoder(ids).last_hidden_state
    return states


def _one_batch(model: Model, noise: Tensor, text: Tensor, steps: int, guidance: float) -> Tensor:
    model.scheduler.set_timesteps(steps)
    latents = noise
    with torch.no_grad():
        for step in model.scheduler.timesteps:
            twice = torch.cat([latents, latents]).contiguous(memory_format=torch.channels_last)
            empty, prompted = model.unet(twice, step, text).sample.chunk(2)
            guess = empty + guidance * (prompted - empty)
            latents = model.scheduler.step(guess, step, latents, return_dict=False)[0]
        pictures: Tensor = model.vae.decode(latents / model.vae.config["scaling_factor"]).sample
    return pictures
