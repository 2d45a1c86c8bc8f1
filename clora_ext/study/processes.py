"""Several workers on one machine, each a process with a GPU or a processor's thread of its own.

Importing this imports no torch: what a worker may use is decided before it does.
"""

import multiprocessing
import os
import queue
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue
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
from clora_ext.events import Event, Note, Sink

__all__ = ["one_thread", "work_alone", "work_in_processes"]

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


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for arithmetic: results then do not depend on how many cores a machine has."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
    context = multiprocessing.get_context("spawn")
    told: Queue[_Told] = context.Queue()

    def start(number: int) -> SpawnProcess:
        process = context.Process(target=_work, args=(folder, number, os.getpid(), told), daemon=False)
        process.start()
        return process

    crew = [start(number) for number in range(workers)]
    replaced = 0
    try:
        while any(process.exitcode is None for process in crew):
            check()
            _pass_on(told, sink)
            for number, process in enumerate(crew):
                if process.exitcode is not None and process.exitcode < 0 and replaced < _REPLACED * workers:
                    replaced += 1
                    sink(
                        Note(f"worker {number + 1} was killed by signal {-process.exitcode}: another goes on")
                    )
                    crew[number] = start(number)
        _pass_on(told, sink)
    except BaseException:
        _stop(crew, told)
        raise
    killed = [process.exitcode for process in crew if (process.exitcode or 0) < 0]
    if killed:
        message = f"{len(killed)} workers were killed by signal {-(killed[0] or 0)}"
        raise CloraError(message, fix="with less memory for each, fewer of them may do: --workers 1")


def work_alone(folder: str) -> None:
    """All of a worker's life in a process that something else has started, such as a Slurm job."""
    from .results import StudyFolder
    from .run import load_plan
    from .worker import Worker

    path = Path(folder)
    with one_thread():
        Worker(load_plan(path), StudyFolder(path), lambda event: None).work()


def _pass_on(told: "Queue[_Told]", sink: Sink) -> None:
    """Tell what has been told; raise what a worker has raised."""
    try:
        one = told.get(timeout=_PAUSE)
    except queue.Empty:
        return
    if not one.kind:
        sink(Note(one.text))
        return
    raise _KINDS.get(one.kind, CloraError)(one.text, fix=one.fix)


def _stop(crew: Sequence[SpawnProcess], told: "Queue[_Told]") -> None:
    """Ask all to save and stop, and wait for them."""
    for process in crew:
        if process.exitcode is None:
            process.terminate()
    while any(process.exitcode is None for process in crew):
        with suppress(queue.Empty):  # a full pipe would keep a worker from ending
            told.get(timeout=_PAUSE)


def _work(folder: Path, number: int, parent: int, told: "Queue[_Told]") -> None:
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
            told.put(_Told(event.text))

    try:
        with one_thread():
            Worker(load_plan(folder), StudyFolder(folder), sink).work(check)
    except Cancelled:
        raise SystemExit(_STOPPED) from None
    except CloraError as error:
        told.put(_Told(error.message, type(error).__name__, error.fix))
        raise SystemExit(_FAILED) from None


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
