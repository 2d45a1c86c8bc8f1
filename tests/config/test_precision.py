"""Which number format a GPU gets: by what its chip computes in, whatever it emulates."""

from types import SimpleNamespace

import pytest
import torch
from cases import check_each

from clora_ext.config.precision import Precision, pick_precision

CARDS = {
    "Tesla T4": ((7, 5), torch.float16),
    "Tesla V100": ((7, 0), torch.float16),
    "GeForce GTX 1080": ((6, 1), torch.float16),
    "A100": ((8, 0), torch.bfloat16),
    "GeForce RTX 4090": ((8, 9), torch.bfloat16),
    "H100": ((9, 0), torch.bfloat16),
}
"""Compute capabilities, as NVIDIA publishes them; bfloat16 units came with 8.0."""


def on_card(patch: pytest.MonkeyPatch, name: str, capability: tuple[int, int]) -> Precision:
    """What is picked where the driver says that there is such a card."""
    major, minor = capability
    patch.setattr(torch.cuda, "is_available", lambda: True)
    patch.setattr(torch.cuda, "current_device", lambda: 0)
    patch.setattr(torch.cuda, "get_device_name", lambda device: name)
    patch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(major=major, minor=minor)
    )
    patch.setattr(torch.version, "cuda", "12.8")
    # Any of these cards makes a tensor of bfloat16: the older ones compute with it in float32.
    patch.setattr(torch.cuda, "_check_bf16_tensor_supported", lambda device: True)
    return pick_precision()


def test_bfloat16_only_where_the_card_computes_in_it() -> None:
    def check(name: str) -> None:
        capability, dtype = CARDS[name]
        with pytest.MonkeyPatch.context() as patch:
            picked = on_card(patch, name, capability)
        assert picked.frozen == dtype
        assert picked.device.type == "cuda"
        assert picked.is_mixed
        assert picked.needs_scaling == (dtype == torch.float16)
        assert name in picked.reason

    check_each(CARDS, check)


def test_without_a_gpu_everything_is_float32() -> None:
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("there is a GPU")
    picked = pick_precision()
    assert (picked.device.type, picked.frozen) == ("cpu", torch.float32)
    assert not picked.is_mixed
    with picked.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
