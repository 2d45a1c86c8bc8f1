"""Memory for the arithmetic of one block of rows, taken again for the next block.

A tensor that is new costs more than what is computed in it: the system clears its pages, and no processor's
cache has seen them.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

__all__ = ["Scratch"]


class Scratch:
    """Tensors by name. A thread has its own."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, torch.dtype], Tensor] = {}
        self._taken: dict[tuple[str, torch.dtype, tuple[int, ...]], Tensor] = {}

    def take(self, name: str, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """A contiguous tensor of whatever values, valid until one of that name and dtype is taken again.

        >>> scratch = Scratch()
        >>> near = scratch.take("near", (2, 3))
        >>> scratch.take("near", (3, 2)).data_ptr() == near.data_ptr()
        True
        """
        key = name, dtype, tuple(shape)
        taken = self._taken.get(key)  # the same shapes come again and again
        if taken is None:
            taken = self._taken[key] = self._room(name, dtype, prod(shape)).view(key[2])
        return taken

    def _room(self, name: str, dtype: torch.dtype, size: int) -> Tensor:
        """So many elements; if there were fewer, tensors that were taken there let go of it."""
        kept = self._kept.get((name, dtype))
        if kept is None or kept.numel() < size:
            kept = self._kept[name, dtype] = torch.empty(size, dtype=dtype)
            self._taken = {key: tensor for key, tensor in self._taken.items() if key[:2] != (name, dtype)}
        return kept[:size]
