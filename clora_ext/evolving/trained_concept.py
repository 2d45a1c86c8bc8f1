"""A concept that is trained and not yet part of the model: its changes, and how they will be folded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from clora_ext.adapters.delta import Delta
from clora_ext.adapters.factors import Factors
from clora_ext.adapters.moments import Moment
from clora_ext.adapters.sites import Target
from clora_ext.adapters.squared_gradients import SquaredGradients
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
        inputs: E[x x^T] of layers' inputs after the training, by input; empty: the strategy did not ask.
        past_inputs: the sums of those of earlier concepts, by input; all of them, whatever is taught now.
        gradients: squared gradients of its error by layers' weights, by layer; empty: the same.
        started: what the adapters stood for before the training, by layer; of those not in it, nothing.
        prompts: what the strategy keeps of all concepts in words, this one included.
        carries_memory: whether what a strategy has kept stays as it is, and whose it is, but for ``prompts``:
            a concept that is weighed anew teaches nobody anything.
    """

    strategy: Strategy
    name: str
    targets: Mapping[str, Target]
    trained: Mapping[str, Delta]
    imported: bool = False
    inputs: Mapping[str, Moment] = field(default_factory=dict)
    past_inputs: Mapping[str, Moment] = field(default_factory=dict)
    gradients: Mapping[str, SquaredGradients] = field(default_factory=dict)
    started: Mapping[str, Factors] = field(default_factory=dict)
    prompts: Sequence[ConceptPrompts] = ()
    carries_memory: bool = False

    @property
    def measured(self) -> bool:
        """Whether ``fold`` is told of what was measured after the training."""
        return bool(self.inputs or self.gradients)

    @property
    def kept_inputs(self) -> dict[str, int]:
        """Widths of the inputs of which something is kept from now on, by name.

        Raises:
            CheckpointError: the strategy has declared that it keeps no statistics.
        """
        if not self.strategy.keeps_inputs:
            return {}
        if self.strategy.state_level != "L2":
            message = f"the strategy {type(self.strategy).__name__} keeps inputs and does not declare L2"
            raise CheckpointError(message, fix="declare the state level L2 in the strategy, or keep nothing")
        known = {**self.past_inputs, **self.inputs}
        return {name: known[name].width for name in sorted(known)}

    def kept_input(self, name: str) -> Moment:
        """What is kept of one of them: the sum of what was kept before and what was measured now."""
        found = [moments[name] for moments in (self.past_inputs, self.inputs) if name in moments]
        return found[0] if len(found) == 1 else found[0].plus(found[1])

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
