"""What training minimises, as a value: a strategy may put its own in the place of the usual one."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from clora_ext.families.model import Conditioning, Model, SizeConditioning

__all__ = [
    "Denoising",
    "Example",
    "NoisedBatch",
    "Objective",
    "OwnReplay",
    "ReplayBatch",
    "TrainingAccess",
]


@dataclass(frozen=True, slots=True)
class Example:
    """A picture as the loop needs it.

    Attributes:
        mean: of its latents, (4, h, w), scaled, float32, on the processor.
        deviation: standard deviation of its latents, same shape.
        prompt: its caption.
        size_conditioning: how it was cut.
        condition: what the denoiser is given for it, first dimension 1; None: what the text encoder says of
            it changes while it is trained, so it is asked again in every step.
        weight: what its error counts.
        mask: what its error counts by place, (1, h, w), float32, on the processor; None: all alike.
        preserved: whether the model has to answer it as it did before the training, rather than with what was
            added to it.
    """

    mean: Tensor
    deviation: Tensor
    prompt: str
    size_conditioning: SizeConditioning
    condition: Conditioning | None
    weight: float = 1.0
    mask: Tensor | None = None
    preserved: bool = False


@dataclass(frozen=True, slots=True)
class NoisedBatch:
    """Pictures as the denoiser is shown them in one step, where the model lies.

    Attributes:
        latents: drawn from the pictures' distributions, (n, channels, h, w), float32.
        noise: of the same shape.
        times: (n,), from the model's process.
        noised: latents and noise in the proportion that belongs to the times.
        condition: what else the denoiser is given; has gradients where a text encoder is trained.
        weights: what the error of each counts, (n,), float32; None: all count 1.
        masks: what it counts by place, (n, 1, h, w), float32; None: everywhere alike.
        preserved: numbers of the pictures that have to be answered as before the training.
        answers: those answers, (len(preserved), channels, h, w), float32, without gradients; None: there are
            no such pictures.
    """

    latents: Tensor
    noise: Tensor
    times: Tensor
    noised: Tensor
    condition: Conditioning
    weights: Tensor | None = None
    masks: Tensor | None = None
    preserved: tuple[int, ...] = ()
    answers: Tensor | None = None


@dataclass(frozen=True, slots=True)
class ReplayBatch:
    """Points on sampling trajectories of the model before the training, and what it answers there.

    Attributes:
        latents: (r, channels, h, w), float32.
        times: (r,).
        condition: what the denoiser is given; has gradients where a text encoder is trained.
        answers: of the model before the training, of the latents' shape, float32, without gradients.
        share: in a job of several processes, how many points each of them has in the mean; this one's may be
            more, fewer or none. None: there is one process.
        is_filler: whether the points count nothing: other processes have some, and cannot make a pass without
            this one.
    """

    latents: Tensor
    times: Tensor
    condition: Conditioning
    answers: Tensor
    share: float | None = None
    is_filler: bool = False

    @property
    def counted(self) -> int:
        """How many points count."""
        return 0 if self.is_filler else len(self.times)

    @property
    def weight(self) -> float:
        """How many points a sum over these is divided by: the mean of all processes then is that of all."""
        return len(self.times) if self.share is None else self.share


class Objective(Protocol):
    """What a step minimises."""

    def loss(
        self, model: Model, batch: Sequence[Example], seed: int, step: int, device: torch.device
    ) -> Tensor:
        """A scalar, float32, that gradients flow through; all its randomness follows from (seed, step).

        In a job of several processes ``batch`` is the whole job's, and the loss that is minimised is the mean
        of what the processes give: each gives that of its part, as :class:`Denoising` and the replay of
        :class:`TrainingAccess` do.
        """
        ...


class Denoising(Objective, Protocol):
    """The usual objective, which can also be had in two halves: for one forward pass with other inputs."""

    def show(
        self, model: Model, batch: Sequence[Example], seed: int, step: int, device: torch.device
    ) -> NoisedBatch:
        """What the denoiser is shown in a step."""
        ...

    def error(self, model: Model, shown: NoisedBatch, predicted: Tensor) -> Tensor:
        """The loss of the denoiser's predictions (n, channels, h, w) for it: a scalar, float32."""
        ...


@dataclass(frozen=True, slots=True)
class TrainingAccess:
    """What an objective of a strategy's own can reach.

    Attributes:
        model: with the adapter inside.
        without_adapter: while it is entered, the network computes with the frozen weights alone: where the
            adapter starts at zero, as the model did before the training.
        replay: what the strategy wants the model before to be asked again, by step (from 0); None: it asked
            for nothing.
        own: the same of the step's own pictures, by what is shown, the pictures and the step; None: likewise.
    """

    model: Model
    without_adapter: Callable[[], AbstractContextManager[None]]
    replay: Callable[[int], ReplayBatch] | None = None
    own: "OwnReplay | None" = None


OwnReplay = Callable[[NoisedBatch, Sequence[Example], int], ReplayBatch | None]
"""Pictures of a step (from 0), noised as they are shown in it, asked again by other words; None: none."""
