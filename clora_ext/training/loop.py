"""The training loop: adapters on a frozen model, exact resumption.

Every step's pictures, noise and timesteps follow from (seed, step) alone, so a run that was stopped and
resumed takes the same steps, bit for bit on a processor, as one that was not.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
import torch
from accelerate import Accelerator

from clora_ext.adapters.factors import Factors
from clora_ext.adapters.sites import Target
from clora_ext.config.precision import Precision
from clora_ext.config.settings import Settings
from clora_ext.errors import Cancelled
from clora_ext.events import Sink, TrainStep
from clora_ext.families.base import Model
from clora_ext.strategies.base import Start
from clora_ext.training.state import TrainingState

from .adapters import Adapters
from .objective import Example, check_finite, loss_at

__all__ = ["train"]

_SAVE_SECONDS = 20.0


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
    after_step: Callable[[int], None] = lambda step: None,
) -> tuple[dict[str, Factors], tuple[float, ...]]:
    """Train the adapters that ``starts`` describes; the model's modules are adapted in place.

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
        after_step: called after every step with the number of steps done; may raise Cancelled too.

    Returns:
        The trained factors by :attr:`Target.name` (float32, on the processor), and every step's loss.

    Raises:
        TrainingError: the loss is NaN or infinite.
        Cancelled: as raised by ``sink``, after the state has been saved.
    """
    adapters = Adapters(model, starts, settings, precision.device)
    run = _Run(model, adapters, settings, precision, TrainingState(state_file, fingerprint))
    saved = time.monotonic()
    for step in range(len(run.losses), settings.schedule.steps):
        began = time.monotonic()
        rate = _rate(settings, step)
        loss = run.step(step, [examples[index] for index in batch_at(step)], rate)
        seconds = time.monotonic() - began
        try:
            sink(TrainStep(step + 1, settings.schedule.steps, loss, rate, seconds, _memory(precision)))
            after_step(step + 1)
        except (Cancelled, KeyboardInterrupt):
            run.save()
            raise
        if time.monotonic() - saved > _SAVE_SECONDS:
            run.save()
            saved = time.monotonic()
    run.save()
    for component in adapters.components:
        component.eval()
    return dict(adapters.factors()), tuple(run.losses)


class _Run:
    """Adapters, optimiser and losses of one run, as far as it has come."""

    def __init__(
        self,
        model: Model,
        adapters: Adapters,
        settings: Settings,
        precision: Precision,
        state: TrainingState,
    ) -> None:
        self._model = model
        self._adapters = adapters
        self._settings = settings
        self._device = precision.device
        self._state = state
        self._parameters = adapters.parameters
        self._accelerator = Accelerator(mixed_precision=precision.mixed, cpu=precision.device.type == "cpu")
        adamw = torch.optim.AdamW(
            list(self._parameters.values()),
            lr=settings.optimizer.learning_rate,
            weight_decay=settings.optimizer.weight_decay,
        )
        self.losses = state.restore(self._parameters, adamw)
        self._optimizer = self._accelerator.prepare(adamw)
        for component in adapters.components:
            component.train()
        if settings.compute.gradient_checkpointing:
            model.recompute_activations()

    def step(self, step: int, batch: Sequence[Example], rate: float) -> float:
        """One optimiser step; gives its loss."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        with self._accelerator.autocast():
            loss = loss_at(self._model, batch, self._settings.seed, step, self._device)
        value = float(loss.detach())
        check_finite(value, batch, step, rate)
        self._accelerator.backward(loss)
        self._accelerator.clip_grad_norm_(
            list(self._parameters.values()), self._settings.optimizer.max_grad_norm
        )
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._adapters.project()
        self.losses.append(value)
        return value

    def save(self) -> None:
        """Write what resuming needs."""
        self._state.save(self._parameters, self._optimizer.optimizer, self.losses)


def _rate(settings: Settings, step: int) -> float:
    """The learning rate of a step (from 0): rises over the warm-up, then constant."""
    if step >= settings.schedule.warmup_steps:
        return settings.optimizer.learning_rate
    return settings.optimizer.learning_rate * (step + 1) / (settings.schedule.warmup_steps + 1)


def _memory(precision: Precision) -> int:
    """Bytes in use at the most: the accelerator's, else the process's."""
    if precision.device.type == "cuda":
        return torch.cuda.max_memory_allocated(precision.device)
    return int(psutil.Process().memory_info().rss)
