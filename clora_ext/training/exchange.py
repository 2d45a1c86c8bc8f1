"""What processes exchange of a training: values to begin with, and gradients. All come together for it."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.distributed import Store  # type: ignore[attr-defined]  # torch names no exports there

from clora_ext.config.processes import Place

from .plain_values import joined, split

__all__ = [
    "average",
    "connect",
    "disconnect",
    "is_connected",
    "is_of_exchange",
    "take_from_first",
    "told_by_first",
]

_PATIENCE = timedelta(seconds=45)  # with a process that ends in the middle of an exchange
_PLAIN = "plain"  # no name of what split() gives
_PIECE = 1 << 24  # numbers that are exchanged at once: 64 MB of each process


def is_connected() -> bool:
    """Whether torch has a group of processes open, clora's or another."""
    return torch.distributed.is_initialized()


def connect(store: Store, place: Place, device: torch.device) -> None:
    """Open the group: NCCL between GPUs, else gloo.

    Raises:
        RuntimeError: the processes do not reach each other.
    """
    backend = "nccl" if device.type == "cuda" else "gloo"
    torch.distributed.init_process_group(
        backend, store=store, rank=place.rank, world_size=place.size, timeout=_PATIENCE
    )


def disconnect() -> None:
    """Close the group, if it is open."""
    if is_connected():
        torch.distributed.destroy_process_group()


def is_of_exchange(error: RuntimeError) -> bool:
    """Whether it says that processes do not reach each other, and nothing of what is computed."""
    return isinstance(error, torch.distributed.DistError) or "gloo" in f"{error}"


def take_from_first(parameters: Sequence[nn.Parameter]) -> None:
    """Give the parameters the first process's values, in place.

    Raises:
        RuntimeError: a process has ended.
    """
    flat = _flat([value.detach() for value in parameters])
    torch.distributed.broadcast(flat, 0)
    for value, found in zip(parameters, _shaped(flat, parameters), strict=True):
        value.data.copy_(found)


def told_by_first(value: object) -> Any:  # noqa: ANN401 - whatever the first process tells
    """What the first process tells; whatever the others have brought is not asked.

    It travels as safetensors and JSON: torch's own way would have each process run what another sends.

    Args:
        value: plain values and tensors on the processor, nested in mappings, lists and tuples.

    Raises:
        RuntimeError: a process has ended.
        TypeError: something else is in it.
    """
    told = _as_bytes(value)
    length = torch.tensor([len(told)])
    _from_first(length)
    content = torch.frombuffer(bytearray(told), dtype=torch.uint8)
    if len(content) != int(length):
        content = torch.empty(int(length), dtype=torch.uint8)
    _from_first(content)
    tensors = load(content.numpy().tobytes())
    plain = json.loads(tensors[_PLAIN].numpy().tobytes())
    return joined(plain, tensors.__getitem__)


def _as_bytes(value: object) -> bytes:
    tensors: dict[str, Tensor] = {}
    plain = json.dumps(split(value, "told", tensors)).encode()
    return save({**tensors, _PLAIN: torch.frombuffer(bytearray(plain), dtype=torch.uint8)})


def _from_first(values: Tensor) -> None:
    """Give the tensor, on the processor, the first process's values, in place."""
    if torch.distributed.get_backend() == "nccl":  # which reaches GPUs alone
        own = torch.device("cuda", torch.cuda.current_device())
        there = values.to(own)
        torch.distributed.broadcast(there, 0)
        values.copy_(there)
    else:
        torch.distributed.broadcast(values, 0)


def average(parameters: Sequence[nn.Parameter], loss: Tensor, size: int) -> Tensor:
    """Put the mean of all processes' gradients in the place of this one's; give the mean of their losses.

    They are added up in the order of their ranks, so that all processes have the same, in every run.

    Args:
        parameters: in the same order everywhere; who has no gradient anywhere keeps none.
        loss: a scalar.
        size: how many processes there are.

    Raises:
        RuntimeError: a process has ended.
    """
    flat = _flat(
        [
            *(torch.zeros_like(one) if one.grad is None else one.grad for one in parameters),
            torch.tensor([float(one.grad is not None) for one in parameters]),
            loss,
        ]
    )
    _average(flat, size)
    *gradients, known, mean = _shaped(flat, [*parameters, torch.empty(len(parameters)), loss])
    for parameter, gradient, share in zip(parameters, gradients, known.tolist(), strict=True):
        if parameter.grad is not None:
            parameter.grad.copy_(gradient)
        elif share:
            parameter.grad = gradient.to(parameter)
    return mean.to(loss)


def _average(flat: Tensor, size: int) -> None:
    """In place."""
    for start in range(0, len(flat), _PIECE):
        piece = flat[start : start + _PIECE]
        parts = [torch.empty_like(piece) for _ in range(size)]
        torch.distributed.all_gather(parts, piece)
        total, *others = parts
        for other in others:
            total += other
        piece.copy_(total / size)


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    """All numbers in one row, float32, where they can be exchanged: on the GPU, else on the processor."""
    device = tensors[0].device if tensors[0].is_cuda else torch.device("cpu")
    return torch.cat([one.detach().reshape(-1).to(device, torch.float32) for one in tensors])


def _shaped(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The row cut into tensors of these shapes."""
    pieces = torch.split(flat, [one.numel() for one in like])
    return [piece.view(one.shape) for piece, one in zip(pieces, like, strict=True)]
