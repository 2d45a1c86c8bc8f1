"""A change of one layer's weight, seen row by row: what is folded, whatever it was trained as."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from .factors import Factors
from .scratch import Scratch

__all__ = ["Delta", "DenseDelta", "delta_in"]


class Delta(Protocol):
    """A change of a weight of shape (out, in).

    Low-rank factors (:class:`clora_ext.adapters.factors.Factors`) are one kind, products of other adapters
    (:class:`clora_ext.adapters.products.HadamardDelta`) others; a change of a norm or a bias has a value for
    every number (:class:`DenseDelta`).
    """

    @property
    def rank(self) -> int:
        """An upper bound of the change's rank."""
        ...

    def delta(self) -> Tensor:
        """The change itself, (out, in), float32, memory of its own."""
        ...

    def rows(self, start: int, stop: int) -> "Delta":
        """The change of the layer's rows ``start`` to ``stop``; from a tile's bound on, the very bits."""
        ...

    def scaled(self, strength: float) -> "Delta":
        """``strength`` times the change."""
        ...


@dataclass(frozen=True, slots=True)
class DenseDelta:
    """A change with a value of its own for every weight.

    Attributes:
        change: (out, in), float32; of a vector (a norm, a bias) (out, 1).
    """

    change: Tensor

    @property
    def rank(self) -> int:
        """The smaller side."""
        return min(self.change.shape)

    def delta(self) -> Tensor:
        """A copy of the change."""
        return self.change.clone()

    def rows(self, start: int, stop: int) -> "DenseDelta":
        """These rows."""
        return DenseDelta(self.change[start:stop])

    def scaled(self, strength: float) -> "DenseDelta":
        """``strength`` times the change."""
        return DenseDelta(self.change * strength)


def delta_in(scratch: Scratch, change: Delta) -> Tensor:
    """The change itself, which may be overwritten; that of low-rank factors lies in ``scratch``."""
    if not isinstance(change, Factors):
        return change.delta()
    return change.delta(scratch.take("delta", (change.up.shape[0], change.down.shape[1])))
