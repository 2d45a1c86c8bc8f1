"""What training minimises, as a value: a strategy may put its own in the place of the usual one."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from clora_ext.families.base import Conditioning, Model, SizeConditioning

__all__ = ["Example", "Objective", "ReplayItem", "TrainingAccess"]


@dataclass(frozen=True, slots=True)
class Example:
    """A picture as the loop needs it.

    Attributes:
        mean: of its latents, (4, h, w), scaled, float32, on the processor.
        deviation: standard deviation of its latents, same shape.
        prompt: its caption.
        size_conditioning: how it was cut.
        condition: what the denoiser is given for it, first dimension 1; None: the text encoder is trained,
            so it is asked again in every step.
    """

    mean: Tensor
    deviation: Tensor
    prompt: str
    size_conditioning: SizeConditioning
    condition: Conditioning | None


@dataclass(frozen=True, slots=True)
class ReplayItem:
    """One step of a sampling trajectory of the model before the training, on the processor.

    Attributes:
        prompt: that was sampled.
        latents: what the denoiser read, (1, channels, h, w), float32.
        time: at which, as the denoiser was told, (1,).
        output: what the denoiser answered, of the latents' shape, float32.
        condition: what the prompt says to the denoiser, first dimension 1, float32.
    """

    prompt: str
    latents: Tensor
    time: Tensor
    output: Tensor
    condition: Conditioning


class Objective(Protocol):
    """What a step minimises."""

    def loss(
        self, model: Model, batch: Sequence[Example], seed: int, step: int, device: torch.device
    ) -> Tensor:
        """A scalar, float32, that gradients flow through; all its randomness follows from (seed, step)."""
        ...


@dataclass(frozen=True, slots=True)
class TrainingAccess:
    """What an objective of a strategy's own can reach.

    Attributes:
        model: with the adapter inside.
        replay: what the strategy asked to be recorded.
        without_adapter: while it is entered, the network computes with the frozen weights alone: where the
            adapter starts at zero, as the model did before the training.
    """

    model: Model
    replay: Sequence[ReplayItem]
    without_adapter: Callable[[], AbstractContextManager[None]]
