"""Changes of weights that are products of small tensors, but no pair of factors: LoHa's and LoKr's.

Both are computed row by row, so that a fold never needs the whole of a large layer's change.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .factors import Factors

__all__ = ["HadamardDelta", "KroneckerDelta"]


@dataclass(frozen=True, slots=True)
class HadamardDelta:
    """The elementwise product of two low-rank matrices (FedPara, arXiv 2108.06098; LyCORIS calls it LoHa).

    Attributes:
        first: one of them, as an adapter of strength 1.
        second: the other.
        scale: what their product is multiplied by, alpha / rank.
    """

    first: Factors
    second: Factors
    scale: float

    @property
    def rank(self) -> int:
        """The product of the two ranks, or the smaller side."""
        sides = self.first.up.shape[0], self.first.down.shape[1]
        return min(self.first.rank * self.second.rank, *sides)

    def delta(self) -> Tensor:
        """The change, (out, in)."""
        return self.first.delta().mul_(self.second.delta()).mul_(self.scale)

    def rows(self, start: int, stop: int) -> "HadamardDelta":
        """These rows of both."""
        return HadamardDelta(self.first.rows(start, stop), self.second.rows(start, stop), self.scale)

    def scaled(self, strength: float) -> "HadamardDelta":
        """``strength`` times the change."""
        return replace(self, scale=self.scale * strength)


@dataclass(frozen=True, slots=True)
class KroneckerDelta:
    """The Kronecker product of two matrices (arXiv 2212.10650; LyCORIS calls it LoKr), or some of its rows.

    Row p * b + q of the whole is row p of ``left`` times row q of ``right``.

    Attributes:
        left: (a, c), float32.
        right: (b, d * kernel height * kernel width), float32; the whole is (a * b, c * d * height * width).
        scale: what their product is multiplied by.
        first: the first row of the whole.
        last: one past the last.
    """

    left: Tensor
    right: Tensor
    scale: float
    first: int
    last: int

    @staticmethod
    def of(left: Tensor, right: Tensor, scale: float) -> "KroneckerDelta":
        """The whole product."""
        return KroneckerDelta(left, right, scale, 0, left.shape[0] * right.shape[0])

    @property
    def rank(self) -> int:
        """The product of the two matrices' smaller sides, at most the rows."""
        return min(min(self.left.shape) * min(self.right.shape), self.last - self.first)

    def delta(self) -> Tensor:
        """The change, (last - first, columns).

        >>> KroneckerDelta.of(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]), 1.0).delta()
        tensor([[3., 4., 6., 8.]])
        """
        row = torch.arange(self.first, self.last)
        height = self.right.shape[0]
        left, right = self.left[row // height], self.right[row % height]
        return (left.unsqueeze(2) * right.unsqueeze(1)).flatten(1).mul_(self.scale)

    def rows(self, start: int, stop: int) -> "KroneckerDelta":
        """These rows."""
        return replace(self, first=self.first + start, last=self.first + stop)

    def scaled(self, strength: float) -> "KroneckerDelta":
        """``strength`` times the change."""
        return replace(self, scale=self.scale * strength)
