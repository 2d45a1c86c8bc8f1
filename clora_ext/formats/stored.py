"""Tensors as safetensors stores them: names of dtypes, bytes, and what may not be stored."""

from collections.abc import Mapping
from math import isfinite

import torch
from torch import Tensor

from clora_ext.errors import CheckpointError

__all__ = ["check_finite", "dtype_name", "dtype_of", "is_finite", "raw"]

_DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "BOOL": torch.bool, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def dtype_name(dtype: torch.dtype) -> str:
    """safetensors' name of a dtype.

    >>> dtype_name(torch.float16)
    'F16'
    """
    return _NAMES[dtype]


def dtype_of(name: str) -> torch.dtype | None:
    """The dtype that safetensors calls ``name``; None: torch has none that can be computed with.

    >>> dtype_of("BF16")
    torch.bfloat16
    """
    return _DTYPES.get(name)


def check_finite(name: str, stored: Tensor) -> None:
    """Refuse a tensor with values that are not finite.

    Raises:
        CheckpointError: names the tensor.
    """
    if is_finite(stored):
        return
    message = f"tensor {name!r} has values that are not finite in {dtype_name(stored.dtype)}"
    raise CheckpointError(message, fix="train with a lower learning rate; nothing was changed")


def is_finite(stored: Tensor) -> bool:
    """Whether no value is NaN or infinite.

    Extremes are found many times faster than every value is looked at; eight bits have none.
    """
    if not stored.is_floating_point() or not stored.numel():
        return True
    if stored.dtype.itemsize == 1:
        return bool(torch.isfinite(stored).all())
    least, most = torch.aminmax(stored)
    return isfinite(float(least)) and isfinite(float(most))


def raw(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous tensor, not a copy of them."""
    if not tensor.numel():
        return memoryview(b"")
    flat = tensor.reshape(-1)
    if flat.numel() == 1:  # whose stride may be any
        flat = flat.as_strided((1,), (1,))
    # numpy knows no bfloat16: the bytes are seen through an integer view.
    return flat.view(torch.uint8).numpy().data
