"""Learn only in input directions that earlier concepts left free.

arXiv 2410.04891, "Orthogonal initialization", made real: the rows of the new ``down`` lie in the
complement of the row space of everything learned so far, D = W(t-1) - W0, and are kept there by a projection
after every optimiser step. Then tau @ D.T = 0 whatever ``up`` becomes, and W(t) = W(t-1) + tau.

``mode="paper"`` gives the published code's initialisation for comparison: every *column* of the new ``down``
(a vector of length rank) is orthogonal to the old one's column, which says nothing about the updates. The
published code reads the old column from the last adapter; no adapter is kept here, so the leading
right-singular vectors of D, weighted by their singular values, stand in for it.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from clora_ext.adapters.delta import Delta
from clora_ext.adapters.factors import Factors, fresh
from clora_ext.adapters.linalg import complement
from clora_ext.adapters.projected import ProjectedDelta
from clora_ext.adapters.sketch import sketched_row_space
from clora_ext.config.knob import Knob

from .base import Constraint, Fold, Layer, Start, Strategy

__all__ = ["STRATEGY", "AvoidDirections", "Orthogonal"]

# Share of D's squared norm that is protected. D is known in float32, so the little that is left out is
# far below what a picture shows.
_ENERGY = 0.9999
# Directions tried beyond those expected: chance then misses none of them by much.
_SPARE = 8


@dataclass(frozen=True, slots=True)
class AvoidDirections(Constraint):
    """The rows of ``down`` stay orthogonal to what is protected.

    Attributes:
        protected_basis: orthonormal columns (in, k), float32.
    """

    protected_basis: Tensor

    def to(self, device: torch.device) -> "AvoidDirections":
        """The same on ``device``."""
        return AvoidDirections(self.protected_basis.to(device))

    def project(self, factors: Factors) -> Factors:
        """Take the protected directions out of ``down``."""
        return Factors(complement(factors.down, self.protected_basis), factors.up, factors.alpha)

    def project_delta(self, delta: Delta) -> Delta:
        """Take the protected directions out of every row."""
        return ProjectedDelta(delta, self.protected_basis)


@dataclass(frozen=True, slots=True)
class Orthogonal(Strategy):
    """W(t) = W(t-1) + tau with tau @ D.T = 0; ``mode`` says whether that is held during training."""

    mode: Annotated[
        Literal["row-space", "paper"],
        Knob(
            "row-space keeps new learning apart all through the training; paper only begins so, as the "
            "published code does."
        ),
    ] = "row-space"

    rowwise: ClassVar[bool] = True
    adds: ClassVar[bool] = True

    @property
    def projects(self) -> bool:
        """Unless only the start is orthogonal."""
        return self.mode == "row-space"

    def begin(self, layer: Layer, rank: int, alpha: float, rng: torch.Generator) -> Start:
        """An adapter over the current weight that avoids what is used.

        A layer is full when fewer than ``rank`` free directions are left; then the least used directions
        are opened again, so that always in - k >= rank.
        """
        plain = fresh(layer.shape, rank, alpha, rng)
        if torch.equal(layer.current, layer.origin):
            return Start(layer.current, plain)
        if self.mode == "paper":
            return Start(layer.current, Factors(_columnwise(layer.earlier, rank), plain.up, alpha))
        # An earlier concept has most likely used as many directions as this one will.
        expected = rank + _SPARE
        limit = layer.shape[1] - rank
        used = sketched_row_space(
            layer.current, layer.origin, energy=_ENERGY, limit=limit, rng=rng, expected=expected
        )
        free = complement(plain.down, used)
        # Fewer directions must not mean a weaker start: keep the norm of the plain adapter.
        free = free * (plain.down.norm() / free.norm())
        return Start(layer.current, Factors(free, plain.up, alpha), AvoidDirections(used))

    def fold(self, layer: Layer, trained: Delta) -> Fold:
        """Add the delta."""
        return Fold(layer.current + trained.delta())


def _columnwise(earlier: Tensor, rank: int) -> Tensor:
    """(rank, in): each column is the last right-singular vector of the old column seen as a row."""
    _, values, turned = torch.linalg.svd(earlier, full_matrices=False)
    old = values[:rank, None].sqrt() * turned[:rank]
    missing = rank - old.shape[0]
    if missing > 0:
        old = torch.cat([old, old.new_zeros(missing, old.shape[1])])
    _, _, bases = torch.linalg.svd(old.T.unsqueeze(1), full_matrices=True)
    last: Tensor = bases[:, -1, :]
    return last.T.contiguous()


STRATEGY = Orthogonal
