"""Device and number formats, decided once, with the reason."""

from dataclasses import dataclass

import torch
from torch import Tensor, autocast

from .processes import computes_on_processor

__all__ = ["Precision", "pick_precision", "to_device", "to_keep"]


@dataclass(frozen=True, slots=True)
class Precision:
    """Where and how numbers are computed.

    The adapter and all arithmetic of folding are float32 everywhere; this is about the frozen model.

    Attributes:
        device: of the model.
        frozen: dtype of the frozen weights while training and sampling.
        reason: why, for people.
        offloads_denoiser: whether the denoiser's weights are kept in the machine's memory, and copied to the
            device for a layer while it computes.
        shards_denoiser: whether they wait in the machine's memory until they are shared out over several
            processes; see :meth:`clora_ext.families.model.Model.shard_denoiser`.
    """

    device: torch.device
    frozen: torch.dtype
    reason: str
    offloads_denoiser: bool = False
    shards_denoiser: bool = False

    @property
    def is_mixed(self) -> bool:
        """Whether the frozen weights are half as wide as the adapter's."""
        return self.frozen != torch.float32

    @property
    def needs_scaling(self) -> bool:
        """Whether gradients vanish unless the loss is scaled up: float16 ends at 6e-8."""
        return self.frozen == torch.float16

    def autocast(self) -> autocast:
        """While it is entered, float32 inputs meet the frozen weights in their dtype."""
        dtype = self.frozen if self.is_mixed else None
        return autocast(self.device.type, dtype, enabled=self.is_mixed)


def pick_precision() -> Precision:
    """The best that this machine has; of several processes on as many GPUs, each asks for its own."""
    if computes_on_processor():
        return Precision(torch.device("cpu"), torch.float32, "ACCELERATE_USE_CPU: float32 on the processor")
    if torch.cuda.is_available():
        device = torch.device("cuda")
        name = torch.cuda.get_device_name(device)
        # Older cards say that they support bfloat16 and compute it in float32, slower than float16.
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision(device, torch.bfloat16, f"{name} computes in bfloat16")
        return Precision(device, torch.float16, f"{name} has no bfloat16; float16 with loss scaling")
    if torch.backends.mps.is_available():
        return Precision(torch.device("mps"), torch.float32, "Apple GPU, float32")
    return Precision(torch.device("cpu"), torch.float32, "no GPU found; float32 on the processor")


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on ``device``; a copy to a GPU is queued, and the processor does not wait for it.

    A plain ``to`` waits until all that was queued before is done: the GPU would idle in every step.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def to_keep(tensor: Tensor) -> Tensor:
    """What an encoder gave as it is kept: on the processor, float32; bfloat16 stays, which is half as large.

    What reads it again widens it: no bit is lost.
    """
    return tensor.cpu() if tensor.dtype == torch.bfloat16 else tensor.float().cpu()
