"""Add what a change does outside of the main directions of earlier ones, and keep the sum as large as one.

Orthogonal projection-based continual merging (OPCM, arXiv 2501.09522). With D = W(t-1) - W0 = U S V^T and
M = U^T tau V: M's diagonal and its leading k x k block become 0 (k: as many singular values as hold up to
half of their sum), and W(t) = W0 + (lambda(t-1) D + U M V^T) / lambda(t), where lambda(t) makes the norm of
W(t) - W0 the mean of the norms of tau so far; lambda(1) = 1.

Differences: the paper's U and V are square, here they are those of D's own rank (elsewhere the basis, and
with it the diagonal, would be arbitrary), so that what of tau lies outside of them stays whole; norms and
lambda are each layer's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from clora_ext.adapters.delta import Delta
from clora_ext.adapters.factors import fresh
from clora_ext.adapters.linalg import thin_svd

from .base import Fold, Layer, Start, Strategy

__all__ = ["STRATEGY", "Opcm", "outside"]

_HALF = 0.5  # the paper's alpha


@dataclass(frozen=True, slots=True)
class Opcm(Strategy):
    """W(t) = W0 + (lambda(t-1) D + projected tau) / lambda(t)."""

    for_comparison: ClassVar[bool] = True

    def memory_shapes(self, shape: tuple[int, int], rank: int) -> Mapping[str, tuple[int, ...]]:
        """lambda."""
        del shape, rank
        return {"scale": ()}

    def begin(self, layer: Layer, rank: int, alpha: float, rng: torch.Generator) -> Start:
        """A fresh adapter over the current weight."""
        return Start(layer.current, fresh(layer.shape, rank, alpha, rng))

    def fold(self, layer: Layer, trained: Delta) -> Fold:
        """Project, add, rescale; what changes nothing leaves the layer as it is."""
        tau, earlier, scale = trained.delta(), layer.earlier, _scale(layer)
        if not earlier.any():
            return Fold(layer.current + tau, {"scale": torch.tensor(1.0)})
        if not tau.any():
            return Fold(layer.current, {"scale": scale})
        total = scale * earlier + outside(tau, earlier)
        # The norm of D is the mean of the norms so far: every fold makes it so.
        mean = ((layer.number - 1) * earlier.norm() + tau.norm()) / layer.number
        scale = total.norm() / mean
        return Fold(layer.origin + total / scale, {"scale": scale})


def outside(tau: Tensor, earlier: Tensor) -> Tensor:
    """tau without the diagonal and the leading block of U^T tau V; both (out, in)."""
    left, values, right = thin_svd(earlier, torch.Generator().manual_seed(0))
    seen = left.T @ tau @ right
    leading = int((values.double().cumsum(0) <= _HALF * values.double().sum()).sum())
    removed = torch.diag(seen.diagonal())
    removed[:leading, :leading] = seen[:leading, :leading]
    return tau - left @ removed @ right.T


def _scale(layer: Layer) -> Tensor:
    """lambda(t-1); after another strategy, that of t - 1 changes of one norm at right angles."""
    return layer.memory.get("scale", torch.tensor(float(max(1, layer.number - 1)) ** 0.5))


STRATEGY = Opcm
