"""A LoRA that was trained elsewhere becomes a concept like any other."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from clora_ext.events import Note, Sink
from clora_ext.project import Project
from clora_ext.sampling.samples import SamplePrompt

from .observe import Observed
from .plan import LoraMaterial, Plan

if TYPE_CHECKING:
    from clora_ext.adapters.delta import Delta
    from clora_ext.evolving.trained_concept import TrainedConcept
    from clora_ext.strategies.base import ConceptPrompts, Needs

__all__ = ["import_lora"]


def import_lora(
    plan: Plan,
    project: Project,
    prompt: SamplePrompt,
    needs: "Needs",
    before: Observed,
    kept: "Sequence[ConceptPrompts]",
    sink: Sink,
) -> "tuple[TrainedConcept, tuple[float, ...]]":
    """The LoRA as the strategy would have it; there are no losses.

    What the constraint of a training would never have allowed is taken out: the LoRA did not know of it.

    Raises:
        UsageError: the strategy asks for what only a training can give.
    """
    import torch

    from clora_ext.errors import UsageError
    from clora_ext.evolving.trained_concept import TrainedConcept

    del project, prompt
    if needs.inputs_after:
        message = f"the strategy {plan.settings.strategy} measures the model while it is trained"
        raise UsageError(message, fix="choose another strategy for a finished LoRA")
    assert isinstance(plan.material, LoraMaterial)  # asked by the caller  # noqa: S101
    for note in plan.material.notes:
        sink(Note(note))
    evolving = plan.context.evolving()
    trained: dict[str, Delta] = {}
    for index, (target, factors) in enumerate(plan.material.layers.items()):
        layer = replace(evolving.layer(target, ""), inputs=before.inputs.get(target.name))
        rng = torch.Generator().manual_seed(index)
        constraint = plan.strategy.begin(layer, factors.rank, factors.alpha, rng).constraint
        trained[target.name] = factors if constraint is None else constraint.project(factors)
    targets = {target.name: target for target in plan.material.layers}
    concept = TrainedConcept(
        plan.strategy, plan.settings.strategy, targets, trained, imported=True, prompts=kept
    )
    return concept, ()
