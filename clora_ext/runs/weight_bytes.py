"""What a model's weights take where it is computed."""

import re
from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

from .plan import Plan

if TYPE_CHECKING:
    from clora_ext.config.precision import Precision
    from clora_ext.families.components import Role

__all__ = ["shared_bytes", "weight_bytes"]

_FLOAT = 4
_BLOCK = re.compile(r"^.*?\.\d+\.")  # of a tensor's name, up to the number of its block
_AT_ONCE = 2  # blocks of which all parts are there: one computes, the next one's are on their way


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


def shared_bytes(plan: Plan, width: int) -> int:
    """Of the denoiser's weights where they are shared out: a part of all, two blocks, and what is in none.

    Args:
        plan: of several processes.
        width: bytes of a number.
    """
    header = plan.context.header
    blocks: dict[str, int] = {}
    for name, role in plan.context.family.roles(header).items():
        if role == "denoiser":
            block = _BLOCK.match(name)
            key = "" if block is None else block[0]
            blocks[key] = blocks.get(key, 0) + width * prod(header.tensors[name].shape)
    in_none, every = blocks.pop("", 0), sum(blocks.values())
    return (every + in_none) // plan.processes + _AT_ONCE * max(blocks.values(), default=0) + in_none
