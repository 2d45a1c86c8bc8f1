"""Several workers on one machine, each a process with a GPU or a processor's thread of its own.

Importing this imports no torch: what a worker may use is decided before it does.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType

from clora_ext.errors import (
    Cancelled,
    CheckpointError,
    CloraError,
    DatasetError,
    OutOfMemory,
    StorageError,
    UsageError,
)
from clora_ext.events import Event, Note, Sink, ignore
from clora_ext.formats.threads import one_thread

__all__ = ["work_alone", "work_in_processes"]

_PAUSE = 0.2  # seconds between two looks at the workers
_REPLACED = 2  # workers that were killed, for each that was asked for
_STOPPED, _FAILED = 3, 4
_KINDS = {
    kind.__name__: kind for kind in (UsageError, DatasetError, CheckpointError, OutOfMemory, StorageError)
}


@dataclass(frozen=True, slots=True)
class _Told:
    """What a worker tells.

    Attributes:
        text: a note, or what is wrong.
        kind: name of the error; empty: a note.
        fix: the remedy.
    """

    text: str
    kind: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class _Worker:
    """A worker's process, and the pipe by which it tells what it does: its death breaks no other's."""

    process: SpawnProcess
    told: Connection


def work_in_processes(folder: Path, workers: int, sink: Sink, check: Callable[[], None]) -> None:
    """Start workers, pass on what they tell, and wait until all is done.

    One that is killed is replaced, a few times: its job was let go of and is taken up where it was.

    Args:
        folder: of the study.
        workers: how many.
        sink: told what the workers do.
        check: asked all the while; may raise Cancelled to stop.

    Raises:
        Cancelled: as asked for; the workers have saved and stopped.
        CloraError: what made a worker stop.
    """
    crew = [_start(folder, number) for number in range(workers)]
    replaced = 0
    try:
        while any(one.process.exitcode is None for one in crew):
            check()
            _pass_on(crew, sink)
            for number, one in enumerate(crew):
                if (one.process.exitcode or 0) < 0 and replaced < _REPLACED * workers:
                    replaced += 1
                    sink(Note(f"worker {number + 1} was killed by a signal; another goes on"))
                    crew[number] = _start(folder, number)
        _pass_on(crew, sink)
    except BaseException:
        _stop(crew)
        raise
    killed = [one.process.exitcode for one in crew if (one.process.exitcode or 0) < 0]
    if killed:
        message = f"{len(killed)} workers were killed by signal {-(killed[0] or 0)}"
        raise CloraError(message, fix="if there was too little memory for all of them, start fewer")


def work_alone(folder: str) -> None:
    """All of a worker's life in a process that something else has started, such as a Slurm job."""
    from .results import StudyFolder
    from .run import load_plan
    from .worker import Worker

    path = Path(folder)
    with one_thread():
        Worker(load_plan(path), StudyFolder(path), ignore).work()


def _start(folder: Path, number: int) -> _Worker:
    context = multiprocessing.get_context("spawn")
    mine, its = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(folder, number, os.getpid(), its))
    process.start()
    its.close()  # so that its end is noticed here
    return _Worker(process, mine)


def _pass_on(crew: Sequence[_Worker], sink: Sink) -> None:
    """Tell what has been told, or wait a little; raise what a worker has raised."""
    open_ones = [one.told for one in crew if not one.told.closed]
    if not open_ones:
        time.sleep(_PAUSE)
        return
    ready = wait(open_ones, _PAUSE)
    for told in (one for one in open_ones if one in ready):
        try:
            one: _Told = told.recv()
        except EOFError:
            told.close()
            continue
        if one.kind:
            raise _KINDS.get(one.kind, CloraError)(one.text, fix=one.fix)
        sink(Note(one.text))


def _stop(crew: Sequence[_Worker]) -> None:
    """Ask all to save and stop, and wait for them; what they still tell is not heard."""
    for one in crew:
        if one.process.exitcode is None:
            one.process.terminate()
        one.told.close()
    for one in crew:
        one.process.join()


def _work(folder: Path, number: int, parent: int, told: Connection) -> None:
    """A worker's life."""
    asked = _listen()
    _settle(number)
    from .results import StudyFolder
    from .run import load_plan
    from .worker import Worker

    def check() -> None:
        if asked or os.getppid() != parent:  # whoever started it was killed
            raise Cancelled

    def sink(event: Event) -> None:
        check()
        if isinstance(event, Note):
            _tell(told, _Told(event.text))

    try:
        with one_thread():
            Worker(load_plan(folder), StudyFolder(folder), sink).work(check)
    except Cancelled:
        raise SystemExit(_STOPPED) from None
    except CloraError as error:
        with suppress(Cancelled):
            _tell(told, _Told(error.message, type(error).__name__, error.fix))
        raise SystemExit(_FAILED) from None


def _tell(told: Connection, what: _Told) -> None:
    """Cancelled: nobody listens any more."""
    try:
        told.send(what)
    except OSError as error:
        raise Cancelled from error


def _listen() -> list[int]:
    """A list that is not empty once this process is asked to stop."""
    asked: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        asked.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    return asked


def _settle(number: int) -> None:
    """One GPU, where there are several, and one thread: before torch is imported."""
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):  # their remarks on themselves
        os.environ.setdefault(name, "error")
    import torch

    count = torch.cuda.device_count()
    if count:
        torch.cuda.set_device(number % count)
