"""How the model of a run is computed: as this machine does it best, and as the run's settings have it."""

from dataclasses import replace
from typing import TYPE_CHECKING

from .plan import Plan

if TYPE_CHECKING:
    from clora_ext.config.precision import Precision

__all__ = ["precision_of", "training_precision_of"]


def precision_of(plan: Plan) -> "Precision":
    """Of the model that is measured and drawn with before the training and after it, by each process alone.

    One that is shared out to be trained need not fit on a card.
    """
    from clora_ext.config.precision import pick_precision

    compute = plan.settings.compute
    return replace(pick_precision(), offloads_denoiser=compute.offload_base or compute.shard)


def training_precision_of(plan: Plan) -> "Precision":
    """Of the model that is taught."""
    shards = plan.settings.compute.shard
    before = precision_of(plan)
    return replace(before, offloads_denoiser=before.offloads_denoiser and not shards, shards_denoiser=shards)
