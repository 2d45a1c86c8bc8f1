"""Bytes that survive: forcing a file to the disk, replacing it as a whole."""

import os
from contextlib import suppress
from pathlib import Path

from clora_ext.errors import writing
from clora_ext.formats.flush import flush

__all__ = ["PARTIAL", "replace_text", "sync_file", "sync_folder"]

PARTIAL = ".partial"
"""Ends the name of a file that is being written."""


def sync_file(path: Path) -> None:
    """Force a file's content to the disk."""
    # Windows flushes only what is open for writing.
    _sync(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)


def sync_folder(path: Path) -> bool:
    """Force a folder's names to the disk; False: this file system cannot."""
    if os.name == "nt":  # folders cannot be opened there; NTFS keeps a journal of names
        return True
    try:
        _sync(path, os.O_RDONLY)
    except OSError:
        return False
    return True


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        flush(descriptor)
    finally:
        os.close(descriptor)


def replace_text(path: Path, text: str) -> None:
    """Write ``text`` beside ``path``, force it to the disk, then take ``path``'s place in one step.

    Raises:
        StorageError: the disk is full or refuses; ``path`` is as it was.
    """
    partial = path.with_name(path.name + PARTIAL)
    with writing(path):
        try:
            with partial.open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                flush(file.fileno())
            os.replace(partial, path)  # the one step on which all atomicity rests
        except OSError:
            with suppress(OSError):
                partial.unlink()
            raise
