"""Add every change and keep it small where past concepts' errors depend on the weights.

Elastic weight consolidation (arXiv 1612.00796, equation 3): loss = error + strength / 2 * sum(F * tau^2),
W(t) = W(t-1) + tau. F is the diagonal of the empirical Fisher information, E[(dL/dW)^2] over single draws of
the concept's own pictures and noise after its training, summed over past concepts and held around the weights
as they are now (online EWC, arXiv 1805.06370). It is kept as row and column sums, F_ij = a_i b_j / sum(a): a
number for each row and column instead of one for each weight (Adafactor's form, arXiv 1804.04235). Of past
concepts, those statistics are kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor

from clora_ext.adapters.delta import Delta
from clora_ext.adapters.factors import Factors, fresh
from clora_ext.adapters.linalg import squared_norm
from clora_ext.adapters.squared_gradients import SquaredGradients
from clora_ext.config.knob import Knob
from clora_ext.prompts import Vocabulary
from clora_ext.prompts.concept_prompts import ConceptPrompts

from .base import Constraint, Fold, Layer, Needs, Start, StateLevel, Strategy

__all__ = ["STRATEGY", "Ewc", "ImportantWeights"]


@dataclass(frozen=True, slots=True)
class ImportantWeights(Constraint):
    """strength / 2 * sum(F * tau^2).

    Attributes:
        fisher: F, factored.
        strength: of the penalty.
    """

    fisher: SquaredGradients
    strength: float

    def to(self, device: torch.device) -> "ImportantWeights":
        """The same on ``device``."""
        return ImportantWeights(self.fisher.to(device), self.strength)

    def penalty(self, factors: Factors) -> Tensor:
        """The weighted sum of the delta's squares, from the factors alone."""
        weighted = squared_norm(factors, self.fisher.rows, self.fisher.columns)
        return self.strength / 2 * weighted / self.fisher.rows.sum()


@dataclass(frozen=True, slots=True)
class Ewc(Strategy):
    """W(t) = W(t-1) + tau with a penalty on F * tau^2."""

    strength: Annotated[float, Ge(0), Knob("Weight of the penalty; 0 is merge.")] = 1e5
    draws: Annotated[
        int, Ge(1), Le(4096), Knob("Pictures with noise over which the squared gradients are measured.")
    ] = 64

    state_level: ClassVar[StateLevel] = "L2"
    for_comparison: ClassVar[bool] = True
    adds: ClassVar[bool] = True

    def memory_shapes(self, shape: tuple[int, int], rank: int) -> Mapping[str, tuple[int, ...]]:
        """Sums of F over columns and over rows."""
        del rank
        return {"rows": (shape[0],), "columns": (shape[1],)}

    def needs(
        self, concept: ConceptPrompts, earlier: Sequence[ConceptPrompts], vocabulary: Vocabulary
    ) -> Needs:
        """Squared gradients after the training."""
        del concept, earlier, vocabulary
        return Needs(gradients_after=self.draws)

    def begin(self, layer: Layer, rank: int, alpha: float, rng: torch.Generator) -> Start:
        """A fresh adapter over the current weight, held where past concepts depend on it."""
        factors, fisher = fresh(layer.shape, rank, alpha, rng), _kept(layer)
        if not self.strength or not fisher.rows.any():
            return Start(layer.current, factors)
        return Start(layer.current, factors, ImportantWeights(fisher, self.strength))

    def fold(self, layer: Layer, trained: Delta) -> Fold:
        """Add the delta, and what was measured to what is kept."""
        fisher = _kept(layer)
        if layer.gradients is not None:
            fisher = fisher.plus(layer.gradients)
        return Fold(layer.current + trained.delta(), {"rows": fisher.rows, "columns": fisher.columns})


def _kept(layer: Layer) -> SquaredGradients:
    """F of past concepts; zeros where there is none."""
    if not layer.memory:
        return SquaredGradients.none(layer.shape)
    return SquaredGradients(layer.memory["rows"], layer.memory["columns"])


STRATEGY = Ewc
