"""What is taken from the model before it learns: samples, and whatever else the strategy asks for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clora_ext.events import Sink, Stage
from clora_ext.formats.pages import free_models
from clora_ext.project import Project
from clora_ext.sampling.samples import SamplePrompt

from .kept import draw_base
from .measure import Baseline, measure_before
from .memory_remedies import sampling_remedies
from .plan import Plan

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from clora_ext.strategies.base import Needs

__all__ = ["Observed", "observe_before"]


@dataclass(frozen=True, slots=True)
class Observed:
    """The model before it learns.

    Attributes:
        samples: of the concept's prompt.
        inputs: E[x x^T] of the layers' inputs, by layer; empty: not asked for.
        baseline: what it is measured by.
    """

    samples: "Sequence[Image]"
    inputs: "Mapping[str, Tensor]"
    baseline: Baseline


def observe_before(
    plan: Plan, project: Project, prompt: SamplePrompt, needs: "Needs", sink: Sink
) -> Observed:
    """Load the current model once, and take all that is wanted of it."""
    from clora_ext.config.memory import reporting_out_of_memory
    from clora_ext.config.precision import pick_precision
    from clora_ext.training.statistics import input_moments

    sink(Stage("sample", "before"))
    context = plan.context
    precision = pick_precision()
    model = context.family.load(context.open_current(), precision)
    try:
        with reporting_out_of_memory("drawing before the training", sampling_remedies(plan)):
            draw_base(model, plan, project, sink)
            return Observed(
                samples=prompt.sample(model, sink),
                inputs=input_moments(model, plan.layers, needs.inputs_before, prompt.sampler(model)),
                baseline=measure_before(model, plan, precision, sink),
            )
    finally:
        del model
        free_models()
