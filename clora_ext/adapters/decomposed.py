"""Adapters that change a weight's direction and set its magnitude (DoRA, arXiv 2402.09353)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from .delta import Delta
from .factors import tile_rows

__all__ = ["DecomposedAdapter", "DecomposedDelta", "RowReader"]

RowReader = Callable[[int, int], Tensor]
"""Gives rows (first, one past the last) of a layer's weight, (rows, in), float32."""

# What LyCORIS and ComfyUI add to a norm, so that rows of zeros stay zeros.
_EPSILON = torch.finfo(torch.float32).eps


@dataclass(frozen=True, slots=True)
class DecomposedAdapter:
    """A DoRA that does not know yet which weight it is for.

    Its weight is magnitude * (W + direction) / norm(W + direction), the norm taken as LyCORIS, OneTrainer and
    PEFT take it in training. The change is that minus W: it is fixed only when W is.

    Attributes:
        direction: the change before the norm is taken; (out, in).
        magnitude: float32, one-dimensional.
        axis: what it is the magnitude of: every output's row (PEFT, LyCORIS' ``wd_on_out``), or every input's
            column (of a convolution: as many columns as the kernel has places).
        strength: what the change is multiplied by.
    """

    direction: Delta
    magnitude: Tensor
    axis: Literal["output", "input"]
    strength: float = 1.0

    def scaled(self, strength: float) -> "DecomposedAdapter":
        """``strength`` times the change."""
        return replace(self, strength=self.strength * strength)

    def over(self, weight: RowReader, shape: tuple[int, int]) -> "DecomposedDelta":
        """The change of a weight.

        Args:
            weight: reads its rows; it is asked for all of them now, and again whenever rows are computed.
            shape: (out, in) of the weight.
        """
        norm = self._squares(weight, shape).sqrt_() + _EPSILON
        ratio = (self.magnitude.double() / norm).float()
        if self.axis == "output":
            ratio = ratio.unsqueeze(1)
        else:
            ratio = ratio.repeat_interleave(shape[1] // ratio.shape[0]).unsqueeze(0)
        return DecomposedDelta(weight, self.direction, ratio, self.strength, 0, shape[0], shape[1])

    def _squares(self, weight: RowReader, shape: tuple[int, int]) -> Tensor:
        """The squared norms of W + direction, float64, one for every magnitude."""
        squares = torch.zeros(self.magnitude.shape, dtype=torch.float64)
        step = tile_rows(shape[1])
        for start in range(0, shape[0], step):
            stop = min(start + step, shape[0])
            block = (weight(start, stop) + self.direction.rows(start, stop).delta()).double().square_()
            if self.axis == "output":
                squares[start:stop] = block.sum(dim=1)
            else:
                squares += block.sum(dim=0).reshape(squares.shape[0], -1).sum(dim=1)
        return squares


@dataclass(frozen=True, slots=True)
class DecomposedDelta:
    """The change that a DoRA makes to one weight, or to some of its rows.

    Attributes:
        weight: reads rows of the whole weight.
        direction: the change of these rows before the norm is taken.
        ratio: magnitude / norm, (rows, 1) or (1, in).
        strength: what the change is multiplied by.
        first: the first row.
        last: one past the last.
        columns: of the weight.
    """

    weight: RowReader
    direction: Delta
    ratio: Tensor
    strength: float
    first: int
    last: int
    columns: int

    @property
    def rank(self) -> int:
        """The smaller side: the magnitudes change all directions."""
        return min(self.last - self.first, self.columns)

    def delta(self) -> Tensor:
        """The change, (last - first, in)."""
        weight = self.weight(self.first, self.last)
        return (weight + self.direction.delta()).mul_(self.ratio).sub_(weight).mul_(self.strength)

    def rows(self, start: int, stop: int) -> "DecomposedDelta":
        """These rows."""
        ratio = self.ratio if self.ratio.shape[0] == 1 else self.ratio[start:stop]
        return replace(
            self,
            direction=self.direction.rows(start, stop),
            ratio=ratio,
            first=self.first + start,
            last=self.first + stop,
        )

    def scaled(self, strength: float) -> "DecomposedDelta":
        """``strength`` times the change."""
        return replace(self, strength=self.strength * strength)
