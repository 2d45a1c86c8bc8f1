"""Second moments of inputs as a memory file keeps them: in bfloat16, a whole one as its lower triangle."""

from collections.abc import Iterable, Mapping
from math import prod

import torch
from torch import Tensor

from clora_ext.adapters.moments import FULL_WIDTH, RANK, Moment
from clora_ext.adapters.sites import Target
from clora_ext.errors import CheckpointError

from .checkpoint import Checkpoint
from .memory import memory_key

__all__ = ["kept_bytes", "kept_shapes", "measured_bytes", "read_moments", "stored_moment"]

_DTYPE = "BF16"
_HALF, _FLOAT = 2, 4  # bytes of a number
_TRIANGLE, _FACTOR, _DIAGONAL = "triangle", "factor", "diagonal"


def kept_shapes(width: int) -> Mapping[str, tuple[int, ...]]:
    """Names and shapes of what is kept of an input of this width.

    >>> kept_shapes(3), kept_shapes(5120)
    ({'triangle': (6,)}, {'factor': (5120, 128), 'diagonal': (5120,)})
    """
    if width <= FULL_WIDTH:
        return {_TRIANGLE: (width * (width + 1) // 2,)}
    return {_FACTOR: (width, RANK), _DIAGONAL: (width,)}


def kept_bytes(layers: Iterable[Target]) -> int:
    """Bytes of what is kept of all inputs that the layers read."""
    return _HALF * sum(prod(shape) for width in _widths(layers) for shape in kept_shapes(width).values())


def measured_bytes(layers: Iterable[Target]) -> tuple[int, int]:
    """Bytes in memory of the sums while all those inputs are measured, and of what came of them."""
    columns = [(width, width if width <= FULL_WIDTH else RANK) for width in _widths(layers)]
    numbers = sum(width * count for width, count in columns)
    return _FLOAT * numbers, _HALF * numbers


def _widths(layers: Iterable[Target]) -> list[int]:
    """Of all inputs that the layers read."""
    return list({layer.input_name: layer.shape[1] for layer in layers}.values())


def stored_moment(name: str, moment: Moment) -> dict[str, Tensor]:
    """The tensors of an input's moment, by their names in a memory file."""
    kept = moment.rounded()
    if not kept.is_whole:
        return {memory_key(name, _FACTOR): kept.factor, memory_key(name, _DIAGONAL): kept.diagonal}
    rows, columns = torch.tril_indices(kept.width, kept.width)
    return {memory_key(name, _TRIANGLE): kept.factor[rows, columns]}


def read_moments(memory: Checkpoint) -> dict[str, Moment]:
    """Every moment in a memory file, by the name of its input.

    Raises:
        CheckpointError: the file is damaged.
    """
    found = {}
    for key in memory.names:
        name, _, part = key.rpartition(memory_key("", ""))
        if part == _TRIANGLE:
            found[name] = _whole(memory, key)
        elif part == _FACTOR and memory_key(name, _DIAGONAL) in memory:
            found[name] = Moment(memory.read(key), memory.read(memory_key(name, _DIAGONAL)))
    return found


def _whole(memory: Checkpoint, key: str) -> Moment:
    """Of a lower triangle, row after row."""
    triangle = memory.read(key)
    width = int((2 * triangle.numel()) ** 0.5)
    if memory.info(key).dtype != _DTYPE or width * (width + 1) // 2 != triangle.numel():
        message = f"{memory.path}: {key!r} is no triangle of a second moment"
        raise CheckpointError(message, fix="restore the memory from a backup, or clora undo")
    factor = triangle.new_zeros(width, width)
    rows, columns = torch.tril_indices(width, width)
    factor[rows, columns] = triangle
    return Moment(factor, triangle.new_zeros(width))
