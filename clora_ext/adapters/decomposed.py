"""Adapters that change a weight's direction and set its magnitude (DoRA, arXiv 2402.09353)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from .delta import Delta
from .factors import Factors, tile_rows

__all__ = ["DecomposedAdapter", "DecomposedDelta", "RowReader", "TrainedDecomposition"]

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
        growth = (self.magnitude.double() / norm - 1).float()
        if self.axis == "output":
            growth = growth.unsqueeze(1)
        else:
            growth = growth.repeat_interleave(shape[1] // growth.shape[0]).unsqueeze(0)
        return DecomposedDelta(weight, self.direction, growth, self.strength, 0, shape[0], shape[1])

    def _squares(self, weight: RowReader, shape: tuple[int, int]) -> Tensor:
        """The squared norms of W + direction, float64, one for every magnitude."""
        squares = torch.zeros(self.magnitude.shape, dtype=torch.float64)
        for start, stop, block in _blocks(weight, shape):
            changed = _squared(block, self.direction.rows(start, stop))
            if self.axis == "output":
                squares[start:stop] = changed.sum(dim=1)
            else:
                squares += changed.sum(dim=0).reshape(squares.shape[0], -1).sum(dim=1)
        return squares


@dataclass(frozen=True, slots=True)
class TrainedDecomposition:
    """A pair of factors that was trained with a magnitude for every output.

    Its weight is m * V / norm(V), V = W + delta. The magnitudes began as the norms of the weight that was
    trained on, perhaps a rounded one: what is folded is what they have grown by, on the norms of the exact
    one. So an adapter that has learned nothing changes nothing, bit for bit.

    Attributes:
        factors: of V - W.
        growth: the magnitudes less what they began as, (out,), float64.
        started: the factors when the magnitudes began as the norms of W + their delta; None: they changed
            nothing.
    """

    factors: Factors
    growth: Tensor
    started: Factors | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return self.factors.up.shape[0], self.factors.down.shape[1]

    def over(self, weight: RowReader) -> "DecomposedDelta":
        """The change of a weight; see :meth:`DecomposedAdapter.over`."""
        before, after = self._norms(weight)
        growth = ((before + self.growth) / after.clamp_min(_EPSILON) - 1).float()
        return DecomposedDelta(weight, self.factors, growth.unsqueeze(1), 1.0, 0, *self.shape)

    def magnitude(self, weight: RowReader) -> Tensor:
        """What the outputs' rows of that weight have the norms of, (out,), float32."""
        return (self._norms(weight)[0] + self.growth).float()

    def _norms(self, weight: RowReader) -> tuple[Tensor, Tensor]:
        """Of the rows before the training, and of V; float64."""
        before, after = (torch.zeros(self.shape[0], dtype=torch.float64) for _ in range(2))
        for start, stop, block in _blocks(weight, self.shape):
            began = None if self.started is None else self.started.rows(start, stop)
            before[start:stop] = _squared(block, began).sum(dim=1)
            after[start:stop] = _squared(block, self.factors.rows(start, stop)).sum(dim=1)
        return before.sqrt_(), after.sqrt_()


@dataclass(frozen=True, slots=True)
class DecomposedDelta:
    """The change that a DoRA makes to one weight, or to some of its rows.

    Attributes:
        weight: reads rows of the whole weight.
        direction: the change of these rows before the norm is taken.
        growth: magnitude / norm - 1, (rows, 1) or (1, in), float32.
        strength: what the change is multiplied by.
        first: the first row.
        last: one past the last.
        columns: of the weight.
    """

    weight: RowReader
    direction: Delta
    growth: Tensor
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
        # As (W + direction) * (1 + growth) - W, what is small would be rounded as W is.
        stretched = self.weight(self.first, self.last) * self.growth
        return stretched.add_(self.direction.delta().mul_(1 + self.growth)).mul_(self.strength)

    def rows(self, start: int, stop: int) -> "DecomposedDelta":
        """These rows."""
        growth = self.growth if self.growth.shape[0] == 1 else self.growth[start:stop]
        return replace(
            self,
            direction=self.direction.rows(start, stop),
            growth=growth,
            first=self.first + start,
            last=self.first + stop,
        )

    def scaled(self, strength: float) -> "DecomposedDelta":
        """``strength`` times the change."""
        return replace(self, strength=self.strength * strength)


def _blocks(weight: RowReader, shape: tuple[int, int]) -> Iterator[tuple[int, int, Tensor]]:
    """A weight of (out, in), some rows at a time: the first, one past the last, and they."""
    step = tile_rows(shape[1])
    for start in range(0, shape[0], step):
        stop = min(start + step, shape[0])
        yield start, stop, weight(start, stop)


def _squared(block: Tensor, change: Delta | None) -> Tensor:
    """The squares of rows of a weight and a change of them, float64."""
    return (block if change is None else block + change.delta()).double().square_()
