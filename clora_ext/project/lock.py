"""One run at a time works in a project."""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from clora_ext.errors import ProjectLocked

__all__ = ["HOLDER", "LOCK", "locked"]

LOCK = ".lock"
"""The file that is locked; the system frees it when its process ends, however that happens."""

HOLDER = ".lock.json"
"""Says who holds the lock. Not the locked file itself: older versions of filelock empty that."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the project's lock.

    Raises:
        ProjectLocked: another run holds it; names the run as far as it is known.
        OSError: the lock cannot be made.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise ProjectLocked(
            f"another run works in {folder}{_who(folder)}", fix="wait for it to end, or stop it"
        ) from error
    try:
        _sign(folder)
        yield
    finally:
        try:
            with suppress(OSError):
                (folder / HOLDER).unlink()
        finally:
            lock.release()


def _sign(folder: Path) -> None:
    """Say who holds the lock; only a courtesy, so a full disk is no reason to stop here."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    holder = {"host": platform.node(), "pid": os.getpid(), "started": now}
    file = folder / HOLDER
    with suppress(OSError):
        file.unlink(missing_ok=True)  # never write through a link
        file.write_text(json.dumps(holder), encoding="utf-8")


def _who(folder: Path) -> str:
    """The holder in words, or nothing; the file may be half written, stale or nonsense."""
    try:
        with (folder / HOLDER).open(encoding="utf-8") as file:
            content = json.loads(file.read(4096))
        pid, host, started = (str(content[key])[:80] for key in ("pid", "host", "started"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    words = f": process {pid} on {host}, since {started}"
    return words if words.isprintable() else ""
