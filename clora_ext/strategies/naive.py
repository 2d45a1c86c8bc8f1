"""Go on training one and the same adapter: the simplest way, and the most forgetful.

arXiv 2410.04891, "Naive continual fine-tuning" (``naive_cl`` in the published code): one adapter over W0
is trained further on every concept, W(t) = W0 + alpha / rank * up @ down. That one adapter is its memory;
it is overwritten by every concept and never holds a past one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from clora_ext.adapters.delta import Delta
from clora_ext.adapters.factors import Factors, fresh
from clora_ext.errors import UsageError

from .base import Fold, Layer, Start, Strategy

__all__ = ["STRATEGY", "Naive"]


@dataclass(frozen=True, slots=True)
class Naive(Strategy):
    """W(t) = W0 + the one adapter's delta."""

    low_rank_only: ClassVar[bool] = True

    def memory_shapes(self, shape: tuple[int, int], rank: int) -> Mapping[str, tuple[int, ...]]:
        """The one adapter."""
        return {"down": (rank, shape[1]), "up": (shape[0], rank), "alpha": ()}

    def begin(self, layer: Layer, rank: int, alpha: float, rng: torch.Generator) -> Start:
        """The adapter kept so far, or a fresh one where there is none of this rank."""
        kept = _kept(layer.memory)
        if kept is None or kept.rank != rank:
            # What the other adapter had learned stays in the weight that is frozen now.
            return Start(layer.current, fresh(layer.shape, rank, alpha, rng))
        return Start(_without(layer, kept), kept.with_alpha(alpha))

    def fold(self, layer: Layer, trained: Delta) -> Fold:
        """Put the trained adapter in the place of the kept one.

        Raises:
            UsageError: the change is no pair of factors, which alone can be trained further.
        """
        if not isinstance(trained, Factors):
            message = f"naive cannot keep the change of {layer.name}: it is not a pair of low-rank factors"
            raise UsageError(message, fix="choose another strategy, such as merge")
        kept = _kept(layer.memory)
        frozen = layer.current if kept is None or kept.rank != trained.rank else _without(layer, kept)
        memory = {"down": trained.down, "up": trained.up, "alpha": torch.tensor(trained.alpha)}
        return Fold(frozen + trained.delta(), memory)


def _kept(memory: Mapping[str, Tensor]) -> Factors | None:
    """The adapter in ``memory``, if there is one."""
    if not memory:
        return None
    return Factors(memory["down"], memory["up"], float(memory["alpha"]))


def _without(layer: Layer, kept: Factors) -> Tensor:
    """The weight under the kept adapter: W0 itself while only this strategy was used."""
    delta = kept.delta()
    if torch.equal(layer.origin + delta, layer.current):
        return layer.origin
    return layer.current - delta


STRATEGY = Naive
