"""Add every change and keep all of them small: the control for penalties that know where to look.

loss = error + strength * sum(tau^2) over all layers, from the second concept on; W(t) = W(t-1) + tau. Every
weight counts alike, so what it keeps is bought by learning less. The L2 baseline of arXiv 1612.00796 (section
2.1, figure 2A): a penalty on the distance from the weights before.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from clora_ext.adapters.delta import Delta
from clora_ext.adapters.factors import Factors, fresh
from clora_ext.adapters.linalg import squared_norm
from clora_ext.config.knob import Knob

from .base import Constraint, Fold, Layer, Start, Strategy

__all__ = ["L2", "STRATEGY", "SmallDelta"]


@dataclass(frozen=True, slots=True)
class SmallDelta(Constraint):
    """strength * sum(tau^2).

    Attributes:
        strength: of the penalty.
    """

    strength: float

    def penalty(self, factors: Factors) -> Tensor:
        """The squared norm of the delta, from the factors alone."""
        return self.strength * squared_norm(factors)


@dataclass(frozen=True, slots=True)
class L2(Strategy):
    """W(t) = W(t-1) + tau with a penalty on tau's squared norm."""

    strength: Annotated[float, Ge(0), Knob("Weight of the penalty; 0 is merge.")] = 1e-4

    for_comparison: ClassVar[bool] = True
    adds: ClassVar[bool] = True
    rowwise: ClassVar[bool] = True

    def begin(self, layer: Layer, rank: int, alpha: float, rng: torch.Generator) -> Start:
        """A fresh adapter over the current weight; the first concept has nothing to be held to."""
        held = SmallDelta(self.strength) if self.strength and layer.number > 1 else None
        return Start(layer.current, fresh(layer.shape, rank, alpha, rng), held)

    def fold(self, layer: Layer, trained: Delta) -> Fold:
        """Add the delta."""
        return Fold(layer.current + trained.delta())


STRATEGY = L2
