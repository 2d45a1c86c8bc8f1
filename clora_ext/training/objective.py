"""The usual objective: the error of the denoiser's predictions on cached latents."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import torch
from torch import Tensor, nn

from clora_ext.config.precision import to_device
from clora_ext.config.processes import ALONE, Place
from clora_ext.config.settings import LossSettings, NoiseSettings
from clora_ext.errors import TrainingError
from clora_ext.families.model import Conditioning, Model
from clora_ext.strategies.objective import Example, NoisedBatch

from .loss import differences, weights_by_time
from .noise import added_noise, shaped_noise

__all__ = ["DenoisingObjective", "check_finite", "noised_batch", "prediction_errors", "step_rng"]


_PLAIN_LOSS, _PLAIN_NOISE = LossSettings(), NoiseSettings()


class DenoisingObjective:
    """The error of the denoiser's prediction, in float32: the mean square (arXiv 2208.12242, equation 1).

    Or what else is asked for. Pictures count alike, or as the model's process weighs their times, and
    regularisation pictures as they are asked to; where a picture has a mask, its error counts by place. Where
    pictures are preserved, the answers of the model before the training take the place of what was added to
    them (differential output preservation, as in sd-scripts and ai-toolkit).

    Args:
        without_adapter: while it is entered, the model is the one before the training; None: no picture is
            preserved.
        loss: what an error counts by its size and its time.
        noise: which noise pictures are shown with.
        place: of this process: it takes its part of each batch, of which all is drawn everywhere.
    """

    def __init__(
        self,
        without_adapter: Callable[[], AbstractContextManager[None]] | None = None,
        loss: LossSettings = _PLAIN_LOSS,
        noise: NoiseSettings = _PLAIN_NOISE,
        place: Place = ALONE,
    ) -> None:
        self._without_adapter = without_adapter
        self._loss = loss
        self._noise = noise
        self._place = place

    def loss(
        self, model: Model, batch: Sequence[Example], seed: int, step: int, device: torch.device
    ) -> Tensor:
        """See :meth:`clora_ext.strategies.objective.Objective.loss`."""
        shown = self.show(model, batch, seed, step, device)
        return self.error(model, shown, model.predict(shown.noised, shown.times, shown.condition))

    def show(
        self, model: Model, batch: Sequence[Example], seed: int, step: int, device: torch.device
    ) -> NoisedBatch:
        """Latents, noise and times of a step, and what the model before says of the preserved ones."""
        rng = step_rng(seed, step)
        shown = noised_batch(model, batch, rng, device, self._loss, self._noise, self._place)
        own = [batch[number] for number in self._place.part(len(batch))]
        preserved = [place for place, example in enumerate(own) if example.preserved]
        asked = preserved
        if self._place.in_step and not preserved:  # the others ask for theirs
            asked = [0] if any(example.preserved for example in batch) else []
        if not asked or self._without_adapter is None:
            return shown
        with torch.no_grad(), self._without_adapter():
            condition = _condition(model, [own[place] for place in asked], device)
            answers = model.predict(shown.noised[asked], shown.times[asked], condition).float()
        if not preserved:
            return shown
        return replace(shown, preserved=tuple(preserved), answers=answers)

    def error(self, model: Model, shown: NoisedBatch, predicted: Tensor) -> Tensor:
        """The mean squared error of the predictions for it."""
        weight = _product(_weights(model, shown), weights_by_time(shown.times, model.process, self._loss))
        if weight is None and shown.masks is None and self._loss.loss_type == "l2":
            return nn.functional.mse_loss(predicted.float(), _target(model, shown))
        off = differences(predicted, _target(model, shown), shown.times, model.process, self._loss)
        errors = _by_picture(off, shown.masks)
        return (errors if weight is None else errors * weight).mean()


def prediction_errors(model: Model, shown: NoisedBatch) -> Tensor:
    """The error of each picture, (n,), float32, weighed as :class:`DenoisingObjective` weighs them."""
    predicted = model.predict(shown.noised, shown.times, shown.condition)
    off = (predicted.float() - _target(model, shown)).square()
    errors, weight = _by_picture(off, shown.masks), _weights(model, shown)
    return errors if weight is None else errors * weight


def _weights(model: Model, shown: NoisedBatch) -> Tensor | None:
    """What each picture's error counts: by its time, and by its folder; None: all count alike."""
    return _product(model.process.weight(shown.times), shown.weights)


def _product(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return second if first is None else first
    return first * second


def _target(model: Model, shown: NoisedBatch) -> Tensor:
    """What the denoiser should answer, float32."""
    target = model.process.target(shown.latents, shown.noise, shown.times).float()
    if shown.answers is None:
        return target
    return target.index_copy(0, torch.tensor(shown.preserved, device=target.device), shown.answers)


def _by_picture(errors: Tensor, masks: Tensor | None) -> Tensor:
    """Mean of each picture, (n,); by place weighed with its mask."""
    return (errors if masks is None else errors * masks).flatten(1).mean(dim=1)


def noised_batch(
    model: Model,
    batch: Sequence[Example],
    rng: torch.Generator,
    device: torch.device,
    loss: LossSettings = _PLAIN_LOSS,
    noise: NoiseSettings = _PLAIN_NOISE,
    place: Place = ALONE,
) -> NoisedBatch:
    """Draw latents, noise and times, in this order.

    Args:
        model: with the adapters in its modules.
        batch: pictures of one size.
        rng: of this step, see :func:`step_rng`: the only source of randomness.
        device: where the model lies.
        loss: which times may be drawn.
        noise: which noise is.
        place: whose part of the batch is given; chance is drawn for all of it.
    """
    mean = torch.stack([example.mean for example in batch])
    deviation = torch.stack([example.deviation for example in batch])
    latents = mean + deviation * torch.randn(mean.shape, generator=rng)
    drawn = shaped_noise(torch.randn(mean.shape, generator=rng), latents, noise, rng)
    times = model.process.sample_times(mean.shape, rng, least=loss.min_timestep, most=loss.max_timestep)
    shown = added_noise(drawn, noise, rng)
    part = place.part(len(batch))
    own, cut = batch[part.start : part.stop], slice(part.start, part.stop)
    latents, drawn, shown, times = (to_device(one[cut], device) for one in (latents, drawn, shown, times))
    noised = model.process.noised(latents, shown, times)
    condition = _condition(model, own, device)
    return NoisedBatch(
        latents, drawn, times, noised, condition, _asked_weights(own, device), _masks(own, device)
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
