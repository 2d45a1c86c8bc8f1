"""The seam between the engine and a strategy: one layer in, one layer out.

A strategy decides two things about every layer that is taught: how the adapter starts (``begin``) and how
the trained adapter becomes part of the evolving model (``fold``). Both are pure functions of one layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from clora_ext.adapters.factors import Factors

__all__ = ["Fold", "Layer", "Start", "StateLevel", "Strategy", "is_rowwise"]

StateLevel = Literal["L0", "L1", "L2"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One weight matrix of the evolving model, never changed in place.

    Attributes:
        name: the tensor's name in the checkpoint.
        origin: W0, the base's weight, (out, in), float32.
        current: W(t-1), base plus everything learned so far, (out, in), float32.
        memory: what this strategy returned from its last fold of this layer; empty at the first concept
            and after a concept that was folded by another strategy.
    """

    name: str
    origin: Tensor
    current: Tensor
    memory: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def earlier(self) -> Tensor:
        """Everything learned so far: current - origin, (out, in)."""
        return self.current - self.origin

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        out_features, in_features = self.current.shape
        return out_features, in_features


@dataclass(frozen=True, slots=True)
class Start:
    """Where training of a layer starts.

    Attributes:
        frozen: the weight that stays fixed, (out, in); frozen + factors.delta() is the layer's ``current``.
        factors: the adapter to train.
        closed: orthonormal (in, k): directions that ``factors.down`` must stay orthogonal to; the trainer
            projects them out after every optimiser step. None: nothing is closed.
    """

    frozen: Tensor
    factors: Factors
    closed: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Fold:
    """What a layer has become.

    Attributes:
        weight: W(t), (out, in), float32.
        memory: what the strategy wants back at the next concept; constant in size over concepts.
    """

    weight: Tensor
    memory: Mapping[str, Tensor] = field(default_factory=dict)


class Strategy(Protocol):
    """How new knowledge joins old.

    A strategy is a frozen dataclass in a file of its own; the file's name is the strategy's name and its
    module-level ``STRATEGY`` is the class. The fields are its options.

    ``fold`` sees whole layers. One that needs no memory, and for which a row of the result depends on that
    same row of the layer and the adapter alone, may say so by ``rowwise: ClassVar[bool] = True``: it is then
    given a few rows at a time, and folding takes little memory however large the layers are.
    """

    state_level: ClassVar[StateLevel]
    """What is kept of past concepts: L0 weights, L1 names and prompts too, L2 statistics too."""

    def memory_shapes(self, shape: tuple[int, int], rank: int) -> Mapping[str, tuple[int, ...]]:
        """Names and shapes of the memory that ``fold`` returns for a layer of ``shape`` (out, in)."""
        ...

    def begin(self, layer: Layer, rank: int, alpha: float, rng: torch.Generator) -> Start:
        """The start of a new concept's training on this layer."""
        ...

    def fold(self, layer: Layer, trained: Factors) -> Fold:
        """The layer after the trained adapter has joined it."""
        ...


def is_rowwise(strategy: Strategy) -> bool:
    """Whether ``fold`` may be given a part of a layer's rows; False unless the strategy says otherwise."""
    return bool(getattr(strategy, "rowwise", False))
