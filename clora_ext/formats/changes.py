"""What differs between two states of one model."""

from collections.abc import Iterator

import torch
from torch import Tensor

from .checkpoint import Checkpoint

__all__ = ["changes"]


def changes(before: Checkpoint, after: Checkpoint) -> Iterator[tuple[str, Tensor]]:
    """Name and new value of every tensor of ``after`` that is not the same in ``before``."""
    for name in after.names:
        value = after.read(name)
        if name not in before or not torch.equal(before.read(name), value):
            yield name, value
