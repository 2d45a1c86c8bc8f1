"""Memory of the device that computes: how much was used, and what is said when it does not suffice."""

import gc
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psutil
import torch

from clora_ext.errors import OutOfMemory

__all__ = ["free_memory", "peak_memory", "release_device_memory", "reporting_out_of_memory", "total_memory"]

_GIB = 1 << 30
# Besides torch.OutOfMemoryError: the processor's allocator, Apple's, and CUDA's libraries.
_MESSAGES = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


@contextmanager
def reporting_out_of_memory(doing: str, remedies: Sequence[str] = ()) -> Iterator[None]:
    """Turn every way of running out of memory into one error; what the failed work held is given back.

    Args:
        doing: what is being done, as in "out of memory while ...".
        remedies: what takes less memory, the first to try first.

    Raises:
        OutOfMemory: with what was being done, the peak, and the remedies.
    """
    try:
        yield
    except OutOfMemory as error:  # from deeper inside, where it is known better what was being done
        if error.fix.startswith(_always()):  # nobody has named a remedy yet
            error.fix = _advice(remedies, error.fix)
        raise
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        # The traceback's frames hold the tensors of what failed, and would keep them.
        traceback.clear_frames(error.__traceback__)
        message = f"out of memory while {doing}: {_usage()}"
        release_device_memory()
        raise OutOfMemory(message, fix=_advice(remedies, _always())) from error


def peak_memory(device: torch.device) -> int:
    """Bytes in use at the most so far: the accelerator's if it is one that counts, else the process's now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def free_memory(device: torch.device) -> int:
    """Bytes that are free now: of the accelerator if it is one that counts, else of the machine."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available)


def total_memory(device: torch.device) -> int:
    """Bytes that there are: of the accelerator if it is one that counts, else of the machine."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    return int(psutil.virtual_memory().total)


def release_device_memory() -> None:
    """Give what nothing refers to any more back to the device."""
    gc.collect()
    if _on_gpu():
        torch.cuda.empty_cache()


def _on_gpu() -> bool:
    """Whether this process computes on one, asked without waking it."""
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return any(message in str(error) for message in _MESSAGES)


def _advice(remedies: Sequence[str], otherwise: str) -> str:
    """All remedies in one sentence."""
    if not remedies:
        return otherwise
    order = ", in this order" if len(remedies) > 1 else ""
    return f"try {', '.join(remedies)}{order}; or {otherwise}"


def _always() -> str:
    """What helps whatever is being done."""
    what, more = ("the GPU", "a GPU") if _on_gpu() else ("much memory", "a machine")
    return f"close other programs that use {what}, or use {more} with more"


def _usage() -> str:
    """The peak beside what there is, in words."""
    if _on_gpu():
        device = torch.device("cuda", torch.cuda.current_device())
        free, total = torch.cuda.mem_get_info(device)
        peak, name = torch.cuda.max_memory_allocated(device), torch.cuda.get_device_name(device)
        elsewhere = max(0, total - free - torch.cuda.memory_reserved(device))
        return f"{_gib(peak)} at the peak of {_gib(total)} on {name}, {_gib(elsewhere)} of which others hold"
    total, process = psutil.virtual_memory().total, psutil.Process().memory_info().rss
    return f"{_gib(process)} in use of the machine's {_gib(total)}"


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB"
