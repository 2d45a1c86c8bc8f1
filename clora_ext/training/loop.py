"""The training loop: adapters on a frozen model, exact resumption.

Every step's pictures, noise and timesteps follow from (seed, step) alone, so a run that was stopped and
resumed takes the same steps, bit for bit on a processor, as one that was not.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from accelerate import Accelerator

from clora_ext.config.precision import Precision
from clora_ext.config.settings import Settings
from clora_ext.errors import Cancelled
from clora_ext.events import Sink, TrainStep
from clora_ext.families.base import Model
from clora_ext.strategies.objective import Example, Objective

from .adapters import Adapters
from .objective import check_finite
from .state import TrainingState

__all__ = ["Training", "train"]

_SAVE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Training:
    """Everything that one training is made of.

    Attributes:
        model: loaded with the frozen weights; the adapters are inside.
        adapters: what is trained.
        objective: what is minimised.
        examples: the pictures.
        batch_at: indices into ``examples`` of the pictures of a step (from 0); of one size each.
        settings: steps, rate, seed, ...
        precision: where the model lies.
        state_file: where a stopped run leaves its state; it is read if it belongs to ``fingerprint``.
        fingerprint: identifies the plan, so that another plan's state is never resumed.
    """

    model: Model
    adapters: Adapters
    objective: Objective
    examples: Sequence[Example]
    batch_at: Callable[[int], Sequence[int]]
    settings: Settings
    precision: Precision
    state_file: Path
    fingerprint: str


def train(
    training: Training, sink: Sink, after_step: Callable[[int], None] = lambda step: None
) -> tuple[float, ...]:
    """Train the adapters in place; give every step's loss.

    Args:
        training: what to train.
        sink: told of every step; raising Cancelled in it saves the state and stops.
        after_step: called after every step with the number of steps done; may raise Cancelled too.

    Raises:
        TrainingError: the loss is NaN or infinite.
        Cancelled: as raised by ``sink``, after the state has been saved.
    """
    run = _Run(training)
    steps = training.settings.schedule.steps
    saved = time.monotonic()
    for step in range(len(run.losses), steps):
        began = time.monotonic()
        rate = _rate(training.settings, step)
        loss = run.step(step, rate)
        seconds = time.monotonic() - began
        try:
            sink(TrainStep(step + 1, steps, loss, rate, seconds, _memory(training.precision)))
            after_step(step + 1)
        except (Cancelled, KeyboardInterrupt):
            run.save()
            raise
        if time.monotonic() - saved > _SAVE_SECONDS:
            run.save()
            saved = time.monotonic()
    run.save()
    for component in training.adapters.components:
        component.eval()
    return tuple(run.losses)


class _Run:
    """Optimiser and losses of one training, as far as it has come."""

    def __init__(self, training: Training) -> None:
        settings, precision = training.settings, training.precision
        self._training = training
        self._state = TrainingState(training.state_file, training.fingerprint)
        self._parameters = training.adapters.parameters
        self._accelerator = Accelerator(mixed_precision=precision.mixed, cpu=precision.device.type == "cpu")
        adamw = torch.optim.AdamW(
            list(self._parameters.values()),
            lr=settings.optimizer.learning_rate,
            weight_decay=settings.optimizer.weight_decay,
        )
        self.losses = self._state.restore(self._parameters, adamw)
        self._optimizer = self._accelerator.prepare(adamw)
        for component in training.adapters.components:
            component.train()
        if settings.compute.gradient_checkpointing:
            training.model.recompute_activations()

    def step(self, step: int, rate: float) -> float:
        """One optimiser step; gives its loss."""
        training = self._training
        batch = [training.examples[index] for index in training.batch_at(step)]
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        with self._accelerator.autocast():
            loss = training.objective.loss(
                training.model, batch, training.settings.seed, step, training.precision.device
            )
        penalty = training.adapters.penalty()
        loss = loss if penalty is None else loss + penalty
        value = float(loss.detach())
        check_finite(value, batch, step, rate)
        self._accelerator.backward(loss)
        largest = training.settings.optimizer.max_grad_norm
        self._accelerator.clip_grad_norm_(list(self._parameters.values()), largest)
        self._optimizer.step()
        self._optimizer.zero_grad()
        training.adapters.project()
        self.losses.append(value)
        return value

    def save(self) -> None:
        """Write what resuming needs."""
        self._state.save(self._parameters, self._optimizer.optimizer, self.losses)


def _rate(settings: Settings, step: int) -> float:
    """The learning rate of a step (from 0): rises over the warm-up, then constant."""
    rate, warmup = settings.optimizer.learning_rate, settings.schedule.warmup_steps
    if step >= warmup:
        return rate
    return rate * (step + 1) / (warmup + 1)


def _memory(precision: Precision) -> int:
    """Bytes in use at the most: the accelerator's, else the process's."""
    if precision.device.type == "cuda":
        return torch.cuda.max_memory_allocated(precision.device)
    return int(psutil.Process().memory_info().rss)
