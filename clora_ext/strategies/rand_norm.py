"""Add every change, begun at random with the norm of the published orthogonal start: its control.

The published code of arXiv 2410.04891 begins with a ``down`` of unit columns (``orthogonal``, mode=paper).
Its norm is sqrt(in), which is sqrt(rank) times that of the Gaussian ``down`` that the other strategies begin
with, N(0, (1/rank)^2). Where this start, Gaussian and of norm sqrt(in), learns and keeps as much, the
orthogonality did nothing. From the second concept on; W(t) = W(t-1) + tau.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from clora_ext.adapters.delta import Delta
from clora_ext.adapters.factors import Factors, fresh

from .base import Fold, Layer, Start, Strategy

__all__ = ["STRATEGY", "RandNorm"]


@dataclass(frozen=True, slots=True)
class RandNorm(Strategy):
    """W(t) = W(t-1) + tau; ``down`` begins with the norm sqrt(in)."""

    for_comparison: ClassVar[bool] = True
    adds: ClassVar[bool] = True
    rowwise: ClassVar[bool] = True

    def begin(self, layer: Layer, rank: int, alpha: float, rng: torch.Generator) -> Start:
        """A fresh adapter over the current weight; the published start differs where something is learned."""
        plain = fresh(layer.shape, rank, alpha, rng)
        if not layer.earlier.any():
            return Start(layer.current, plain)
        down = plain.down * (layer.shape[1] ** 0.5 / plain.down.norm())
        return Start(layer.current, Factors(down, plain.up, alpha))

    def fold(self, layer: Layer, trained: Delta) -> Fold:
        """Add the delta."""
        return Fold(layer.current + trained.delta())


STRATEGY = RandNorm
