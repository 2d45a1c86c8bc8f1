"""One resumable training loop: schedule, average of the weights, checkpoints, progress lines."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from replicas import Replicas
from torch import Tensor, nn

SAVE_SECONDS = 240.0
"""A checkpoint is written this often."""

REPORT_SECONDS = 20.0
"""A progress line is written this often."""


FIRST_SHOWN = 500
"""The step of the first sheet."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A learning rate: warm-up, constant, a linear decay to zero over the last ``decay`` of all ``steps``.

    A checkpoint of the constant part can be continued with more ``steps``: until the decay nothing differs.
    """

    steps: int
    decay: int
    rate: float
    warm_up: int = 100

    def at(self, step: int) -> float:
        """The learning rate of the step with this index.

        >>> [Schedule(steps=10, decay=4, rate=1.0, warm_up=2).at(step) for step in (0, 1, 5, 6, 9)]
        [0.5, 1.0, 1.0, 1.0, 0.25]
        """
        rising = min(1.0, (step + 1) / self.warm_up)
        falling = min(1.0, (self.steps - step) / self.decay) if self.decay else 1.0
        return self.rate * min(rising, falling)


class Task(Protocol):
    """What a training is about: a network, and the loss of a batch drawn with a generator."""

    batch: int

    @property
    def network(self) -> nn.Module:
        """What is trained."""

    def loss(self, count: int, rng: torch.Generator) -> Tensor:
        """The mean loss of the network on ``count`` fresh examples, drawn with ``rng``."""

    def show(self, step: int) -> str:
        """Write sheets or measure, with the averaged weights in place; returns a line to print."""


class Average:
    """An exponential average of a network's parameters, faster at first."""

    def __init__(self, network: nn.Module, keep: float = 0.9995) -> None:
        self._keep = keep
        self._live = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.values = [parameter.detach().clone() for parameter in self._live]

    def update(self, step: int) -> None:
        """Move a little towards the live weights."""
        keep = min(self._keep, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(self.values, [parameter.data for parameter in self._live], 1 - keep)

    def swap(self) -> None:
        """Exchange the live weights with the average; a second call exchanges them back."""
        with torch.no_grad():
            for parameter, value in zip(self._live, self.values, strict=True):
                kept = parameter.detach().clone()
                parameter.copy_(value)
                value.copy_(kept)


class Trainer:
    """Trains a task in a folder; the same call continues from the last checkpoint."""

    def __init__(
        self, task: Task, folder: Path, schedule: Schedule, seed: int, show_seconds: float = 600.0
    ) -> None:
        self.task, self.folder, self.schedule = task, folder, schedule
        self._replicas = Replicas(task, torch.get_num_threads())
        self.show_seconds = show_seconds
        self.rng = torch.Generator().manual_seed(seed)
        self.average = Average(task.network)
        parameters = [parameter for parameter in task.network.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(
            parameters, lr=0.0, betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )
        self.step = 0
        self._stop = False
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        """The file that a later run continues from."""
        return self.folder / "checkpoint.pt"

    @property
    def constant(self) -> Path:
        """The checkpoint from just before the decay: what a run with more steps continues from."""
        return self.folder / "constant.pt"

    def resume(self) -> bool:
        """Continue from a checkpoint if there is one that this schedule can use."""
        if not self.checkpoint.exists():
            return False
        state = torch.load(self.checkpoint, weights_only=True)
        steps, decay = state["schedule"]
        if state["step"] > steps - decay and (steps, decay) != (self.schedule.steps, self.schedule.decay):
            state = torch.load(self.constant, weights_only=True)
        self.task.network.load_state_dict(state["network"])
        for value, saved in zip(self.average.values, state["average"], strict=True):
            value.copy_(saved)
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.set_state(state["rng"])
        self.step = int(state["step"])
        return True

    def save(self) -> None:
        """Write the checkpoint beside its name and rename it, so that a kill leaves the old one."""
        self._write(self.checkpoint)

    def _write(self, file: Path) -> None:
        state: Mapping[str, Any] = {  # unlike things: tensors, the optimiser's nest, numbers
            "network": self.task.network.state_dict(),
            "average": self.average.values,
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.get_state(),
            "step": self.step,
            "schedule": (self.schedule.steps, self.schedule.decay),
        }
        temporary = file.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(file)

    def train(self) -> bool:
        """Run to the end of the schedule; False when a signal stopped it (its checkpoint is saved)."""
        say(
            f"{'continuing at' if self.resume() else 'starting at'} step {self.step} of {self.schedule.steps}"
        )
        earlier = {kind: signal.signal(kind, self._on_signal) for kind in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._loop()
        finally:
            for kind, handler in earlier.items():
                signal.signal(kind, handler)
        self.save()
        self._show()
        return not self._stop

    def _loop(self) -> None:
        saved = shown = reported = time.monotonic()
        losses: list[float] = []
        self.task.network.train()
        while self.step < self.schedule.steps and not self._stop:
            if self.step == self.schedule.steps - self.schedule.decay:
                self._write(self.constant)
            losses.append(self._one_step())
            now = time.monotonic()
            if now - reported > REPORT_SECONDS:
                say(self._line(losses, now - reported))
                reported, losses = now, []
            if now - saved > SAVE_SECONDS:
                self.save()
                saved = now
            if now - shown > self.show_seconds or self.step == FIRST_SHOWN:
                self._show()
                reported = shown = time.monotonic()
                losses = []

    def _one_step(self) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.at(self.step)
        value = self._replicas.gradients(self.rng)
        if not math.isfinite(value):
            raise FloatingPointError(f"loss is {value} at step {self.step}; the checkpoint before it is kept")
        nn.utils.clip_grad_norm_(self.task.network.parameters(), 1.0)
        self.optimizer.step()
        self.average.update(self.step)
        self.step += 1
        return value

    def _show(self) -> None:
        self.average.swap()
        self.task.network.eval()
        with torch.no_grad():
            say(f"step {self.step}: {self.task.show(self.step)}")
        self.task.network.train()
        self.average.swap()

    def _line(self, losses: list[float], seconds: float) -> str:
        each = seconds / len(losses)
        minutes = (self.schedule.steps - self.step) * each / 60
        return (
            f"step {self.step}/{self.schedule.steps}  loss {sum(losses) / len(losses):.4f}  "
            f"{each:.3f} s/step  {self.task.batch / each:.0f} images/s  {minutes:.1f} min left"
        )

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop = True


def say(line: str, write: Callable[[str], object] = sys.stdout.write) -> None:
    """One line of progress, with the time."""
    write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()
