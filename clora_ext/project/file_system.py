"""What the file system under a project must be able to do; told by name where it cannot, before any work."""

import errno
import os
import re
from pathlib import Path

from clora_ext.errors import StorageError
from clora_ext.formats.flush import flush

__all__ = ["check_flush", "lacks_locks", "no_locks"]

_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_MOUNTS = Path("/proc/self/mountinfo")  # Linux
_POINT = 4  # the column of the mount point
_ESCAPED = re.compile(r"\\([0-7]{3})")
_ELSEWHERE = "choose a folder on a local disk with --project; a project that is here can be moved there"


def lacks_locks(error: OSError) -> bool:
    """Whether a lock was refused because the file system has none, not because somebody holds it."""
    return error.errno in _UNSUPPORTED | {errno.ENOLCK}


def no_locks(folder: Path, error: OSError) -> StorageError:
    """The complaint about a file system without file locks."""
    message = (
        f"{folder} lies on a file system without file locks{_mounted(folder)}: {error.strerror}. "
        "Nothing would keep two runs from changing the model at once"
    )
    return StorageError(
        message, fix=f"{_ELSEWHERE}; or have the file system mounted with locks (NFS: its lock service)"
    )


def check_flush(file: Path) -> None:
    """Make sure that the file system under ``file``, which may be written to, forces bytes to the disk.

    Raises:
        StorageError: it cannot.
    """
    try:
        descriptor = os.open(file, os.O_RDWR)
    except OSError:
        return  # nothing was found out; whoever writes will see
    try:
        flush(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        message = (
            f"{file.parent} lies on a file system that cannot force files to the disk"
            f"{_mounted(file.parent)}: fsync says {error.strerror}. A power cut could leave half a model"
        )
        raise StorageError(message, fix=_ELSEWHERE) from error
    finally:
        os.close(descriptor)


def _mounted(folder: Path) -> str:
    """What kind of file system it is and where it is mounted; empty where the system does not tell."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        here = folder.resolve()
    except (OSError, RuntimeError):
        return ""
    found = ""
    for line in lines:
        words, _, rest = line.partition(" - ")
        columns, kind = words.split(" "), rest.split(" ")[0]
        if len(columns) <= _POINT or not kind:
            continue
        point = _ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), columns[_POINT])
        if here.is_relative_to(point) and len(point) >= len(found.partition(" at ")[2]):
            found = f"{kind} at {point}"
    return f" ({found})" if found.isprintable() and found else ""
