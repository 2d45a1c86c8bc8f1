"""What a run's training minimises: the strategy's objective, and what the settings ask for beside it."""

from typing import TYPE_CHECKING

from clora_ext.config.processes import Place

from .plan import Plan
from .prepared import PreparedRun
from .replay import EncodedReplay

if TYPE_CHECKING:
    import torch

    from clora_ext.families.model import Model
    from clora_ext.prompts.concept_prompts import ConceptPrompts
    from clora_ext.strategies.objective import Objective
    from clora_ext.training.adapters import Adapters
    from clora_ext.training.own_words import OwnWords

__all__ = ["class_words", "objective_of"]


def objective_of(
    run: PreparedRun,
    model: "Model",
    adapters: "Adapters",
    asked: EncodedReplay | None,
    device: "torch.device",
    place: Place,
) -> "Objective":
    """The objective of a run.

    Args:
        run: with its strategy and settings.
        model: with the adapters inside.
        adapters: without which the model is the one before the training.
        asked: what the strategy wants that one to be asked again; None: nothing.
        device: where the model lies.
        place: of this process in its job.
    """
    from clora_ext.strategies.objective import TrainingAccess
    from clora_ext.training.class_preservation import ClassPreservation
    from clora_ext.training.objective import DenoisingObjective
    from clora_ext.training.own_replay import OwnPictures

    before, settings = adapters.disabled, run.plan.settings
    replay = None if asked is None else asked.during(run, model, before, device, place)
    own = None if asked is None else asked.own(run, model, before, place)
    denoising = DenoisingObjective(before, settings.loss, settings.noise, place)
    objective = run.plan.strategy.objective(denoising, TrainingAccess(model, before, replay, own))
    words = class_words(run.plan, run.concept)
    if words is None:
        return objective
    pictures = OwnPictures(model, words, before, settings.teaches_text, place)
    return ClassPreservation(objective, denoising, pictures, settings.preservation.preserve_class)


def class_words(plan: Plan, concept: "ConceptPrompts") -> "OwnWords | None":
    """Those that the step's pictures are asked again by to keep the class; None: it is not kept."""
    from clora_ext.training.own_words import OwnWords

    settings = plan.settings
    if not settings.preservation.preserve_class:
        return None
    return OwnWords(settings.data.batch_size, lambda caption, _: concept.bare(caption), settings.seed)
