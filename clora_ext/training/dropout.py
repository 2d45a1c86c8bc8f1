"""Parts of the LoRA that a step leaves out, as sd-scripts' ``network_dropout`` and its kin have them.

What is left out follows from the seed, the number of the batch and the layer's name alone: a resumed run
leaves out the same, and so does a forward pass that is computed again for its gradients.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from clora_ext.config.processes import ALONE, Place
from clora_ext.config.settings import NetworkSettings

__all__ = ["Dropout"]

_SEEDS = 2**63


class Dropout:
    """Leaves out parts of what the down halves of LoRAs give, while a batch is trained on.

    Args:
        settings: how much of it.
        seed: of the run.
        place: of this process: chance is drawn for the pictures of all, of which it has its part.
    """

    def __init__(self, settings: NetworkSettings, seed: int, place: Place = ALONE) -> None:
        self._settings = settings
        self._seed = seed
        self._place = place
        self._batch: int | None = None

    def attach(self, name: str, down: nn.Module) -> None:
        """From now on, the layer's down half is affected."""
        down.register_forward_hook(partial(self._left, name))

    def attach_layer(self, name: str, module: nn.Module) -> None:
        """From now on, a module that gives a layer's whole change gives nothing where that is left out."""
        module.register_forward_hook(partial(self._left_layer, name))

    @contextmanager
    def at(self, batch: int) -> Iterator[None]:
        """While it is entered, this batch is trained on (from 0); else nothing is left out."""
        self._batch = batch
        try:
            yield
        finally:
            self._batch = None

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # chance is drawn by a seed that changes
    def _left(self, name: str, module: nn.Module, inputs: object, numbers: Tensor) -> Tensor | None:
        """What is left of numbers (pictures, ..., rank), or of a convolution's (pictures, rank, h, w)."""
        del inputs
        if self._batch is None:
            return None
        rng = torch.Generator(numbers.device).manual_seed(self._seed_of(name))
        channels = 1 if isinstance(module, nn.Conv2d) else -1
        return numbers * self.mask(numbers, channels, rng)

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # as above
    def _left_layer(self, name: str, module: nn.Module, inputs: object, numbers: Tensor) -> Tensor | None:
        """All of the numbers or none, by the chance that decides first in :meth:`mask`."""
        del module, inputs
        if self._batch is None or not self._settings.module_dropout:
            return None
        rng = torch.Generator(numbers.device).manual_seed(self._seed_of(name))
        kept = torch.rand((), generator=rng, device=numbers.device) >= self._settings.module_dropout
        return numbers * kept.to(numbers.dtype)

    def mask(self, numbers: Tensor, channels: int, rng: torch.Generator) -> Tensor:
        """What numbers are multiplied by: 0 where they are left out, else what makes up for it.

        Whole layers are not made up for, as in sd-scripts.

        Args:
            numbers: (pictures, ...), whatever they are.
            channels: axis of the ranks.
            rng: on their device.

        Returns:
            Of their dtype, broadcast to their shape.
        """
        settings, shape = self._settings, numbers.shape
        own = slice(self._place.rank * shape[0], (self._place.rank + 1) * shape[0])

        def kept(shape: tuple[int, ...], share: float) -> Tensor:
            of_all = (shape[0] * self._place.size, *shape[1:]) if shape else shape
            drawn = torch.rand(of_all, generator=rng, device=numbers.device) >= share
            return drawn[own] if shape else drawn

        mask = torch.ones((), device=numbers.device)
        if settings.module_dropout:
            mask = mask * kept((), settings.module_dropout)
        if settings.network_dropout:
            mask = mask * kept(shape, settings.network_dropout) / (1 - settings.network_dropout)
        if settings.rank_dropout:
            ranks = [1] * numbers.ndim
            ranks[0], ranks[channels] = shape[0], shape[channels]
            mask = mask * kept(tuple(ranks), settings.rank_dropout) / (1 - settings.rank_dropout)
        return mask.to(numbers.dtype)

    def _seed_of(self, name: str) -> int:
        text = f"{self._seed}/{self._batch}/{name}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % _SEEDS
