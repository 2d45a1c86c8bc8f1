"""Add every new change with a weight that falls with the number of concepts.

W(t) = W(t-1) + beta(t) * tau, with beta(1) = 1. ``inverse-sqrt``: beta(t) = t^-1/2, the time-aware scaling of
arXiv 2512.23017; ``inverse``: beta(t) = 1/t, with which W(t) is the mean of the models after each training;
``constant``: a moving average, beta(t) = beta, compare arXiv 2412.06712. Perturb-and-Merge (arXiv 2505.22389)
takes the same convex combinations, and scales the adapter at random while it is trained, which is not
done here.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Gt, Le

from clora_ext.adapters.delta import Delta
from clora_ext.adapters.factors import fresh
from clora_ext.config.knob import Knob

from .base import Fold, Layer, Start, Strategy

__all__ = ["STRATEGY", "Scaled"]


@dataclass(frozen=True, slots=True)
class Scaled(Strategy):
    """W(t) = W(t-1) + beta(t) * tau."""

    schedule: Annotated[
        Literal["inverse-sqrt", "inverse", "constant"],
        Knob("How the weight of a change follows from the concept's number t: 1/sqrt(t), 1/t, or beta."),
    ] = "inverse-sqrt"
    beta: Annotated[
        float, Gt(0), Le(1), Knob("Weight of every change after the first one, by the constant schedule.")
    ] = 0.5

    for_comparison: ClassVar[bool] = True
    rowwise: ClassVar[bool] = True

    def begin(self, layer: Layer, rank: int, alpha: float, rng: torch.Generator) -> Start:
        """A fresh adapter over the current weight."""
        return Start(layer.current, fresh(layer.shape, rank, alpha, rng))

    def fold(self, layer: Layer, trained: Delta) -> Fold:
        """Add the weighted delta."""
        return Fold(layer.current + trained.scaled(self._weight(layer.number)).delta())

    def _weight(self, number: int) -> float:
        """beta(t)."""
        if number == 1:
            return 1.0
        return {"inverse-sqrt": 1 / sqrt(number), "inverse": 1 / number, "constant": self.beta}[self.schedule]


STRATEGY = Scaled
