"""What a run's training minimises: the strategy's objective, and what the settings ask for beside it."""

from typing import TYPE_CHECKING

from clora_ext.config.processes import Place

from .prepared import PreparedRun
from .replay import EncodedReplay

if TYPE_CHECKING:
    import torch

    from clora_ext.families.model import Model
    from clora_ext.strategies.objective import Objective
    from clora_ext.training.adapters import Adapters

__all__ = ["objective_of"]


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
    weight = settings.preservation.preserve_class
    if not weight:
        return objective
    pictures = OwnPictures(
        model,
        settings.data.batch_size,
        lambda caption, _: run.concept.bare(caption),
        settings.seed,
        before,
        settings.teaches_text,
        place,
    )
    return ClassPreservation(objective, denoising, pictures, weight)
