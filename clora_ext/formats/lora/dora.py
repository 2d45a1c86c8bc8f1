"""DoRA: the magnitudes beside an adapter's factors, and which way they go."""

from math import prod
from typing import Literal

from clora_ext.adapters.decomposed import DecomposedAdapter
from clora_ext.adapters.delta import Delta
from clora_ext.errors import CheckpointError

from .keys import Role
from .parts import DAMAGED, Parts
from .strength import Configs

__all__ = ["check_magnitude", "with_magnitude"]

_ROLES: tuple[Role, ...] = ("dora_scale", "lora_magnitude_vector")


def check_magnitude(parts: Parts, configs: Configs) -> None:
    """A magnitude fits the layer; where a configuration promises one, it is there.

    Raises:
        CheckpointError: it does not fit, is missing, or is there twice.
    """
    roles = [role for role in _ROLES if role in parts]
    if len(roles) > 1:
        message = f"{parts.file.path}: {parts.site.module} has two magnitudes"
        raise CheckpointError(message, fix=DAMAGED)
    if roles:
        _axis(parts, roles[0])
    elif configs.has_magnitude(parts.site):
        message = f"{configs.where}: DoRA, but {parts.file.path} holds no magnitude of {parts.site.module}"
        raise CheckpointError(message, fix=DAMAGED)


def with_magnitude(parts: Parts, direction: Delta) -> Delta | DecomposedAdapter:
    """The adapter with its magnitude, if it has one."""
    for role in _ROLES:
        if role in parts:
            return DecomposedAdapter(direction, parts.read(role).flatten(), _axis(parts, role))
    return direction


def _axis(parts: Parts, role: Role) -> Literal["output", "input"]:
    """What a magnitude is of.

    PEFT's is always of the outputs: (out,), of a convolution (1, out, 1, 1). LyCORIS and OneTrainer write
    (out, 1, ...) with ``wd_on_out`` and (1, in, ...) without; as in ComfyUI, the first side tells which.
    """
    shape, site = parts.shape(role), parts.site.shape
    if len(site) > 1 and shape:
        ours = shape[0] if role == "dora_scale" else max(shape)
        if ours == site[0] == prod(shape):
            return "output"
        if role == "dora_scale" and shape[:2] == (1, site[1]) and prod(shape) == site[1]:
            return "input"
    raise parts.misfit(role)
