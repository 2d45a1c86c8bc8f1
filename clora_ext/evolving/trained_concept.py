"""A concept that is trained and not yet part of the model: its changes, and how they will be folded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from torch import Tensor

from clora_ext.adapters.delta import Delta
from clora_ext.adapters.factors import Factors
from clora_ext.adapters.sites import Target
from clora_ext.errors import CheckpointError
from clora_ext.prompts.concept_prompts import ConceptPrompts
from clora_ext.strategies.base import Strategy

__all__ = ["TrainedConcept", "rows_of"]


@dataclass(frozen=True, slots=True)
class TrainedConcept:
    """A concept whose changes are trained and not yet folded.

    Attributes:
        strategy: folds the changes.
        name: of the strategy.
        targets: the layers, by name; those of one tensor do not overlap.
        trained: the changes, by layer; may read them from a file when they are asked for.
        imported: whether they were trained without the strategy. Its memory is then not shown to it: the
            adapters do not go on from what is kept there, so nothing of that may be taken back.
        inputs: E[x x^T] of layers' inputs after the training, by layer; empty: the strategy did not ask.
        started: what the adapters stood for before the training, by layer; of those not in it, nothing.
        prompts: what the strategy keeps of all concepts in words, this one included.
    """

    strategy: Strategy
    name: str
    targets: Mapping[str, Target]
    trained: Mapping[str, Delta]
    imported: bool = False
    inputs: Mapping[str, Tensor] = field(default_factory=dict)
    started: Mapping[str, Factors] = field(default_factory=dict)
    prompts: Sequence[ConceptPrompts] = ()

    def by_tensor(self) -> dict[str, list[Target]]:
        """The layers of every taught tensor, in the order of their rows.

        Raises:
            CheckpointError: two layers share a row.
        """
        found: dict[str, list[Target]] = {}
        for name in self.trained:
            found.setdefault(self.targets[name].tensor, []).append(self.targets[name])
        for layers in found.values():
            layers.sort(key=rows_of)
            for before, after in pairwise(layers):
                if rows_of(before)[1] > rows_of(after)[0]:
                    message = f"the layers {before.name!r} and {after.name!r} share rows"
                    raise CheckpointError(message, fix="teach each weight once")
        return found


def rows_of(target: Target) -> tuple[int, int]:
    """(first, one past the last) of the tensor's rows that the layer is."""
    return target.stored_rows
