"""Hold on to what the model drew before, as distill does, and to what its layers answered, as gram does.

Both at once: the loss is distill's, on its trajectories, plus gram's penalty; fold, words and statistics are
theirs. What neither option here names is as each of them has it by default.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge

from clora_ext.adapters.delta import Delta
from clora_ext.config.knob import Knob
from clora_ext.prompts import Vocabulary
from clora_ext.prompts.concept_prompts import ConceptPrompts

from .base import Fold, Layer, Needs, Replay, Start, StateLevel, Strategy
from .distill import Distill
from .gram import Gram
from .objective import Denoising, Objective, TrainingAccess

__all__ = ["STRATEGY", "DistillGram"]


@dataclass(frozen=True, slots=True)
class DistillGram(Strategy):
    """W(t) = W(t-1) + tau, where tau changes little of what is drawn and answered elsewhere."""

    distill: Annotated[float, Ge(0), Knob("Weight of answering as before, distill's strength.")] = 2.5
    gram: Annotated[float, Ge(0), Knob("Weight of changes of the layers' past answers, gram's strength.")] = (
        0.02
    )

    state_level: ClassVar[StateLevel] = "L2"
    keeps_inputs: ClassVar[bool] = True
    rowwise: ClassVar[bool] = True
    revision: ClassVar[int] = 6

    @property
    def _drawn(self) -> Distill:
        return Distill(strength=self.distill)

    @property
    def _answered(self) -> Gram:
        return Gram(strength=self.gram)

    def begin(self, layer: Layer, rank: int, alpha: float, rng: torch.Generator) -> Start:
        """As gram: over the current weight too, so that without it the network is distill's teacher."""
        return self._answered.begin(layer, rank, alpha, rng)

    def fold(self, layer: Layer, trained: Delta) -> Fold:
        """Add the delta, as both do."""
        return self._answered.fold(layer, trained)

    def adopt(self, layer: Layer, change: Delta) -> Fold:
        """As gram."""
        return self._answered.adopt(layer, change)

    def needs(
        self, concept: ConceptPrompts, earlier: Sequence[ConceptPrompts], vocabulary: Vocabulary
    ) -> Needs:
        """As gram."""
        return self._answered.needs(concept, earlier, vocabulary)

    def replay(
        self, concept: ConceptPrompts, earlier: Sequence[ConceptPrompts], vocabulary: Vocabulary
    ) -> Replay | None:
        """As distill."""
        return self._drawn.replay(concept, earlier, vocabulary)

    def row_rate(self) -> float:
        """As distill."""
        return self._drawn.row_rate()

    def rephrases(self) -> float:
        """As distill."""
        return self._drawn.rephrases()

    def ema_decay(self) -> float | None:
        """As distill."""
        return self._drawn.ema_decay()

    def objective(self, default: Denoising, access: TrainingAccess) -> Objective:
        """As distill; the penalty is added by gram's constraint."""
        return self._drawn.objective(default, access)

    def keep_prompts(
        self, concept: ConceptPrompts, earlier: Sequence[ConceptPrompts]
    ) -> Sequence[ConceptPrompts]:
        """As distill."""
        return self._drawn.keep_prompts(concept, earlier)


STRATEGY = DistillGram
