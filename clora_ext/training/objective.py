"""What a step minimises: the DreamBooth objective on cached latents."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clora_ext.errors import TrainingError
from clora_ext.families.base import Conditioning, Model
from clora_ext.strategies.objective import Example

__all__ = ["DenoisingObjective", "check_finite"]


class DenoisingObjective:
    """The mean squared error of the predicted noise (arXiv 2208.12242, equation 1), in float32."""

    def loss(
        self, model: Model, batch: Sequence[Example], seed: int, step: int, device: torch.device
    ) -> Tensor:
        """A scalar; all randomness follows from (seed, step)."""
        # Drawn on the processor: the same numbers on every device.
        rng = torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)
        mean = torch.stack([example.mean for example in batch])
        deviation = torch.stack([example.deviation for example in batch])
        latents = (mean + deviation * torch.randn(mean.shape, generator=rng)).to(device)
        noise = torch.randn(mean.shape, generator=rng).to(device)
        timesteps = torch.randint(model.timesteps, (len(batch),), generator=rng).to(device)
        noisy = model.add_noise(latents, noise, timesteps)
        predicted = model.predict(noisy, timesteps, _condition(model, batch, device))
        return nn.functional.mse_loss(predicted.float(), model.target(latents, noise, timesteps).float())


def _condition(model: Model, batch: Sequence[Example], device: torch.device) -> Conditioning:
    """What the UNet is told of the batch."""
    known = [example.condition for example in batch if example.condition is not None]
    if len(known) < len(batch):
        return model.condition([example.prompt for example in batch], [example.framing for example in batch])
    return {name: torch.cat([condition[name] for condition in known]).to(device) for name in known[0]}


def check_finite(loss: float, batch: Sequence[Example], step: int, rate: float) -> None:
    """Stop at a loss that is no number, with its likely cause.

    Raises:
        TrainingError: the loss is NaN or infinite.
    """
    if math.isfinite(loss):
        return
    message = f"the loss became {loss} at step {step + 1}"
    if not all(torch.isfinite(example.mean).all() for example in batch):
        raise TrainingError(f"{message}: the VAE gave values that are no numbers", fix="use another VAE")
    told = [value for example in batch for value in (example.condition or {}).values()]
    if not all(torch.isfinite(value).all() for value in told):
        raise TrainingError(f"{message}: the text encoder gave no numbers", fix="use another checkpoint")
    raise TrainingError(
        f"{message}: the adapter has diverged", fix=f"use a lower --learning-rate than {rate:g}"
    )
