"""How much a loss depends on each weight of a layer, in as many numbers as the layer has sides."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["SquaredGradients"]


@dataclass(frozen=True, slots=True)
class SquaredGradients:
    """E[(dL/dW)^2] of a layer, factored: F_ij is taken to be rows_i * columns_j / sum(rows).

    That is exact where F is of rank one, and otherwise the nearest of rank one by Kullback-Leibler divergence
    (Adafactor, arXiv 1804.04235, section 3). Both sums are the sum of F.

    Attributes:
        rows: sums of F over the columns, (out,), float32.
        columns: sums of F over the rows, (in,), float32.
    """

    rows: Tensor
    columns: Tensor

    @classmethod
    def none(cls, shape: tuple[int, int]) -> "SquaredGradients":
        """Zeros for a layer of ``shape`` (out, in)."""
        return cls(torch.zeros(shape[0]), torch.zeros(shape[1]))

    @classmethod
    def of(cls, gradient: Tensor) -> "SquaredGradients":
        """Of one gradient, (out, in)."""
        squares = gradient.float().square()
        return cls(squares.sum(dim=1), squares.sum(dim=0))

    def plus(self, other: "SquaredGradients") -> "SquaredGradients":
        """The sum of both."""
        return SquaredGradients(self.rows + other.rows, self.columns + other.columns)

    def times(self, factor: float) -> "SquaredGradients":
        """All of it ``factor`` times."""
        return SquaredGradients(self.rows * factor, self.columns * factor)

    def to(self, device: torch.device) -> "SquaredGradients":
        """The same on ``device``."""
        return SquaredGradients(self.rows.to(device), self.columns.to(device))
