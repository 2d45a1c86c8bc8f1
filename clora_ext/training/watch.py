"""Whether the other processes of a job still run, asked by a thread of its own.

On the same machine the system knows at once. Of another machine nothing is known but that a process there
goes on counting where all can read it; who has not counted for a while has ended, or its machine has.
"""

import json
import platform
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from torch.distributed import Store  # type: ignore[attr-defined]  # torch names no exports there

from clora_ext.config.processes import Place

__all__ = ["Watch", "introduce"]

_EVERY = 1.0  # seconds
_SILENT = 40.0  # seconds after which a process on another machine has ended


@dataclass(slots=True)
class _Other:
    """Another process, and when it was last heard of."""

    words: str
    pid: int
    is_here: bool
    count: bytes = b""
    heard: float = 0.0


def introduce(store: Store, place: Place) -> None:
    """Say which process this is, for the others' watch."""
    told = {"pid": psutil.Process().pid, "host": platform.node(), "machine": _machine()}
    store.set(f"who/{place.rank}", json.dumps(told))


class Watch:
    """Looks after others from :meth:`start` to :meth:`stop`: the first process after all, they after it.

    Args:
        store: that all processes share; every other one has introduced itself.
        place: of this one.
    """

    def __init__(self, store: Store, place: Place) -> None:
        self._store = store
        self._place = place
        self._others = {
            rank: _introduced(store, Place(rank, place.size))
            for rank in (range(1, place.size) if place.leads else (0,))
        }
        self._lost = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="clora-watch", daemon=True)

    @property
    def lost(self) -> str:
        """Which process has ended before its time, in words; empty: none."""
        return self._lost

    def start(self) -> None:
        """From now on."""
        now = time.monotonic()
        for other in self._others.values():
            other.heard = now
        self._thread.start()

    def stop(self) -> None:
        """No longer."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(2 * _EVERY)

    def wait_for_verdict(self, seconds: float) -> str:
        """As :attr:`lost`, after a moment in which somebody may turn out to be."""
        end = time.monotonic() + seconds
        while not self._lost and time.monotonic() < end:
            time.sleep(0.05)
        return self._lost

    def _look(self) -> None:
        count, looked = 0, time.monotonic()
        while not self._ended.wait(_EVERY) and not self._lost:
            count += 1
            now = time.monotonic()
            if now - looked > _SILENT / 2:  # this process was stopped itself: nobody could be heard
                for other in self._others.values():
                    other.heard = now
            looked = now
            try:
                self._store.set(f"alive/{self._place.rank}", str(count))
                self._lost = next(filter(None, map(self._ended_too_soon, self._others)), "")
            except RuntimeError:  # the store has gone, and with it whoever kept it
                self._lost = "the launcher, or process 1"

    def _ended_too_soon(self, rank: int) -> str:
        """Words for a process that has; empty: it has not."""
        other = self._others[rank]
        if self._store.check([f"closed/{rank}"]):
            return other.words
        if other.is_here:
            return "" if _runs(other.pid) else other.words
        key = f"alive/{rank}"
        count = self._store.get(key) if self._store.check([key]) else b""
        if count != other.count:
            other.count, other.heard = count, time.monotonic()
        return other.words if time.monotonic() - other.heard > _SILENT else ""


def _introduced(store: Store, place: Place) -> _Other:
    told = json.loads(store.get(f"who/{place.rank}"))
    words = f"{place.words} (number {told['pid']} on {told['host']})"
    return _Other(words, int(told["pid"]), is_here=told["machine"] == _machine())


def _machine() -> str:
    """Of processes that know each other by their numbers: two containers of one machine do not."""
    parts = [platform.node()]
    for file in ("/proc/sys/kernel/random/boot_id",):
        with suppress(OSError):
            parts.append(Path(file).read_text(encoding="ascii").strip())
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _runs(pid: int) -> bool:
    """Whether a process of this machine does."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:  # it may not be asked
        return True
