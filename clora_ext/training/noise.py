"""Which noise pictures are shown with."""

import torch
from torch import Tensor, nn

from clora_ext.config.settings import NoiseSettings

__all__ = ["added_noise", "shaped_noise"]

_LEAST_RATIO, _MOST_RATIO = 2.0, 4.0  # of one size to the next, drawn anew each time


def shaped_noise(noise: Tensor, latents: Tensor, settings: NoiseSettings, rng: torch.Generator) -> Tensor:
    """The noise that is to be predicted.

    Args:
        noise: (n, channels, h, w), normal.
        latents: of the pictures, of the same shape.
        settings: what is asked for; by default the noise stays as it is, and nothing is drawn.
        rng: the only source of randomness.
    """
    if settings.noise_offset:
        noise = _with_offset(noise, latents, settings, rng)
    if settings.multires_noise_iterations:
        noise = _in_many_sizes(noise, settings, rng)
    return noise


def added_noise(noise: Tensor, settings: NoiseSettings, rng: torch.Generator) -> Tensor:
    """The noise that pictures are shown with: with what is not to be predicted (arXiv 2301.11706)."""
    if not settings.ip_noise_gamma:
        return noise
    strength = settings.ip_noise_gamma * _strength(rng, varies=settings.ip_noise_random_strength)
    return noise + strength * torch.randn(noise.shape, generator=rng)


def _with_offset(noise: Tensor, latents: Tensor, settings: NoiseSettings, rng: torch.Generator) -> Tensor:
    """A number for each channel (crosslabs.org/blog/diffusion-with-offset-noise); adaptive as sd-scripts."""
    strength = settings.noise_offset * _strength(rng, varies=settings.noise_offset_random_strength)
    means = latents.mean(dim=(2, 3), keepdim=True).abs()
    offset = (strength + settings.adaptive_noise_scale * means).clamp(min=0)
    return noise + offset * torch.randn(*noise.shape[:2], 1, 1, generator=rng)


def _in_many_sizes(noise: Tensor, settings: NoiseSettings, rng: torch.Generator) -> Tensor:
    """Pyramid noise (wandb.ai/johnowhitaker/multires_noise), with a deviation of 1 over the batch."""
    height, width = noise.shape[2:]
    for number in range(settings.multires_noise_iterations):
        ratio = _LEAST_RATIO + (_MOST_RATIO - _LEAST_RATIO) * _strength(rng, varies=True)
        size = max(1, int(height / ratio**number)), max(1, int(width / ratio**number))
        coarse = torch.randn(*noise.shape[:2], *size, generator=rng)
        grown = nn.functional.interpolate(coarse, (height, width), mode="bilinear")
        noise = noise + settings.multires_noise_discount**number * grown
        if 1 in size:
            break
    return noise / noise.std()


def _strength(rng: torch.Generator, *, varies: bool) -> float:
    """1, or a number below it."""
    return float(torch.rand(1, generator=rng)) if varies else 1.0
