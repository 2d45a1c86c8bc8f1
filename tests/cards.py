"""Machines with a card: the real one, and one of which plans are made where there is none."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from clora_ext.config.precision import Precision

GIB = 1 << 30
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@contextmanager
def a_gpu(free: int = 24 * GIB) -> Iterator[None]:
    """Plans are made as for a card that computes in bfloat16; nothing can be computed there."""
    card = Precision(torch.device("cuda"), torch.bfloat16, "a test")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clora_ext.config.precision.pick_precision", lambda: card)
        patch.setattr("clora_ext.config.memory.free_memory", lambda device: free)
        yield


def on_card(patch: pytest.MonkeyPatch, name: str) -> Precision:
    """From now on, models are loaded onto the card in this format, whatever it would be given itself."""
    dtype = HALVES[name]
    if dtype == torch.bfloat16 and not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("this card does not compute in bfloat16")
    precision = Precision(torch.device("cuda"), dtype, f"a test in {name}")
    patch.setattr("clora_ext.config.precision.pick_precision", lambda: precision)
    return precision


def on_processor(patch: pytest.MonkeyPatch) -> None:
    """The same without the card."""
    precision = Precision(torch.device("cpu"), torch.float32, "a test on the processor")
    patch.setattr("clora_ext.config.precision.pick_precision", lambda: precision)
