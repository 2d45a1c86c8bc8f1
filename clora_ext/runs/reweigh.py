"""A concept's kept change, times the weight that is missing, as what is folded next."""

from typing import TYPE_CHECKING

from clora_ext import strategies
from clora_ext.events import Note, Sink
from clora_ext.project import ConceptRecord
from clora_ext.project.weights import weights_of

from .import_lora import fixed_change
from .lora_material import LoraMaterial
from .prepared import PreparedRun

if TYPE_CHECKING:
    from clora_ext.evolving.model import Evolving
    from clora_ext.evolving.trained_concept import TrainedConcept
    from clora_ext.prompts.concept_prompts import ConceptPrompts

__all__ = ["reweigh"]


def reweigh(run: PreparedRun, material: LoraMaterial, sink: Sink) -> "TrainedConcept":
    """What is to be added to the model; nothing else that is kept of the past changes.

    Only the words of a concept that is removed go from a strategy's memory, and come back with it.
    """
    from clora_ext.evolving.trained_concept import TrainedConcept

    plan = run.plan
    later = [one for one in run.project.held if one.images and one.number > _number(run)]
    if later:
        names = ", ".join(one.trigger for one in later)
        sink(Note(f"stays as it is, though it was trained on a model with the former weight: {names}"))
    evolving = plan.context.evolving()
    return TrainedConcept(
        plan.strategy,
        plan.settings.strategy,
        {target.name: target for target in material.changes},
        {target.name: fixed_change(change, target, evolving) for target, change in material.changes.items()},
        imported=True,
        prompts=_words(run, evolving),
        carries_memory=True,
    )


def _number(run: PreparedRun) -> int:
    """Of the concept that is weighed anew."""
    assert run.plan.reweighting is not None  # no other plan comes here  # noqa: S101
    return run.plan.reweighting.number


def _words(run: PreparedRun, evolving: "Evolving") -> "tuple[ConceptPrompts, ...]":
    """Past concepts in words, as the strategy that has the memory would keep them from here on."""
    new, number = run.plan.reweighting, _number(run)
    kept = evolving.prompts(evolving.strategy)
    record = run.project.concepts[number - 1]
    if new is not None and not new.weight:
        return tuple(one for one in kept if one.token.casefold() != record.token.casefold())
    if weights_of(run.project.concepts)[number] or evolving.strategy not in strategies.names():
        return kept
    strategy = strategies.load(evolving.strategy)
    return tuple(strategy.keep_prompts(_in_words(run, record), kept))


def _in_words(run: PreparedRun, record: ConceptRecord) -> "ConceptPrompts":
    """The concept as its strategy was told of it."""
    from clora_ext.prompts.concept_prompts import ConceptPrompts

    captions = tuple(dict.fromkeys(image.caption for image in record.images))
    return ConceptPrompts(record.token, record.class_name, captions or (run.plan.sample_prompt,))
