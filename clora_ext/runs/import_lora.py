"""A LoRA that was trained elsewhere becomes a concept like any other."""

from dataclasses import replace
from typing import TYPE_CHECKING

from clora_ext.events import Note, Sink

from .plan import LoraMaterial
from .prepared import PreparedRun

if TYPE_CHECKING:
    from clora_ext.adapters.delta import Delta
    from clora_ext.evolving.trained_concept import TrainedConcept

__all__ = ["import_lora"]


def import_lora(run: PreparedRun, material: LoraMaterial, sink: Sink) -> "TrainedConcept":
    """The LoRA as the strategy would have it.

    What the constraint of a training would never have allowed is taken out: the LoRA did not know of it.

    Raises:
        UsageError: the strategy asks for what only a training can give.
    """
    import torch

    from clora_ext.errors import UsageError
    from clora_ext.evolving.trained_concept import TrainedConcept

    plan = run.plan
    if run.needs.inputs_after:
        message = f"the strategy {plan.settings.strategy} measures the model while it is trained"
        raise UsageError(message, fix="choose another strategy for a finished LoRA")
    for note in material.notes:
        sink(Note(note))
    evolving = plan.context.evolving()
    trained: dict[str, Delta] = {}
    for index, (target, factors) in enumerate(material.layers.items()):
        layer = replace(evolving.layer(target, ""), inputs=run.before.inputs.get(target.name))
        rng = torch.Generator().manual_seed(index)
        constraint = plan.strategy.begin(layer, factors.rank, factors.alpha, rng).constraint
        trained[target.name] = factors if constraint is None else constraint.project(factors)
    targets = {target.name: target for target in material.layers}
    return TrainedConcept(
        plan.strategy, plan.settings.strategy, targets, trained, imported=True, prompts=run.kept_prompts
    )
