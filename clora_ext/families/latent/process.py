"""Denoising diffusion as Stable Diffusion was trained: whole timesteps, noise or v as the target."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import DDPMScheduler
from torch import Generator, Tensor

from clora_ext.formats.prediction import kind_of

__all__ = ["DiffusionProcess"]


@dataclass(frozen=True)
class DiffusionProcess:
    """DDPM (arXiv 2006.11239); see :class:`clora_ext.families.base.Process`.

    Attributes:
        scheduler: the noise schedule, and whether the network predicts the noise or v (arXiv 2202.00512).
    """

    scheduler: DDPMScheduler

    def sample_times(self, shape: Sequence[int], rng: Generator) -> Tensor:
        """Timesteps (n,), int64, all equally likely whatever the pictures' size."""
        return torch.randint(int(self.scheduler.config["num_train_timesteps"]), (shape[0],), generator=rng)

    def noised(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Latents and noise in the schedule's proportion."""
        noisy: Tensor = self.scheduler.add_noise(latents, noise, times)
        return noisy

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """The noise, or v."""
        if kind_of(self.scheduler.config["prediction_type"]) == "v":
            velocity: Tensor = self.scheduler.get_velocity(latents, noise, times)
            return velocity
        return noise

    def weight(self, times: Tensor) -> None:
        """All pictures count alike."""
