"""Sampling trajectories of the model before a training, recorded for objectives that hold on to them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from clora_ext.families.base import Model, SizeConditioning
from clora_ext.strategies.objective import ReplayItem

__all__ = ["record_replay"]


@torch.no_grad()
def record_replay(
    model: Model, prompts: Sequence[str], size: int, sample: Callable[[str], object]
) -> list[ReplayItem]:
    """Every step that the denoiser takes while prompts are sampled.

    Args:
        model: before the training.
        prompts: what to sample.
        size: side of the pictures, pixels.
        sample: samples one picture of one prompt with ``model``.
    """
    items: list[ReplayItem] = []
    for prompt in prompts:
        encoded = model.condition([prompt], [SizeConditioning((size, size), (0, 0), (size, size))])
        condition = {name: value.float().cpu() for name, value in encoded.items()}
        with _listening(model.denoiser) as calls:
            sample(prompt)
        items += [ReplayItem(prompt, *call, condition) for call in calls]
    return items


@contextmanager
def _listening(denoiser: nn.Module) -> Iterator[list[tuple[Any, Any, Any]]]:
    """While it is entered, (latents, time, output) of every call is noted."""
    calls: list[tuple[Any, Any, Any]] = []

    def note(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401 - a hook
        del module
        latents, time = arguments[:2]
        answer = output[0] if isinstance(output, tuple) else output.sample
        # Guidance asks twice in one batch; the prompt's own half comes last.
        calls.append((latents[-1:].float().cpu(), time.reshape(-1)[-1:].cpu(), answer[-1:].float().cpu()))

    handle = denoiser.register_forward_hook(note)
    try:
        yield calls
    finally:
        handle.remove()
