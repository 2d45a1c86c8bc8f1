"""Modules filled from a checkpoint in the original layout, one tensor at a time."""

from collections.abc import Callable, Mapping
from math import prod

import torch
from torch import Tensor, nn

from clora_ext.errors import CheckpointError
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.keys import KeyTable, Place

__all__ = ["fill", "local_name"]

_TEXT_MODEL = "text_model."
_MISMATCH = "the file and its configuration do not match"
# What training programs leave in checkpoints and no program reads.
_LEFTOVERS = ("text_model.embeddings.position_ids", "logit_scale", "loss.", "model_ema.", "attn_mask")


def local_name(module: nn.Module, path: str) -> str:
    """``path`` as transformers says it: from 5.6 on without CLIPTextModel's ``text_model.``."""
    if not path.startswith(_TEXT_MODEL) or hasattr(module, _TEXT_MODEL.rstrip(".")):
        return path
    return path.removeprefix(_TEXT_MODEL)


def fill(
    build: Callable[[], nn.Module],
    table: KeyTable,
    checkpoint: Checkpoint,
    weights: Mapping[str, Tensor],
    dtype: torch.dtype,
) -> nn.Module:
    """A module with the checkpoint's weights.

    The names and shapes are compared on the meta device first, so that a hostile configuration costs no
    memory; the module's own initial values are never used.

    Args:
        build: makes the module.
        table: its names in the checkpoint.
        checkpoint: in the original layout.
        weights: float32 matrices that stand in for the file's, by :attr:`Target.name`.
        dtype: of the module's parameters.

    Raises:
        CheckpointError: tensors are missing, too many, of another shape, or not finite.
    """
    with torch.device("meta"):
        module = build()
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    places = {name: table.place(_canonical(module, name)) for name in shapes}
    for name, place in places.items():
        _check_shape(checkpoint, place, shapes[name])
    _check_leftovers(checkpoint, table, places)
    state = {
        name: _weight(checkpoint, place, weights).reshape(shapes[name]).to(dtype)
        for name, place in places.items()
    }
    module.load_state_dict(state, assign=True)
    _number_positions(module)
    return module


def _number_positions(module: nn.Module) -> None:
    """Number a text encoder's positions: no file holds them, and a meta buffer has no values."""
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta:
            owner, _, leaf = name.rpartition(".")
            if leaf != "position_ids":
                raise CheckpointError(
                    f"the buffer {name!r} has no values", fix="report this: it is a bug in clora"
                )
            numbers = torch.arange(buffer.shape[-1], device="cpu").expand(buffer.shape)
            module.get_submodule(owner).register_buffer(leaf, numbers, persistent=False)


def _canonical(module: nn.Module, name: str) -> str:
    """A parameter's name with the ``text_model.`` that :func:`local_name` drops."""
    first = name.split(".", maxsplit=1)[0]
    flat = first in {"embeddings", "encoder", "final_layer_norm"} and hasattr(module, "encoder")
    return f"{_TEXT_MODEL}{name}" if flat and hasattr(module, "final_layer_norm") else name


def _check_shape(checkpoint: Checkpoint, place: Place, needed: tuple[int, ...]) -> None:
    """The tensor must be there and hold the parameter."""
    found = checkpoint.info(place.tensor).shape
    seen = found[::-1] if place.transposed else found
    if seen:
        seen = (seen[0] // place.part[1], *seen[1:])
    if _squeezed(seen) != _squeezed(needed):
        message = f"{checkpoint.path}: {place.tensor!r} has the shape {list(found)}, expected {list(needed)}"
        raise CheckpointError(message, fix=_MISMATCH)


def _check_leftovers(checkpoint: Checkpoint, table: KeyTable, places: Mapping[str, Place]) -> None:
    """A tensor without a place means that the file is another kind of model."""
    known = {place.tensor for place in places.values()}
    extra = [
        name
        for name in checkpoint.names
        if name.startswith(table.prefix)
        and name not in known
        and not name.removeprefix(table.prefix).startswith(_LEFTOVERS)
    ]
    if extra:
        message = f"{checkpoint.path}: {len(extra)} tensors have no place in the model, first {extra[0]!r}"
        raise CheckpointError(message, fix=_MISMATCH)


def _weight(checkpoint: Checkpoint, place: Place, weights: Mapping[str, Tensor]) -> Tensor:
    """One parameter's values, in the file's dtype or float32."""
    index, count = place.part
    height = checkpoint.info(place.tensor).shape[0] // count if count > 1 else 0
    rows = slice(index * height, (index + 1) * height)
    name = place.tensor if count == 1 else f"{place.tensor}[{rows.start}:{rows.stop}]"
    if name in weights:
        tensor = weights[name]
    else:
        tensor = checkpoint.read(place.tensor)
        tensor = tensor[rows].clone() if count > 1 else tensor
    if not torch.isfinite(tensor).all():
        message = f"{checkpoint.path}: {place.tensor!r} has values that are NaN or infinite"
        raise CheckpointError(message, fix="use another copy of the model; this one is broken")
    return tensor.T.contiguous() if place.transposed else tensor


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without the 1 x 1 of a convolution: the original layout stores some matrices that way."""
    return shape[:2] if len(shape) == 4 and prod(shape[2:]) == 1 else shape  # noqa: PLR2004
