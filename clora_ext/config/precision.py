"""Device and number formats, decided once, with the reason."""

from dataclasses import dataclass

import torch

__all__ = ["Precision", "pick_precision"]


@dataclass(frozen=True, slots=True)
class Precision:
    """Where and how numbers are computed.

    The adapter and all arithmetic of folding are float32 everywhere; this is about the frozen model.

    Attributes:
        device: of the model.
        frozen: dtype of the frozen weights while training and sampling.
        mixed: accelerate's name of the mixed precision: ``no``, ``bf16`` or ``fp16``.
        reason: why, for people.
    """

    device: torch.device
    frozen: torch.dtype
    mixed: str
    reason: str


def pick_precision() -> Precision:
    """The best that this machine has."""
    if torch.cuda.is_available():
        device = torch.device("cuda")
        name = torch.cuda.get_device_name(device)
        if torch.cuda.is_bf16_supported():
            return Precision(device, torch.bfloat16, "bf16", f"{name} computes in bfloat16")
        return Precision(device, torch.float16, "fp16", f"{name} has no bfloat16; float16 with loss scaling")
    if torch.backends.mps.is_available():
        return Precision(torch.device("mps"), torch.float32, "no", "Apple GPU, float32")
    return Precision(torch.device("cpu"), torch.float32, "no", "no GPU found; float32 on the processor")
