"""What a strategy asks of the model before it learns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from clora_ext.adapters.sites import Target
from clora_ext.events import Sink
from clora_ext.formats.pages import free_models
from clora_ext.prompts import Vocabulary, reads_as_one, vocabulary_of
from clora_ext.sampling.samples import SamplePrompt

from .measured_inputs import measured_inputs
from .memory_remedies import sampling_remedies
from .plan import Plan
from .precision import precision_of

if TYPE_CHECKING:
    from clora_ext.adapters.moments import Moment
    from clora_ext.families.model import Model
    from clora_ext.strategies.base import Layer, Needs

__all__ = ["Observed", "ask_current", "observe_before"]

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Observed:
    """The model before it learns.

    Attributes:
        needs: what the strategy has asked for.
        inputs: E[x x^T] of the layers' inputs, by input; empty: not asked for.
        past_inputs: what is kept of inputs so far, by input, and what was measured first of those of which
            nothing was; empty: the strategy keeps none.
    """

    needs: "Needs"
    inputs: "Mapping[str, Moment]"
    past_inputs: "Mapping[str, Moment]"

    def with_inputs(self, layer: "Layer", target: Target) -> "Layer":
        """The layer with what is known of its input."""
        name = target.input_name
        return replace(layer, inputs=self.inputs.get(name), past_inputs=self.past_inputs.get(name))


def observe_before(
    plan: Plan, prompt: SamplePrompt, ask: "Callable[[Vocabulary], Needs]", sink: Sink
) -> Observed:
    """Ask the strategy what it needs; if that is of the current model, load it, and measure it.

    Args:
        plan: whose model.
        prompt: of samples: inputs are measured while pictures of other prompts are drawn so.
        ask: what the strategy needs, given the words that the model reads.
        sink: told what happens.
    """
    needs = ask(_vocabulary(plan))
    kept = plan.context.evolving().past_inputs(plan.settings.strategy) if plan.strategy.keeps_inputs else {}
    unknown = [layer for layer in plan.layers if layer.input_name not in kept]
    first = needs.inputs_first if plan.strategy.keeps_inputs and unknown else ()
    if not needs.inputs_before and not first:
        return Observed(needs, {}, kept)
    layers = plan.strategy.choose_targets(plan.layers)  # a finished LoRA may change others too

    def measured(model: "Model") -> Observed:
        sample = prompt.sampler(model)
        inputs = measured_inputs(model, layers, needs.inputs_before, sample, sink, rounded=False)
        new = measured_inputs(model, unknown, first, sample, sink, rounded=True)
        return Observed(needs, inputs, {**new, **kept})

    return ask_current(plan, measured)


def ask_current(plan: Plan, ask: "Callable[[Model], _Answer]") -> _Answer:
    """Load the model as it is before the plan is carried out, ask it, and free it.

    Raises:
        OutOfMemory: it cannot be drawn with.
    """
    from clora_ext.config.memory import reporting_out_of_memory

    family, current = plan.context.family, plan.context.open_current()
    try:
        with reporting_out_of_memory("drawing before the training", sampling_remedies(plan)):
            return ask(family.load(current, precision_of(plan)).reading(plan.settings.prompts))
    finally:
        free_models()


def _vocabulary(plan: Plan) -> Vocabulary:
    """The words that the model reads as words."""
    read = plan.context.family.reader(plan.context.header)
    return vocabulary_of(reads_as_one(read))
