"""A change of weights without its part in some directions of the layer's inputs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .delta import Delta
from .factors import tile_rows
from .linalg import complement

__all__ = ["ProjectedDelta"]


@dataclass(frozen=True, slots=True)
class ProjectedDelta:
    """Any change, its rows orthogonal to a basis.

    Attributes:
        whole: the change before.
        basis: orthonormal columns (in, k), float32.
    """

    whole: Delta
    basis: Tensor

    @property
    def rank(self) -> int:
        """At most what it was before."""
        return self.whole.rank

    def delta(self) -> Tensor:
        """The change, (out, in), in tiles: a product's last bits depend on the shapes that are multiplied."""
        change = self.whole.delta()
        step = tile_rows(change.shape[1])
        starts = range(0, change.shape[0], step)
        return torch.cat([complement(change[start : start + step], self.basis) for start in starts])

    def rows(self, start: int, stop: int) -> "ProjectedDelta":
        """These rows."""
        return ProjectedDelta(self.whole.rows(start, stop), self.basis)

    def scaled(self, strength: float) -> "ProjectedDelta":
        """``strength`` times the change."""
        return ProjectedDelta(self.whole.scaled(strength), self.basis)
