"""One tensor in the making, some rows at a time: in the checkpoint, and what rounding loses in the memory."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from clora_ext.adapters.factors import tile_rows
from clora_ext.adapters.scratch import Scratch
from clora_ext.formats.stored import check_finite, raw
from clora_ext.formats.writer import Part

from .residual import HALVES, residual

__all__ = ["TensorPair", "blocks"]

_BLOCK = 3 << 16  # elements: many enough for calls to cost little, and some blocks still fit into a cache


@dataclass(frozen=True, slots=True)
class TensorPair:
    """The places of one tensor: in the checkpoint, and in the memory if that keeps anything of it."""

    name: str
    dtype: torch.dtype
    place: Part
    beside: Part | None
    scratch: Scratch

    def put_exact(self, exact: Tensor) -> None:
        """Append rows: rounded once, and what the rounding loses."""
        stored = self.scratch.take("stored", exact.shape, self.dtype).copy_(exact)
        check_finite(self.name, stored)
        self.put(stored, exact)

    def put(self, stored: Tensor, exact: Tensor) -> None:
        """Append rows as they are stored, and what they lack of their exact values."""
        self.place.write(raw(stored))
        if self.beside is not None:
            half = self.dtype in HALVES
            self.beside.write(raw(residual(exact, stored, self.scratch) if half else exact.contiguous()))


def blocks(start: int, stop: int, columns: int) -> Iterator[tuple[int, int]]:
    """First and last of some rows at a time; whole tiles, so that deltas have the bits of a whole layer's."""
    tile = tile_rows(columns)
    step = tile * max(1, _BLOCK // max(1, tile * columns))
    for first in range(start, stop, step):
        yield first, min(first + step, stop)
