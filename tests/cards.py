"""A machine with a card, of which plans are made where there is none."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from clora_ext.config.precision import Precision

GIB = 1 << 30


@contextmanager
def a_gpu(free: int = 24 * GIB) -> Iterator[None]:
    """Plans are made as for a card that computes in bfloat16; nothing can be computed there."""
    card = Precision(torch.device("cuda"), torch.bfloat16, "a test")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clora_ext.config.precision.pick_precision", lambda: card)
        patch.setattr("clora_ext.config.memory.free_memory", lambda device: free)
        yield
