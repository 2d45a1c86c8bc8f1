"""One run at a time works in a project."""

import json
import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from clora_ext.errors import ProjectLocked

from .file_system import lacks_locks, no_locks

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["HOLDER", "LOCK", "Hold", "locked"]

LOCK = ".lock"
"""The file that is locked; the system frees it when its process ends, however that happens.

Where there are no such locks (ENOSYS), its existence is the lock, and it says whose it is.
"""

HOLDER = ".lock.json"
"""Says who holds the lock. Not the locked file itself: older versions of filelock empty that."""

_PATIENCE = 2.0
"""Seconds until a lock counts as another run's.

A process that was killed lets go of its files one after another: whoever takes its place by another lock,
or starts clora again at once, would otherwise find this one still held by nobody.
"""

_LONGEST = 4096  # characters of a file that says whose a lock is


@dataclass(slots=True)
class Hold:
    """A lock that is held.

    Attributes:
        leaves_file: whether the locked file stays; False: it goes with the lock, as the very last thing, so
            that whoever makes and locks a new one finds nothing of this run.
    """

    leaves_file: bool = True


@contextmanager
def locked(folder: Path) -> Iterator[Hold]:
    """Hold the project's lock.

    Raises:
        ProjectLocked: another run holds it; names the run as far as it is known.
        StorageError: the file system has no locks.
        OSError: the lock cannot be made.
    """
    lock = _take(folder)
    hold = Hold()
    try:
        _sign(folder)
        yield hold
    finally:
        try:
            with suppress(OSError):
                (folder / HOLDER).unlink()
            if not hold.leaves_file:
                with suppress(OSError):
                    (folder / LOCK).unlink()
        finally:
            lock.release()


def _take(folder: Path) -> "BaseFileLock":
    """The lock, held."""
    from filelock import FileLock, Timeout

    file = folder / LOCK
    existed = os.path.lexists(file)
    lock = FileLock(file, thread_local=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a lock by existence takes its place
            lock.acquire(timeout=_PATIENCE, poll_interval=0.05)
    except Timeout as error:
        raise _held(folder) from error
    except OSError as error:
        if not existed:
            with suppress(OSError):
                file.unlink()
        if lacks_locks(error):
            raise no_locks(folder, error) from error
        raise
    return lock


def _sign(folder: Path) -> None:
    """Say who holds the lock; only a courtesy, so a full disk is no reason to stop here."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    holder = {"host": platform.node(), "pid": os.getpid(), "started": now}
    file = folder / HOLDER
    with suppress(OSError):
        file.unlink(missing_ok=True)  # never write through a link
        file.write_text(json.dumps(holder), encoding="utf-8")


def _held(folder: Path) -> ProjectLocked:
    """The complaint about a lock that another run holds: whose it is, since when, and what to do."""
    by_existence = _by_existence(folder / LOCK)
    holder = by_existence or _by_signature(folder / HOLDER)
    who, there = "", ""
    if holder is not None:
        pid, host, started = holder
        who = f": process {pid} on {host}, since {started}"
        there = "" if host == platform.node() else f" on {host}"
    fix = f"wait for it to end, or stop it{there}"
    if by_existence is not None:
        fix += (
            f"; if it no longer runs{there}, delete {folder / LOCK}: this file system has no locks that end "
            "with their process"
        )
    elif there:
        fix += "; if it no longer runs there, the file server frees its lock after a while"
    return ProjectLocked(f"another run works in {folder}{who}", fix=fix)


def _by_existence(file: Path) -> tuple[str, str, str] | None:
    """Process, host and time of a lock that is one by being there; None: it is another kind, or nonsense."""
    try:
        with file.open(encoding="utf-8") as opened:
            pid, host = opened.read(_LONGEST).splitlines()[:2]
        since = datetime.fromtimestamp(file.lstat().st_mtime, timezone.utc).isoformat(timespec="seconds")
    except (OSError, ValueError, OverflowError):
        return None
    return _plain(pid, host, since) if pid.isdecimal() else None


def _by_signature(file: Path) -> tuple[str, str, str] | None:
    """The same of a lock of the system's, as its holder has signed; the file may be stale or nonsense."""
    try:
        with file.open(encoding="utf-8") as opened:
            content = json.loads(opened.read(_LONGEST))
        return _plain(*(str(content[key]) for key in ("pid", "host", "started")))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _plain(pid: str, host: str, since: str) -> tuple[str, str, str] | None:
    """The three, cut to what a message may hold; None: they cannot be shown."""
    words = pid[:80], host[:80], since[:80]
    return words if all(word.isprintable() for word in words) else None
