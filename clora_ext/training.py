"""The training loop: adapters on a frozen UNet, the DreamBooth objective, exact resumption.

Every step's pictures, noise and timesteps follow from (seed, step) alone, so a run that was stopped and
resumed takes the same steps, bit for bit on a processor, as one that was not. accelerate and peft are
used only here.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from accelerate import Accelerator
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from clora_ext.errors import Cancelled, TrainingError
from clora_ext.events import Sink, TrainStep
from clora_ext.families.base import Model, Target
from clora_ext.precision import Precision
from clora_ext.settings import Settings
from clora_ext.strategies.base import Start
from clora_ext.tensors import Factors, complement
from clora_ext.training_state import TrainingState

__all__ = ["Example", "train"]

_ADAPTER = "concept"


@dataclass(frozen=True, slots=True)
class Example:
    """A picture as the loop needs it.

    Attributes:
        mean: of its latents, (4, h, w), scaled, float32, on the processor.
        deviation: standard deviation of its latents, same shape.
        text: states of its caption, (tokens, width).
    """

    mean: Tensor
    deviation: Tensor
    text: Tensor


@dataclass(frozen=True, slots=True)
class _Adapted:
    """One layer's trainable parts inside the UNet."""

    down: nn.Parameter
    up: nn.Parameter
    closed: Tensor | None


def train(  # noqa: PLR0913, PLR0917 - the run's parts, each of another kind
    model: Model,
    starts: Mapping[Target, Start],
    examples: Sequence[Example],
    batch_at: Callable[[int], Sequence[int]],
    settings: Settings,
    precision: Precision,
    state_file: Path,
    fingerprint: str,
    sink: Sink,
) -> tuple[dict[str, Factors], tuple[float, ...]]:
    """Train the adapters that ``starts`` describes; the model's UNet is adapted in place.

    Args:
        model: loaded with every layer's ``Start.frozen`` as its weight.
        starts: by target.
        examples: the pictures.
        batch_at: indices into ``examples`` of the pictures of a step (from 0); of one size each.
        settings: steps, rate, seed, ...
        precision: where the model lies.
        state_file: where a stopped run leaves its state; it is read if it belongs to ``fingerprint``.
        fingerprint: identifies the plan, so that another plan's state is never resumed.
        sink: told of every step; raising Cancelled in it saves the state and stops.

    Returns:
        The trained factors by checkpoint name (float32, on the processor), and every step's loss.

    Raises:
        TrainingError: the loss is NaN or infinite.
        Cancelled: as raised by ``sink``, after the state has been saved.
    """
    accelerator = Accelerator(mixed_precision=precision.mixed, cpu=precision.device.type == "cpu")
    adapted = dict(_adapt(model.unet, starts, settings, precision))
    parameters = [parameter for layer in adapted.values() for parameter in (layer.down, layer.up)]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    state = TrainingState(state_file, fingerprint)
    names = [f"{name}::{part}" for name in adapted for part in ("down", "up")]
    losses = state.restore(dict(zip(names, parameters, strict=True)), optimizer)
    optimizer = accelerator.prepare(optimizer)
    model.unet.train()

    def save() -> None:
        inner = optimizer.optimizer
        state.save(dict(zip(names, parameters, strict=True)), inner, losses)

    saved = time.monotonic()
    for step in range(len(losses), settings.steps):
        began = time.monotonic()
        rate = _rate(settings, step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = [examples[index] for index in batch_at(step)]
        with accelerator.autocast():
            loss = _loss(model, batch, settings.seed, step, precision.device)
        value = float(loss.detach())
        _check_finite(value, batch, step, rate)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(parameters, settings.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        _project(adapted.values())
        losses.append(value)
        seconds = time.monotonic() - began
        try:
            done = TrainStep(step + 1, settings.steps, value, rate, seconds, _memory(precision))
            sink(done)
        except (Cancelled, KeyboardInterrupt):
            save()
            raise
        if time.monotonic() - saved > _SAVE_SECONDS:
            save()
            saved = time.monotonic()
    save()
    model.unet.eval()
    return dict(_collect(adapted, settings)), tuple(losses)


_SAVE_SECONDS = 20.0


def _adapt(
    unet: nn.Module, starts: Mapping[Target, Start], settings: Settings, precision: Precision
) -> Iterator[tuple[str, _Adapted]]:
    """Put peft's LoRA layers around the targets and give them the starts' values."""
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.effective_alpha,  # type: ignore[arg-type]  # peft divides it; a fraction is fine
        target_modules=[target.module for target in starts],
    )
    inject_adapter_in_model(config, unet, adapter_name=_ADAPTER)
    for target, start in starts.items():
        module = unet.get_submodule(target.module)
        down: nn.Parameter = module.lora_A[_ADAPTER].weight  # type: ignore[index,union-attr]  # peft's own container
        up: nn.Parameter = module.lora_B[_ADAPTER].weight  # type: ignore[index,union-attr]
        for parameter, value in ((down, start.factors.down), (up, start.factors.up)):
            parameter.data = value.to(precision.device, torch.float32, copy=True)
        closed = None if start.closed is None else start.closed.to(precision.device)
        yield target.name, _Adapted(down, up, closed)


def _rate(settings: Settings, step: int) -> float:
    """The learning rate of a step (from 0): rises over the warm-up, then constant."""
    if step >= settings.warmup_steps:
        return settings.learning_rate
    return settings.learning_rate * (step + 1) / (settings.warmup_steps + 1)


def _loss(model: Model, batch: Sequence[Example], seed: int, step: int, device: torch.device) -> Tensor:
    """The mean squared error of the predicted noise (arXiv 2208.12242, equation 1), in float32."""
    # Drawn on the processor: the same numbers on every device.
    rng = torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)
    mean = torch.stack([example.mean for example in batch])
    deviation = torch.stack([example.deviation for example in batch])
    latents = (mean + deviation * torch.randn(mean.shape, generator=rng)).to(device)
    noise = torch.randn(mean.shape, generator=rng).to(device)
    timesteps = torch.randint(model.timesteps, (len(batch),), generator=rng).to(device)
    text = torch.stack([example.text for example in batch]).to(device)
    predicted = model.predict(model.add_noise(latents, noise, timesteps), timesteps, text)
    return nn.functional.mse_loss(predicted.float(), model.target(latents, noise, timesteps).float())


def _check_finite(loss: float, batch: Sequence[Example], step: int, rate: float) -> None:
    """Stop at a loss that is no number, with its likely cause."""
    if math.isfinite(loss):
        return
    message = f"the loss became {loss} at step {step + 1}"
    if not all(torch.isfinite(example.mean).all() for example in batch):
        raise TrainingError(f"{message}: the VAE gave values that are no numbers", fix="use another VAE")
    if not all(torch.isfinite(example.text).all() for example in batch):
        raise TrainingError(f"{message}: the text encoder gave no numbers", fix="use another checkpoint")
    raise TrainingError(
        f"{message}: the adapter has diverged", fix=f"use a lower --learning-rate than {rate:g}"
    )


def _project(layers: Iterable[_Adapted]) -> None:
    """Take the closed directions out of every ``down`` again."""
    for layer in layers:
        if layer.closed is not None:
            layer.down.data = complement(layer.down.data, layer.closed)


def _collect(adapted: Mapping[str, _Adapted], settings: Settings) -> Iterator[tuple[str, Factors]]:
    """The trained factors, on the processor."""
    for name, layer in adapted.items():
        down, up = (parameter.detach().float().cpu().clone() for parameter in (layer.down, layer.up))
        yield name, Factors(down, up, settings.effective_alpha)


def _memory(precision: Precision) -> int:
    """Bytes in use at the most: the accelerator's, else the process's."""
    if precision.device.type == "cuda":
        return torch.cuda.max_memory_allocated(precision.device)
    return int(psutil.Process().memory_info().rss)
