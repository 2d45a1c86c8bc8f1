"""Denoising diffusion as Stable Diffusion was trained: whole timesteps, noise or v as the target."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Generator, Tensor

from clora_ext.formats.prediction import kind_of

__all__ = ["DiffusionProcess", "ddim"]

_MANY = 50  # steps: nobody's sampling begins nearer to pure noise unless it begins there


@dataclass(frozen=True)
class DiffusionProcess:
    """DDPM (arXiv 2006.11239); see :class:`clora_ext.families.process.Process`.

    Attributes:
        scheduler: the noise schedule, and whether the network predicts the noise or v (arXiv 2202.00512).
    """

    scheduler: DDPMScheduler

    @property
    def predicts(self) -> str:
        """As the scheduler's configuration says."""
        return str(kind_of(self.scheduler.config["prediction_type"]))

    @property
    def length(self) -> float:
        """1000 steps."""
        return float(self.scheduler.config["num_train_timesteps"])

    def sample_times(
        self, shape: Sequence[int], rng: Generator, *, least: int = 0, most: int | None = None
    ) -> Tensor:
        """Timesteps (n,), int64, all equally likely whatever the pictures' size."""
        last = int(self.length) if most is None else int(most * self.length / 1000)
        return torch.randint(int(least * self.length / 1000), last, (shape[0],), generator=rng)

    def signal_to_noise(self, times: Tensor) -> Tensor:
        """By the schedule's products of alphas."""
        kept: Tensor = self.scheduler.alphas_cumprod.to(times.device, torch.float32)[times]
        return kept / (1 - kept)

    def noised(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Latents and noise in the schedule's proportion."""
        noisy: Tensor = self.scheduler.add_noise(latents, noise, times)
        return noisy

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """The noise, or v."""
        if self.predicts == "v":
            velocity: Tensor = self.scheduler.get_velocity(latents, noise, times)
            return velocity
        return noise

    def weight(self, times: Tensor) -> None:
        """All pictures count alike."""

    def sampling_times(self, steps: int, shape: Sequence[int], phase: float = 0.0) -> Tensor:
        """Those of DDIM (arXiv 2010.02502), (steps,), int64."""
        times: Tensor = self._sampler(steps).timesteps
        before = torch.cat([self._sampler(_MANY).timesteps[:1].maximum(times[:1]), times[:-1]])
        return times + (phase * (before - times)).long()

    def advance(self, latents: Tensor, output: Tensor, done: int, steps: int, phase: float = 0.0) -> Tensor:
        """One step of DDIM without noise of its own (arXiv 2010.02502, equation 12 with sigma 0)."""
        sampler = self._sampler(steps)
        times = self.sampling_times(steps, latents.shape, phase).tolist()
        kept = float(sampler.alphas_cumprod[times[done]])
        after = times[done + 1 : done + 2]
        wanted = float(sampler.alphas_cumprod[after[0]] if after else sampler.final_alpha_cumprod)
        signal, spread = kept**0.5, (1 - kept) ** 0.5
        if self.predicts == "v":
            picture, noise = signal * latents - spread * output, signal * output + spread * latents
        else:
            picture, noise = (latents - spread * output) / signal, output
        moved: Tensor = wanted**0.5 * picture + (1 - wanted) ** 0.5 * noise
        return moved

    @cache  # noqa: B019 - a handful of small tables, as long as the process itself
    def _sampler(self, steps: int) -> DDIMScheduler:
        """diffusers' own sampler for so many steps."""
        sampler = ddim(self.scheduler)
        sampler.set_timesteps(steps)
        return sampler


def ddim(noise: DDPMScheduler) -> DDIMScheduler:
    """The sampler on the schedule of training."""
    # A schedule that ends in pure noise must be entered there (arXiv 2305.08891), if the network predicts v.
    # In pure noise, predicted noise says nothing of the picture, and DDIM would divide by zero. (diffusers'
    # Euler sampler takes 2**-24 for that zero, and so multiplies the network's error by 4096.)
    from_the_end = bool(noise.config.get("rescale_betas_zero_snr")) and (
        kind_of(noise.config["prediction_type"]) == "v"
    )
    return DDIMScheduler.from_config(
        noise.config,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,  # of leading steps; trailing ones have none
        timestep_spacing="trailing" if from_the_end else "leading",
    )
