"""A few threads that work on the tensors of a file, and how many torch has of its own."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

__all__ = ["one_thread", "workers"]

# More only wait for the disk, and each takes some megabytes.
_MOST = 4


@contextmanager
def workers() -> Iterator[ThreadPoolExecutor]:
    """Threads for jobs that release the interpreter: reading, writing, hashing, arithmetic of torch.

    On leaving, whatever the reason, jobs that have not begun are dropped and the others waited for.
    """
    pool = ThreadPoolExecutor(min(_MOST, os.cpu_count() or 1), thread_name_prefix="clora")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch's arithmetic: results then do not depend on how many cores a machine has.

    What works in threads of its own is faster so, too: small tensors are not worth being shared between
    torch's, which would wait for each other.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
