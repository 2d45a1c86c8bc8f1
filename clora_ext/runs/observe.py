"""What is taken from the model before it learns: samples, and whatever else the strategy asks for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from clora_ext.adapters.sites import Target
from clora_ext.events import Sink, Stage
from clora_ext.formats.pages import free_models
from clora_ext.project import Project
from clora_ext.prompts import Vocabulary, vocabulary_of
from clora_ext.sampling.samples import SamplePrompt

from .kept import draw_base
from .measure import Baseline, measure_before
from .measured_inputs import measured_inputs
from .memory_remedies import sampling_remedies
from .plan import Plan

if TYPE_CHECKING:
    from PIL.Image import Image

    from clora_ext.adapters.moments import Moment
    from clora_ext.families.base import Model
    from clora_ext.strategies.base import Layer, Needs

__all__ = ["Observed", "observe_before"]


@dataclass(frozen=True, slots=True)
class Observed:
    """The model before it learns.

    Attributes:
        needs: what the strategy has asked for.
        samples: of the concept's prompt.
        inputs: E[x x^T] of the layers' inputs, by input; empty: not asked for.
        past_inputs: what is kept of inputs so far, by input, and what was measured first of those of which
            nothing was; empty: the strategy keeps none.
        baseline: what it is measured by.
    """

    needs: "Needs"
    samples: "Sequence[Image]"
    inputs: "Mapping[str, Moment]"
    past_inputs: "Mapping[str, Moment]"
    baseline: Baseline

    def with_inputs(self, layer: "Layer", target: Target) -> "Layer":
        """The layer with what is known of its input."""
        name = target.input_name
        return replace(layer, inputs=self.inputs.get(name), past_inputs=self.past_inputs.get(name))


def observe_before(
    plan: Plan, project: Project, prompt: SamplePrompt, ask: "Callable[[Vocabulary], Needs]", sink: Sink
) -> Observed:
    """Load the current model once, and take all that is wanted of it.

    Args:
        plan: whose model.
        project: keeps what the base draws.
        prompt: of samples.
        ask: what the strategy needs, given the words that the model reads.
        sink: told of the samples.
    """
    from clora_ext.config.memory import reporting_out_of_memory
    from clora_ext.config.precision import pick_precision

    sink(Stage("sample", "before"))
    context = plan.context
    precision = pick_precision()
    layers = plan.strategy.choose_targets(plan.layers)  # a finished LoRA may change others too
    model = context.family.load(context.open_current(), precision).reading(plan.settings.prompts)
    try:
        with reporting_out_of_memory("drawing before the training", sampling_remedies(plan)):
            needs = ask(_vocabulary(model))
            draw_base(model, plan, project, sink)
            return Observed(
                needs=needs,
                samples=prompt.sample(model, sink),
                inputs=measured_inputs(
                    model, layers, needs.inputs_before, prompt.sampler(model), sink, rounded=False
                ),
                past_inputs=_past_inputs(model, plan, needs, prompt, sink),
                baseline=measure_before(model, plan, precision, sink),
            )
    finally:
        del model
        free_models()


def _vocabulary(model: "Model") -> Vocabulary:
    """The words that it reads as words."""
    return vocabulary_of(lambda word: len(model.tokens(word)) == 1)


def _past_inputs(
    model: "Model", plan: Plan, needs: "Needs", prompt: SamplePrompt, sink: Sink
) -> "dict[str, Moment]":
    """What is kept of all inputs; of those that none of the layers of earlier concepts read, measured now."""
    if not plan.strategy.keeps_inputs:
        return {}
    kept = plan.context.evolving().past_inputs(plan.settings.strategy)
    unknown = [layer for layer in plan.layers if layer.input_name not in kept]
    first = measured_inputs(model, unknown, needs.inputs_first, prompt.sampler(model), sink, rounded=True)
    return {**first, **kept}
