"""Change little of what the layers answer to what they read for past concepts and everyday things.

G is the sum of E[x x^T] over what a layer reads while the model draws past concepts and, once, things that
nobody taught (anchors). Its answers there change by tr(tau G tau^T) in the mean square, whatever the prompts
were, so none are kept. That is part of the loss, strength * sum over layers of
tr(tau G tau^T) / tr(W0 G W0^T), and W(t) = W(t-1) + tau. It is the quadratic penalty of Kronecker-factored
curvature (arXiv 1805.07810) with the inputs' factor alone: no gradients of the past are needed.

A finished LoRA is not trained, so the same is minimised in closed form. Of all changes t, the least
tr((t - tau) G_new (t - tau)^T) + lora_strength * tr(t G t^T) has
t = tau G_new (G_new + lora_strength * G)^-1, where G_new is of what the layers read for the new concept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor

from clora_ext.adapters.delta import Delta, DenseDelta
from clora_ext.adapters.factors import Factors, fresh
from clora_ext.adapters.moment_algebra import change_quadratic, retain
from clora_ext.adapters.moments import Moment
from clora_ext.config.knob import Knob
from clora_ext.prompts import ReplayPrompts, Vocabulary
from clora_ext.prompts.concept_prompts import ConceptPrompts
from clora_ext.prompts.spread import spread

from .base import Constraint, Fold, Layer, Needs, Start, StateLevel, Strategy

__all__ = ["STRATEGY", "Gram", "HoldAnswers"]


@dataclass(frozen=True, slots=True)
class HoldAnswers(Constraint):
    """The change of what a layer answers to what it has read is part of the loss.

    Attributes:
        past: second moments of what it has read.
        weight: of tr(tau past tau^T) in the loss.
    """

    past: Moment
    weight: float

    def to(self, device: torch.device) -> "HoldAnswers":
        """The same on ``device``; layers that share an input still share its moments."""
        return HoldAnswers(self.past.to(device), self.weight)

    def penalty(self, factors: Factors) -> Tensor:
        """weight * tr(tau past tau^T)."""
        return self.weight * factors.scale**2 * change_quadratic(factors.down, factors.up, self.past)


@dataclass(frozen=True, slots=True)
class Gram(Strategy):
    """W(t) = W(t-1) + tau, where tau answers little to what the layers have read before."""

    strength: Annotated[
        float, Ge(0), Knob("Weight of changes of past answers; 0: learns as merge does, and still measures.")
    ] = 0.05
    drawings: Annotated[
        int, Ge(1), Le(1000), Knob("Pictures that are drawn to measure what a concept makes the layers read.")
    ] = 12
    lora_strength: Annotated[
        float, Ge(0), Knob("Weight of past answers against those of a finished LoRA; 0: as merge.")
    ] = 1.0

    state_level: ClassVar[StateLevel] = "L2"
    keeps_inputs: ClassVar[bool] = True
    rowwise: ClassVar[bool] = True
    revision: ClassVar[int] = 2

    def begin(self, layer: Layer, rank: int, alpha: float, rng: torch.Generator) -> Start:
        """A fresh adapter over the current weight, which pays for what it changes."""
        plain = Start(layer.current, fresh(layer.shape, rank, alpha, rng))
        past = layer.past_inputs
        energy = past.energy(layer.origin) if past is not None and self.strength else 0.0
        if past is None or not energy:
            return plain
        return Start(plain.frozen, plain.factors, HoldAnswers(past, self.strength / energy))

    def fold(self, layer: Layer, trained: Delta) -> Fold:
        """Add the delta."""
        return Fold(layer.current + trained.delta())

    def adopt(self, layer: Layer, change: Delta) -> Fold:
        """Add what keeps past answers best, of what answers as the change does to the new."""
        new, past = layer.inputs, layer.past_inputs
        if new is None or past is None or not self.lora_strength:
            return self.fold(layer, change)
        if isinstance(change, Factors):
            down = retain(change.down, new, past, self.lora_strength)
            return self.fold(layer, Factors(down, change.up, change.alpha))
        return self.fold(layer, DenseDelta(retain(change.delta(), new, past, self.lora_strength)))

    def needs(
        self, concept: ConceptPrompts, earlier: Sequence[ConceptPrompts], vocabulary: Vocabulary
    ) -> Needs:
        """Drawings of the concept once it is learned, and of anchors before the first."""
        of_it = ReplayPrompts(concept, [concept], vocabulary, anchors=0)
        of_others = ReplayPrompts(concept, (), vocabulary, anchors=1)
        return Needs(inputs_after=self._drawn(of_it), inputs_first=self._drawn(of_others))

    def _drawn(self, prompts: ReplayPrompts) -> tuple[str, ...]:
        """As many different prompts as pictures, if there are so many; always the same."""
        rng = Random(0)
        return tuple(dict.fromkeys(prompts.draw(spread(number), rng) for number in range(self.drawings)))


STRATEGY = Gram
