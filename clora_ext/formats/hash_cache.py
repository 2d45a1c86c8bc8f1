"""Hashes of large files, remembered from one run to the next: a base of 7 GB is not read on every command.

A file is hashed again when its size, its time of change or its inode differs.
"""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .digest import file_sha256
from .user_cache import read_cached, write_cached

__all__ = ["cached_sha256"]

_FILE = "hashes.json"
_VERSION = 1
_HASH = re.compile(r"[0-9a-f]{64}")
_MOST = 64  # files remembered
# A file that was written this short a time ago may be written again with no new time (FAT counts in 2 s).
_FRESH = 3_000_000_000  # nanoseconds


class _Entry(NamedTuple):
    """What a file was when it was hashed."""

    size: int
    mtime_ns: int
    inode: int
    sha256: str


_entries: dict[str, _Entry] = {}  # by path; what this process has hashed itself


def cached_sha256(path: Path) -> str:
    """sha256 of a whole file, as 64 hex digits; reads the file only if it is not the one remembered.

    Raises:
        CheckpointError: it cannot be read.
    """
    key, before = os.path.realpath(path), _identity(path)
    known = _entries.get(key) or _stored().get(key)
    if known is not None and known[:3] == before:
        return known.sha256
    settled = before is not None and time.time_ns() - before[1] > _FRESH
    sha256 = file_sha256(path)
    if settled and before is not None and _identity(path) == before:
        _remember(key, _Entry(*before, sha256))
    return sha256


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Size in bytes, time of change in nanoseconds, inode; None: it cannot be asked."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def _remember(key: str, entry: _Entry) -> None:
    """In this process, and on the disk where that can be had."""
    _entries[key] = entry
    others = {path: other for path, other in _stored().items() if path != key}
    newest = dict([*others.items(), (key, entry)][-_MOST:])
    write_cached(_FILE, {"version": _VERSION, "files": newest})


def _stored() -> dict[str, _Entry]:
    """What the cache file says; what is no entry in it is passed over."""
    content = read_cached(_FILE)
    if not isinstance(content, dict) or content.get("version") != _VERSION:
        return {}
    return dict(_valid(content.get("files")))


def _valid(files: object) -> Iterator[tuple[str, _Entry]]:
    """Those entries that are entries."""
    for path, entry in files.items() if isinstance(files, dict) else ():
        match entry:
            case [int(size), int(mtime_ns), int(inode), str(sha256)] if _HASH.fullmatch(sha256):
                yield path, _Entry(size, mtime_ns, inode, sha256)
