"""The memory of large models: given back to the system when nothing needs them any more."""

import ctypes
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

__all__ = ["free_models", "release_on_free"]

# mallopt(3), from malloc.h.
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_LARGE = 1 << 20
# Where glibc's own adjustment ends up once tensors have been freed.
_USUAL = 32 << 20


@contextmanager
def release_on_free() -> Iterator[None]:
    """Whatever is allocated meanwhile and is larger than 1 MiB gets pages of its own.

    From 128 KiB to 32 MiB on, glibc puts what is allocated into its heap, side by side, and gives back only
    the heap's end. The layers of a model are of that size: two models, one after the other, would take more
    than the larger one needs. It costs a call to the system for every allocation, so it is meant for loading
    and not for training. Elsewhere than with glibc nothing happens.
    """
    adjust = _mallopt()
    adjust(_MMAP_THRESHOLD, _LARGE)
    try:
        yield
    finally:
        adjust(_MMAP_THRESHOLD, _USUAL)
        # glibc stops adjusting this one too, and would go on at 128 KiB.
        adjust(_TRIM_THRESHOLD, 2 * _USUAL)


def free_models() -> None:
    """Give back the memory of models that nothing refers to any more.

    They refer to themselves, so it would be given back some time later, beside the next one: two of SDXL in
    float32 are 28 GB.
    """
    gc.collect()


@cache
def _mallopt() -> Callable[[int, int], object]:
    """glibc's ``mallopt``, or what does nothing."""
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        if hasattr(library, "gnu_get_libc_version"):
            return library.mallopt
    return lambda option, value: None
