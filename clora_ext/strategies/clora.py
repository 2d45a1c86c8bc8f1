"""Add every change and keep it small where earlier concepts changed much.

C-LoRA's self-regularisation (arXiv 2304.06027, "Continual Diffusion", its forgetting loss):
loss = error + strength * sum(D^2 * tau^2) over all layers, element by element, with D = W(t-1) - W0;
W(t) = W(t-1) + tau. Here D^2 is divided by its mean in each layer, so that one strength suits any
size of D: where D is even, the penalty is that of ``l2``. The paper trains cross-attention keys and values
alone, and a token with random embeddings; neither is done here.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from clora_ext.adapters.delta import Delta
from clora_ext.adapters.factors import Factors, fresh
from clora_ext.config.knob import Knob

from .base import Constraint, Fold, Layer, Start, Strategy

__all__ = ["STRATEGY", "Clora", "WeightedDelta"]


@dataclass(frozen=True, slots=True)
class WeightedDelta(Constraint):
    """sum(weights * tau^2).

    Attributes:
        weights: of each weight of the layer, (out, in), float32.
    """

    weights: Tensor

    def to(self, device: torch.device) -> "WeightedDelta":
        """The same on ``device``."""
        return WeightedDelta(self.weights.to(device))

    def penalty(self, factors: Factors) -> Tensor:
        """The weighted sum of the delta's squares."""
        delta = factors.scale * (factors.up @ factors.down)
        return (self.weights * delta.square()).sum()


@dataclass(frozen=True, slots=True)
class Clora(Strategy):
    """W(t) = W(t-1) + tau with a penalty on D * tau."""

    strength: Annotated[float, Ge(0), Knob("Weight of the penalty; 0 is merge.")] = 1e-4

    for_comparison: ClassVar[bool] = True
    adds: ClassVar[bool] = True
    rowwise: ClassVar[bool] = True

    def begin(self, layer: Layer, rank: int, alpha: float, rng: torch.Generator) -> Start:
        """A fresh adapter over the current weight, held where D is large; not at all where D is zero."""
        factors, earlier = fresh(layer.shape, rank, alpha, rng), layer.earlier.square()
        mean = earlier.mean()
        if not self.strength or not mean:
            return Start(layer.current, factors)
        return Start(layer.current, factors, WeightedDelta(self.strength * earlier / mean))

    def fold(self, layer: Layer, trained: Delta) -> Fold:
        """Add the delta."""
        return Fold(layer.current + trained.delta())


STRATEGY = Clora
