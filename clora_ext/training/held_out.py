"""The denoiser's error on noise that no step was trained with: the same draws for every model."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import torch

from clora_ext.config.precision import Precision
from clora_ext.families.model import Model
from clora_ext.strategies.objective import Example, NoisedBatch

from .objective import noised_batch, prediction_errors

__all__ = ["DRAWS", "held_out_losses", "spread"]

DRAWS = 32
"""How many: their differences before and after a training then stand out of their standard error."""

_LAST_SEED = 2**63 - 1  # training counts up from the user's seed, these count down


def spread(count: int) -> list[int]:
    """Which of ``count`` pictures each draw shows: all of them in turn, or of many an even choice.

    >>> spread(3)[:5], spread(128)[:3]
    ([0, 1, 2, 0, 1], [0, 4, 8])
    """
    shown = min(count, DRAWS)
    return [draw % shown * count // shown for draw in range(DRAWS)]


@torch.no_grad()
def held_out_losses(
    model: Model, examples: Sequence[Example], at_once: int, precision: Precision
) -> tuple[float, ...]:
    """The error of every draw; each has noise and time of its own, which follow from its number alone.

    Args:
        model: with or without adapters inside.
        examples: what each draw shows, of any sizes.
        at_once: pictures of one size that are predicted together.
        precision: where the model lies.
    """
    losses: dict[int, float] = {}
    for numbers in _same_sizes(examples, at_once):
        with precision.autocast():
            drawn = [noised_batch(model, [examples[n]], _rng(n), precision.device) for n in numbers]
            errors = prediction_errors(model, _joined(model, drawn))
        losses.update(zip(numbers, errors.tolist(), strict=True))
    return tuple(losses[number] for number in range(len(examples)))


def _rng(number: int) -> torch.Generator:
    """The source of one draw's noise and time, on the processor."""
    return torch.Generator().manual_seed(_LAST_SEED - number)


def _same_sizes(examples: Sequence[Example], at_once: int) -> Iterator[list[int]]:
    """Numbers of examples of one size, few at a time."""

    def size(number: int) -> tuple[int, ...]:
        return tuple(examples[number].mean.shape)

    for _, group in groupby(sorted(range(len(examples)), key=size), key=size):
        numbers = list(group)
        for start in range(0, len(numbers), at_once):
            yield numbers[start : start + at_once]


def _joined(model: Model, drawn: Sequence[NoisedBatch]) -> NoisedBatch:
    """Several batches as one, whose errors all count 1."""

    def all_of(name: str) -> torch.Tensor:
        return torch.cat([getattr(one, name) for one in drawn])

    return NoisedBatch(
        latents=all_of("latents"),
        noise=all_of("noise"),
        times=all_of("times"),
        noised=all_of("noised"),
        condition=model.collate([one.condition for one in drawn]),
    )
