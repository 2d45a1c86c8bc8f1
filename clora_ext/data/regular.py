"""Open a file that somebody else put there: only a regular one, and never waiting for it."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from clora_ext.errors import DatasetError
from clora_ext.formats.digest import stream_sha256
from clora_ext.formats.text import escaped

__all__ = ["Unusable", "dataset_error", "open_regular", "sha256_of", "unreadable"]

REASONS = {
    errno.EACCES: ("may not be read (permission denied)", "give yourself read permission"),
    errno.EPERM: ("may not be read (permission denied)", "give yourself read permission"),
    errno.ELOOP: ("is a loop of symbolic links", "replace the link by the file itself"),
    errno.ENOENT: ("does not exist, or is a link to nothing", "restore the file, or remove the link"),
}


class Unusable(Exception):  # the scan collects these; users meet a DatasetError
    """One file cannot be used.

    Attributes:
        reason: what is wrong; continues a sentence that begins with the file's name.
        fix: what to do about it.
    """

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix


def dataset_error(path: Path, problem: Unusable) -> DatasetError:
    """``problem`` as the error that names the file or folder and ends the run."""
    return DatasetError(f"{escaped(path)} {problem.reason}", fix=problem.fix)


def unreadable(error: OSError) -> Unusable:
    """The operating system's refusal, in words that continue a sentence begun with the file's name."""
    known = REASONS.get(error.errno or 0)
    if known:
        return Unusable(*known)
    return Unusable(f"cannot be read ({error.strerror or error})", "check the disk, or copy the file again")


def open_regular(path: Path) -> BinaryIO:
    """``path`` opened for reading, in binary.

    Its kind is checked before it is opened, since opening a device can act on it, and again afterwards,
    since the file may have been replaced in between. Opening never waits for a pipe's other end.

    Raises:
        Unusable: a folder, a pipe, a device, a broken or circular link, or no permission.
    """
    try:
        refuse_irregular(path.stat().st_mode)
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        file = os.fdopen(os.open(path, flags), "rb")
    except OSError as error:
        raise unreadable(error) from error
    except ValueError as error:
        raise Unusable("has a name that no file can have", "rename the file") from error
    try:
        refuse_irregular(os.fstat(file.fileno()).st_mode)
    except Unusable:
        file.close()
        raise
    return file


def refuse_irregular(mode: int) -> None:
    """Raise :class:`Unusable` unless ``mode``, as ``stat`` gives it, is a regular file's."""
    if stat.S_ISDIR(mode):
        raise Unusable("is a folder, not a file", "rename it, or move it elsewhere")
    if not stat.S_ISREG(mode):
        raise Unusable("is a pipe, socket or device, not a file", "move it elsewhere")


def sha256_of(file: BinaryIO) -> str:
    """The SHA-256 of the whole of ``file``, as 64 hex digits; ``file`` then stands at its start again."""
    file.seek(0)
    digest = stream_sha256(file)
    file.seek(0)
    return digest
