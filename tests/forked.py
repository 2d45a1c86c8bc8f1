"""Work in a process that can be killed, and that has everything imported already."""

import os
from collections.abc import Callable

__all__ = ["finished", "in_child"]


def in_child(work: Callable[[], object]) -> int:
    """Start ``work`` in a forked process; give its id."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def finished(child: int) -> int:
    """The child's exit status when it has ended: negative if it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
