"""Keep, for every single weight, the larger change: the new concept's or the earlier ones'.

arXiv 2410.04891, "Magnitude-based selection" (``mag_max_light`` in the published code):
W(t) = W0 + where(abs(tau) >= abs(D), tau, D) with D = W(t-1) - W0, element by element; ties go to the new.
It is not MagMax (arXiv 2407.06322), which keeps cumulative task vectors of one unmerged run and scales
their selection by 0.5.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from clora_ext.adapters.delta import Delta, delta_in
from clora_ext.adapters.factors import fresh
from clora_ext.adapters.linalg import select
from clora_ext.adapters.scratch import Scratch

from .base import Fold, Layer, Start, Strategy

__all__ = ["STRATEGY", "Mask"]


@dataclass(frozen=True, slots=True)
class Mask(Strategy):
    """W(t) = W0 + the larger of tau and D, element by element."""

    rowwise: ClassVar[bool] = True

    def begin(self, layer: Layer, rank: int, alpha: float, rng: torch.Generator) -> Start:
        """A fresh adapter over the current weight."""
        return Start(layer.current, fresh(layer.shape, rank, alpha, rng))

    def fold(self, layer: Layer, trained: Delta) -> Fold:
        """Replace an earlier change only where the new one is at least as large."""
        tau = trained.delta()
        # Where the earlier change stays, `current` itself is taken: origin + (current - origin) would
        # round, and an idle adapter must leave every bit as it was.
        new = tau.abs() >= layer.earlier.abs()
        return Fold(select(new, layer.origin + tau, layer.current))

    def fold_rows(self, layer: Layer, trained: Delta, scratch: Scratch) -> Tensor:
        """The same without new memory; see :func:`select`."""
        tau, current = delta_in(scratch, trained), layer.current.view(torch.int32)
        found = torch.add(layer.origin, tau, out=scratch.take("found", layer.shape))
        earlier = torch.sub(layer.current, layer.origin, out=scratch.take("earlier", layer.shape))
        new = scratch.take("new", layer.shape, torch.int32)
        torch.ge(tau.abs_(), earlier.abs_(), out=new).neg_()
        found.view(torch.int32).bitwise_xor_(current).bitwise_and_(new).bitwise_xor_(current)
        return found


STRATEGY = Mask
