"""A low-rank adapter of one layer: its factors and the delta that they stand for.

Everything here takes float32 tensors, changes none of them and returns new ones. Weights of layers are
seen as matrices of shape ``(out, in)``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Factors", "fresh", "tile_rows"]

_TILE = 1 << 17  # elements


@dataclass(frozen=True, slots=True)
class Factors:
    """A low-rank adapter (LoRA, arXiv 2106.09685) of one layer.

    Attributes:
        down: (rank, in), called A in papers.
        up: (out, rank), called B in papers.
        alpha: the scale's numerator; the adapter's strength is alpha / rank, as in kohya's files.
    """

    down: Tensor
    up: Tensor
    alpha: float

    @property
    def rank(self) -> int:
        """Rows of ``down``."""
        return int(self.down.shape[0])

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return self.alpha / self.rank

    def delta(self, out: Tensor | None = None) -> Tensor:
        """The change of the layer's weight, (out, in): alpha / rank * up @ down.

        Multiplied in tiles of :func:`tile_rows` rows, because a product's last bits depend on the shapes
        that are multiplied: so the rows of a part that begins at a multiple of a tile have the very bits
        that they have in the whole.

        Args:
            out: what is filled and given back, (out, in), float32; None: memory of its own.

        >>> Factors(torch.ones(2, 3), torch.ones(1, 2), alpha=1.0).delta()
        tensor([[1., 1., 1.]])
        """
        delta = self.up.new_empty(self.up.shape[0], self.down.shape[1]) if out is None else out
        step = tile_rows(self.down.shape[1])
        for start in range(0, self.up.shape[0], step):
            tile = slice(start, start + step)
            torch.mm(self.up[tile], self.down, out=delta[tile])
        return delta.mul_(self.scale)

    def rows(self, start: int, stop: int) -> "Factors":
        """The adapter of the layer's rows ``start`` to ``stop``: the same ``down``, these rows of ``up``."""
        return Factors(self.down, self.up[start:stop], self.alpha)

    def scaled(self, strength: float) -> "Factors":
        """The adapter with ``strength`` times its delta."""
        return Factors(self.down, self.up, self.alpha * strength)

    def with_alpha(self, alpha: float) -> "Factors":
        """The same delta expressed with another ``alpha`` (which must not be 0)."""
        if alpha == self.alpha:
            return self
        return Factors(self.down, self.up * (self.alpha / alpha), alpha)


def tile_rows(in_features: int) -> int:
    """Rows of the tiles in which deltas of a layer with so many columns are computed: 8 to 64.

    Wide enough for the processor, narrow enough for its cache.

    >>> tile_rows(1280), tile_rows(11520)
    (64, 8)
    """
    rows = 64
    while rows > 8 and rows * in_features > _TILE:  # noqa: PLR2004 - below, products get slow
        rows //= 2
    return rows


def fresh(shape: tuple[int, int], rank: int, alpha: float, rng: torch.Generator) -> Factors:
    """A new adapter for a weight of ``shape`` (out, in): down ~ N(0, (1/rank)^2), up = 0.

    The distribution is the paper's (arXiv 2410.04891, appendix; PEFT calls it "gaussian"). The delta is
    zero, so training starts where the model is.
    """
    out_features, in_features = shape
    down = torch.randn(rank, in_features, generator=rng) / rank
    return Factors(down, torch.zeros(out_features, rank), alpha)
