"""Go on with one adapter: the newest reading directions, and an average of what is written there.

After SLAO (arXiv 2512.23017, "Merge before Forget"). The adapter begins with orthonormal rows from the
one kept so far, Q R = QR(down^T), down <- Q^T; after the training the new down takes the place of the old
one, and up <- up_start + t^-1/2 * (up_trained - up_start). W(t) = W(t-1) - old delta + new delta.

Difference: the paper begins with the trained, not the merged up, and without R, so that its training starts
at neither W(t-1) nor the model trained before. Here R goes into up, up <- up R^T: the delta, and so the
model, are those of W(t-1), and nothing changes where nothing is learned. So one adapter is kept, not two.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from clora_ext.adapters.delta import Delta
from clora_ext.adapters.factors import Factors, fresh
from clora_ext.errors import UsageError

from .base import Fold, Layer, Start, Strategy

__all__ = ["STRATEGY", "Slao"]


@dataclass(frozen=True, slots=True)
class Slao(Strategy):
    """W(t) = W(t-1) with its one adapter's delta replaced by the averaged one."""

    for_comparison: ClassVar[bool] = True
    low_rank_only: ClassVar[bool] = True

    def memory_shapes(self, shape: tuple[int, int], rank: int) -> Mapping[str, tuple[int, ...]]:
        """The one adapter, and how many concepts are in it."""
        return {"down": (rank, shape[1]), "up": (shape[0], rank), "alpha": (), "concepts": ()}

    def begin(self, layer: Layer, rank: int, alpha: float, rng: torch.Generator) -> Start:
        """The adapter kept so far with orthonormal rows, or a fresh one where there is none of this rank."""
        kept = _kept(layer, rank, alpha)
        if kept is None:
            return Start(layer.current, fresh(layer.shape, rank, alpha, rng))
        return Start(layer.current - kept.delta(), kept)

    def fold(self, layer: Layer, trained: Delta) -> Fold:
        """Average ``up``, replace ``down``.

        Raises:
            UsageError: the change is no pair of factors, which alone can be trained further.
        """
        if not isinstance(trained, Factors):
            message = f"slao cannot keep the change of {layer.name}: it is not a pair of low-rank factors"
            raise UsageError(message, fix="choose another strategy, such as merge")
        start = _kept(layer, trained.rank, trained.alpha)
        if start is None:
            return Fold(layer.current + trained.delta(), _memory(trained, 1))
        concepts = int(layer.memory["concepts"]) + 1
        up = start.up + (trained.up - start.up) * concepts**-0.5
        merged = Factors(trained.down, up, trained.alpha)
        return Fold(layer.current + (merged.delta() - start.delta()), _memory(merged, concepts))


def _kept(layer: Layer, rank: int, alpha: float) -> Factors | None:
    """The adapter in memory, its ``down`` with orthonormal rows; None: there is none of this rank."""
    if not layer.memory or layer.memory["down"].shape[0] != rank:
        return None
    rows, mixed = torch.linalg.qr(layer.memory["down"].T)
    up = layer.memory["up"] @ mixed.T
    return Factors(rows.T.contiguous(), up, float(layer.memory["alpha"])).with_alpha(alpha)


def _memory(adapter: Factors, concepts: int) -> dict[str, torch.Tensor]:
    """What is wanted back."""
    return {
        "down": adapter.down,
        "up": adapter.up,
        "alpha": torch.tensor(adapter.alpha),
        "concepts": torch.tensor(float(concepts)),
    }


STRATEGY = Slao
