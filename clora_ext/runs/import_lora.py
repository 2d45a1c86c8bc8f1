"""A LoRA that was trained elsewhere becomes a concept like any other."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from clora_ext.errors import UsageError
from clora_ext.events import Note, Sink
from clora_ext.families.computed_weights import ComputedWeights
from clora_ext.formats.pages import free_models

from .lora_material import LoraMaterial
from .measured_inputs import measured_inputs
from .memory_remedies import sampling_remedies
from .precision import precision_of
from .prepared import PreparedRun

if TYPE_CHECKING:
    from torch import Tensor

    from clora_ext.adapters.delta import Delta
    from clora_ext.adapters.moments import Moment
    from clora_ext.adapters.sites import Target
    from clora_ext.evolving.model import Evolving
    from clora_ext.evolving.trained_concept import TrainedConcept
    from clora_ext.formats.lora.reader import Change
    from clora_ext.strategies.base import Layer, Strategy

__all__ = ["fixed_change", "import_lora"]


def import_lora(run: PreparedRun, material: LoraMaterial, sink: Sink) -> "TrainedConcept":
    """The LoRA as the strategy would have it.

    What the constraint of a training would never have allowed is taken out: the LoRA did not know of it.
    """
    from clora_ext.evolving.trained_concept import TrainedConcept

    plan = run.plan
    if run.needs.gradients_after:
        message = f"the strategy {plan.settings.strategy} measures the model while it is trained"
        raise UsageError(message, fix="choose another strategy for a finished LoRA")
    for note in material.notes:
        sink(Note(note))
    evolving = plan.context.evolving()
    layers = set(plan.layers)
    trained: dict[str, Delta] = {}
    for index, (target, change) in enumerate(material.changes.items()):
        delta = fixed_change(change, target, evolving)
        if target in layers:
            layer = run.before.with_inputs(evolving.layer(target, ""), target)
            delta = _allowed(plan.strategy, layer, delta, index)
        trained[target.name] = delta
    targets = {target.name: target for target in material.changes}
    return TrainedConcept(
        plan.strategy,
        plan.settings.strategy,
        targets,
        trained,
        imported=True,
        inputs=_inputs(run, evolving, targets, trained, sink) if run.needs.inputs_after else {},
        past_inputs=run.before.past_inputs,
        prompts=run.kept_prompts,
    )


def _inputs(
    run: PreparedRun,
    evolving: "Evolving",
    targets: "Mapping[str, Target]",
    trained: "Mapping[str, Delta]",
    sink: Sink,
) -> "Mapping[str, Moment]":
    """What the layers read while the model with the whole LoRA draws what the strategy asks for."""
    from clora_ext.config.memory import reporting_out_of_memory

    plan = run.plan
    weights = ComputedWeights(trained, lambda name: _changed(evolving, targets[name], trained[name]))
    loaded = plan.context.family.load(evolving.current, precision_of(plan), weights)
    model = loaded.reading(plan.settings.prompts)
    del loaded
    try:
        with reporting_out_of_memory("drawing with the LoRA", sampling_remedies(plan)):
            sampler = run.prompt.sampler(model)
            return measured_inputs(
                model, plan.layers, run.needs.inputs_after, sampler, sink, rounded=plan.strategy.keeps_inputs
            )
    finally:
        del model
        free_models()


def _changed(evolving: "Evolving", target: "Target", delta: "Delta") -> "Tensor":
    """The weight with a change, as its tensor holds it."""
    weight = evolving.layer(target, "").current + delta.delta()
    return weight.T.contiguous() if target.layout == "transposed" else weight


def fixed_change(change: "Change", target: "Target", evolving: "Evolving") -> "Delta":
    """The change itself; of a DoRA, over the weight as it is now."""
    from clora_ext.adapters.decomposed import DecomposedAdapter

    if not isinstance(change, DecomposedAdapter):
        return change
    return change.over(partial(evolving.matrix_rows, target), target.shape)


def _allowed(strategy: "Strategy", layer: "Layer", delta: "Delta", seed: int) -> "Delta":
    """The part of a layer's change that the strategy's training would have allowed."""
    import torch

    from clora_ext.adapters.factors import Factors

    rng = torch.Generator().manual_seed(seed)
    if isinstance(delta, Factors):
        constraint = strategy.begin(layer, delta.rank, delta.alpha, rng).constraint
        return delta if constraint is None else constraint.project(delta)
    # No adapter of any rank has to find room: one direction is the least that a strategy must leave.
    constraint = strategy.begin(layer, 1, 1.0, rng).constraint
    return delta if constraint is None else constraint.project_delta(delta)
