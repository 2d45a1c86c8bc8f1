"""Add every new change to the model: learns best, forgets by overlap.

arXiv 2410.04891, "Merge & initialize" (``merge_and_init`` in the published code): a fresh adapter is
trained over W(t-1) and added to it, W(t) = W(t-1) + tau.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from clora_ext.adapters.delta import Delta
from clora_ext.adapters.factors import fresh

from .base import Fold, Layer, Start, Strategy

__all__ = ["STRATEGY", "Merge"]


@dataclass(frozen=True, slots=True)
class Merge(Strategy):
    """W(t) = W(t-1) + tau."""

    rowwise: ClassVar[bool] = True
    adds: ClassVar[bool] = True

    def begin(self, layer: Layer, rank: int, alpha: float, rng: torch.Generator) -> Start:
        """A fresh adapter over the current weight."""
        return Start(layer.current, fresh(layer.shape, rank, alpha, rng))

    def fold(self, layer: Layer, trained: Delta) -> Fold:
        """Add the delta."""
        return Fold(layer.current + trained.delta())


STRATEGY = Merge
