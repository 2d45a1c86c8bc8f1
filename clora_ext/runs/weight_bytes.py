"""What a model's weights take where it is computed."""

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

from .plan import Plan

if TYPE_CHECKING:
    from clora_ext.config.precision import Precision
    from clora_ext.families.components import Role

__all__ = ["weight_bytes"]

_FLOAT = 4


def weight_bytes(plan: Plan, precision: "Precision") -> "Mapping[Role, int]":
    """Bytes of the weights by the role of their component; those that wait elsewhere are not counted."""
    header = plan.context.header
    found: dict[Role, int] = {"denoiser": 0, "text_encoder": 0, "vae": 0}
    for name, role in plan.context.family.roles(header).items():
        if role is not None:
            width = _FLOAT if role == "vae" else precision.frozen.itemsize
            found[role] += width * prod(header.tensors[name].shape)
    if precision.offloads_denoiser and precision.device.type == "cuda":
        found["denoiser"] = 0
    return found
