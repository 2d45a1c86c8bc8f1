"""Take out of every change what reads the directions that earlier changes read most.

After the null-space projector of arXiv 2509.21413 (NUFILT, without its second adapter): D = W(t-1) - W0 =
U S V^T, P = I - V_k V_k^T, where k singular values hold ``share`` of the sum of all. ``mode="training"``: the
rows of ``down`` are projected at the start and after every optimiser step, down <- down P, and
W(t) = W(t-1) + tau. ``mode="merge"``: the adapter is trained freely, and W(t) = W(t-1) + tau P. With k = 0 it
is ``merge``. ``orthogonal`` protects more (0.9999 of the sum of squares) and begins with the full norm.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor

from clora_ext.adapters.delta import Delta
from clora_ext.adapters.factors import Factors, fresh
from clora_ext.adapters.linalg import thin_svd
from clora_ext.adapters.projected import ProjectedDelta
from clora_ext.config.knob import Knob

from .base import Fold, Layer, Start, Strategy
from .orthogonal import AvoidDirections

__all__ = ["STRATEGY", "NullFilter"]


@dataclass(frozen=True, slots=True)
class NullFilter(Strategy):
    """W(t) = W(t-1) + tau P."""

    share: Annotated[
        float, Ge(0), Le(1), Knob("Share of the sum of singular values that is protected; 0 is merge.")
    ] = 0.9
    mode: Annotated[
        Literal["training", "merge"],
        Knob("Whether the filter holds all through the training, or is applied once, to what was trained."),
    ] = "training"

    for_comparison: ClassVar[bool] = True

    @property
    def projects(self) -> bool:
        """Where the filter holds all through the training."""
        return self.mode == "training"

    def begin(self, layer: Layer, rank: int, alpha: float, rng: torch.Generator) -> Start:
        """A fresh adapter over the current weight, filtered where that is done in training."""
        factors = fresh(layer.shape, rank, alpha, rng)
        if self.mode == "merge":
            return Start(layer.current, factors)
        protected = self._protected(layer, rank)
        if not protected.shape[1]:
            return Start(layer.current, factors)
        held = AvoidDirections(protected)
        return Start(layer.current, held.project(factors), held)

    def fold(self, layer: Layer, trained: Delta) -> Fold:
        """Add the delta, filtered where that was not done in training."""
        if self.mode == "training":
            return Fold(layer.current + trained.delta())
        # A change that is no pair of factors has a rank of its own: one direction is the least to leave.
        protected = self._protected(layer, trained.rank if isinstance(trained, Factors) else 1)
        filtered = ProjectedDelta(trained, protected) if protected.shape[1] else trained
        return Fold(layer.current + filtered.delta())

    def _protected(self, layer: Layer, rank: int) -> Tensor:
        """V_k, (in, k): at the most in - rank directions, so that ``rank`` are left."""
        # Chance of its own: begin and fold have to find the same directions.
        _, values, right = thin_svd(layer.earlier, torch.Generator().manual_seed(0))
        before = values.double().cumsum(0) - values.double()
        count = int((before < self.share * float(values.double().sum())).sum())
        return right[:, : min(count, layer.shape[1] - rank)]


STRATEGY = NullFilter
