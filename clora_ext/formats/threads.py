"""A few threads that work on the tensors of a file."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

__all__ = ["workers"]

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
