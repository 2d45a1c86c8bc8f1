"""Modules filled from a checkpoint in the original layout, one tensor at a time."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from clora_ext.adapters.scratch import Scratch
from clora_ext.errors import CheckpointError
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.keys import KeyTable, Place
from clora_ext.formats.stored import dtype_of, is_finite

from .modules import places_in

__all__ = ["fill", "local_name"]

_TEXT_MODEL = "text_model."


def local_name(module: nn.Module, path: str) -> str:
    """``path`` as transformers says it: from 5.6 on without CLIPTextModel's ``text_model.``."""
    if not path.startswith(_TEXT_MODEL) or hasattr(module, _TEXT_MODEL.rstrip(".")):
        return path
    return path.removeprefix(_TEXT_MODEL)


def fill(
    module: nn.Module,
    table: KeyTable,
    checkpoint: Checkpoint,
    weights: Mapping[str, Tensor],
    dtype: torch.dtype,
) -> nn.Module:
    """The module with the checkpoint's weights.

    The names and shapes are compared first, so that a hostile configuration costs no memory; the module's own
    initial values are never used.

    Args:
        module: on the meta device.
        table: its names in the checkpoint.
        checkpoint: in the original layout.
        weights: float32 matrices that stand in for the file's, by :attr:`Target.name`.
        dtype: of the module's parameters.

    Raises:
        CheckpointError: tensors are missing, too many, of another shape, or not finite.
    """
    places = places_in(module, table, checkpoint.header, checkpoint.path)
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    scratch = Scratch()
    state = {}
    for name, place in places.items():
        stored = dtype_of(checkpoint.info(place.tensor).dtype)
        # What is converted is read into the same memory each time: fresh memory costs more than the reading.
        values = _weight(checkpoint, place, weights, None if stored == dtype else scratch)
        state[name] = values.reshape(shapes[name]).to(dtype)
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


def _weight(
    checkpoint: Checkpoint, place: Place, weights: Mapping[str, Tensor], scratch: Scratch | None
) -> Tensor:
    """One parameter's values, in the file's dtype or float32; in ``scratch`` as far as they lie there."""
    index, count = place.part
    height = checkpoint.info(place.tensor).shape[0] // count if count > 1 else 0
    rows = slice(index * height, (index + 1) * height)
    name = place.tensor if count == 1 else f"{place.tensor}[{rows.start}:{rows.stop}]"
    if name in weights:
        tensor = weights[name]
    else:
        tensor = checkpoint.read(place.tensor, scratch)
        tensor = tensor[rows].clone() if count > 1 else tensor
    if not is_finite(tensor):
        message = f"{checkpoint.path}: {place.tensor!r} has values that are NaN or infinite"
        raise CheckpointError(message, fix="use another copy of the model; this one is broken")
    if place.swapped:
        return tensor.roll(tensor.shape[0] // 2, dims=0)
    return tensor.T.contiguous() if place.transposed else tensor
