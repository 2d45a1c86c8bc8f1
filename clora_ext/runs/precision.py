"""How the model of a run is computed: as this machine does it best, and as the run's settings have it."""

from dataclasses import replace
from typing import TYPE_CHECKING

from .plan import Plan

if TYPE_CHECKING:
    from clora_ext.config.precision import Precision

__all__ = ["precision_of"]


def precision_of(plan: Plan) -> "Precision":
    """Of the model that is taught and drawn with."""
    from clora_ext.config.precision import pick_precision

    return replace(pick_precision(), offloads_denoiser=plan.settings.compute.offload_base)
