"""Forcing bytes out of every cache between a program and the disk."""

import os
import sys

__all__ = ["flush"]


def flush(descriptor: int) -> None:
    """Force what was written to an open file, or an open folder's names, to the disk.

    On macOS, ``fsync`` leaves them in the drive's own cache, which loses them with the power: see fsync(2).

    Raises:
        OSError: the disk is full or refuses.
    """
    if sys.platform == "darwin" and _flush_drive(descriptor):
        return
    os.fsync(descriptor)


def _flush_drive(descriptor: int) -> bool:
    """Empty the drive's cache too; False: this file system cannot."""
    import fcntl

    try:
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # type: ignore[attr-defined]  # macOS alone has it
    except OSError:
        return False
    return True
