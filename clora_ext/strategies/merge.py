"""Add every new change to the model: learns best, forgets by overlap.

arXiv 2410.04891, "Merge & initialize" (``merge_and_init`` in the published code): a fresh adapter is
trained over W(t-1) and added to it, W(t) = W(t-1) + tau.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from clora_ext.adapters.factors import Factors, fresh

from .base import Fold, Layer, Start, StateLevel

__all__ = ["STRATEGY", "Merge"]


@dataclass(frozen=True, slots=True)
class Merge:
    """W(t) = W(t-1) + tau."""

    state_level: ClassVar[StateLevel] = "L0"
    rowwise: ClassVar[bool] = True

    def memory_shapes(self, shape: tuple[int, int], rank: int) -> Mapping[str, tuple[int, ...]]:
        """Nothing but the weight is kept."""
        del shape, rank
        return {}

    def begin(self, layer: Layer, rank: int, alpha: float, rng: torch.Generator) -> Start:
        """A fresh adapter over the current weight."""
        return Start(layer.current, fresh(layer.shape, rank, alpha, rng))

    def fold(self, layer: Layer, trained: Factors) -> Fold:
        """Add the delta."""
        return Fold(layer.current + trained.delta())


STRATEGY = Merge
