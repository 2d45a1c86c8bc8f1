"""The usual objective: the error of the denoiser's predictions on cached latents."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clora_ext.config.precision import to_device
from clora_ext.errors import TrainingError
from clora_ext.families.base import Conditioning, Model
from clora_ext.strategies.objective import Example, NoisedBatch

__all__ = ["DenoisingObjective", "check_finite", "noised_batch", "prediction_errors", "step_rng"]


class DenoisingObjective:
    """The mean squared error of the denoiser's prediction (arXiv 2208.12242, equation 1), in float32.

    Pictures count alike, or as the model's process weighs their times, and regularisation pictures as they
    are asked to; where a picture has a mask, its error counts by place.
    """

    def loss(
        self, model: Model, batch: Sequence[Example], seed: int, step: int, device: torch.device
    ) -> Tensor:
        """See :meth:`clora_ext.strategies.objective.Objective.loss`."""
        shown = self.show(model, batch, seed, step, device)
        return self.error(model, shown, model.predict(shown.noised, shown.times, shown.condition))

    def show(
        self, model: Model, batch: Sequence[Example], seed: int, step: int, device: torch.device
    ) -> NoisedBatch:
        """Latents, noise and times of a step."""
        return noised_batch(model, batch, step_rng(seed, step), device)

    def error(self, model: Model, shown: NoisedBatch, predicted: Tensor) -> Tensor:
        """The mean squared error of the predictions for it."""
        weight = _weights(model, shown)
        if weight is None and shown.masks is None:
            return nn.functional.mse_loss(predicted.float(), _target(model, shown))
        errors = _errors(predicted, _target(model, shown), shown.masks)
        return (errors if weight is None else errors * weight).mean()


def prediction_errors(model: Model, shown: NoisedBatch) -> Tensor:
    """The error of each picture, (n,), float32, weighed as :class:`DenoisingObjective` weighs them."""
    predicted = model.predict(shown.noised, shown.times, shown.condition)
    errors, weight = _errors(predicted, _target(model, shown), shown.masks), _weights(model, shown)
    return errors if weight is None else errors * weight


def _weights(model: Model, shown: NoisedBatch) -> Tensor | None:
    """What each picture's error counts: by its time, and by its folder; None: all count alike."""
    by_time = model.process.weight(shown.times)
    if by_time is None or shown.weights is None:
        return shown.weights if by_time is None else by_time
    return by_time * shown.weights


def _target(model: Model, shown: NoisedBatch) -> Tensor:
    """What the denoiser should answer, float32."""
    return model.process.target(shown.latents, shown.noise, shown.times).float()


def _errors(predicted: Tensor, target: Tensor, masks: Tensor | None) -> Tensor:
    """Mean squared error of each picture, (n,); by place weighed with its mask."""
    errors = nn.functional.mse_loss(predicted.float(), target, reduction="none")
    return (errors if masks is None else errors * masks).flatten(1).mean(dim=1)


def noised_batch(
    model: Model, batch: Sequence[Example], rng: torch.Generator, device: torch.device
) -> NoisedBatch:
    """Draw latents, noise and times, in this order.

    Args:
        model: with the adapters in its modules.
        batch: pictures of one size.
        rng: of this step, see :func:`step_rng`: the only source of randomness.
        device: where the model lies.
    """
    mean = torch.stack([example.mean for example in batch])
    deviation = torch.stack([example.deviation for example in batch])
    latents = to_device(mean + deviation * torch.randn(mean.shape, generator=rng), device)
    noise = to_device(torch.randn(mean.shape, generator=rng), device)
    times = to_device(model.process.sample_times(mean.shape, rng), device)
    noised = model.process.noised(latents, noise, times)
    condition = _condition(model, batch, device)
    return NoisedBatch(
        latents, noise, times, noised, condition, _asked_weights(batch, device), _masks(batch, device)
    )


def _asked_weights(batch: Sequence[Example], device: torch.device) -> Tensor | None:
    if all(example.weight == 1 for example in batch):
        return None
    return to_device(torch.tensor([example.weight for example in batch]), device)


def _masks(batch: Sequence[Example], device: torch.device) -> Tensor | None:
    """Those of all; a picture that has none counts everywhere."""
    if all(example.mask is None for example in batch):
        return None
    whole = torch.ones(1, *batch[0].mean.shape[1:])
    masks = torch.stack([whole if example.mask is None else example.mask for example in batch])
    return to_device(masks, device)


def step_rng(seed: int, step: int) -> torch.Generator:
    """The source of all randomness of a step (from 0): on the processor, the same on every device."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)


def _condition(model: Model, batch: Sequence[Example], device: torch.device) -> Conditioning:
    """What the denoiser is given for the batch."""
    encoded = [example.condition for example in batch if example.condition is not None]
    if len(encoded) < len(batch):
        prompts = [example.prompt for example in batch]
        return model.condition(prompts, [example.size_conditioning for example in batch])
    return {name: to_device(value, device) for name, value in model.collate(encoded).items()}


def check_finite(loss: float, batch: Sequence[Example], step: int, rate: float) -> None:
    """Stop at a loss that is no number, with its likely cause.

    Raises:
        TrainingError: the loss is NaN or infinite.
    """
    if math.isfinite(loss):
        return
    message = f"the loss became {loss} at step {step + 1}"
    if not all(torch.isfinite(example.mean).all() for example in batch):
        raise TrainingError(f"{message}: what the VAE gave is not finite", fix="use another VAE")
    conditions = [value for example in batch for value in (example.condition or {}).values()]
    if not all(torch.isfinite(value).all() for value in conditions):
        raise TrainingError(
            f"{message}: what the text encoder gave is not finite", fix="use another checkpoint"
        )
    raise TrainingError(
        f"{message}: the adapter has diverged", fix=f"use a lower --learning-rate than {rate:g}"
    )
