"""A worker: takes one job after another until nothing is left that it can do."""

import platform
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from clora_ext.errors import Cancelled, CloraError, DatasetError, OutOfMemory, StorageError
from clora_ext.events import Note, Sink, Stage
from clora_ext.version import VERSION

from .agenda import Agenda
from .examiner import Examiner
from .plan import StudyPlan
from .results import StudyFolder
from .schedule import Job
from .teach import teach

__all__ = ["Worker"]

_PAUSE = 0.5  # seconds between two looks for what others have finished
# What will not go better with the next job: the study stops, and goes on when it is asked for again.
_STOPPING = (Cancelled, StorageError, OutOfMemory, DatasetError)


class Worker:
    """Does a study's jobs, beside others that do.

    Args:
        plan: of the study.
        folder: its folder.
        sink: told what happens; may raise Cancelled to stop.
    """

    def __init__(self, plan: StudyPlan, folder: StudyFolder, sink: Sink) -> None:
        self._plan = plan
        self._folder = folder
        self._sink = sink
        self._agenda = Agenda(plan.schedule, folder)
        self._examiner = Examiner(plan, folder)
        self._failed: set[str] = set()

    def work(self, check: Callable[[], None] = lambda: None) -> None:
        """Until all is done, or what is left has failed.

        Args:
            check: asked while this worker waits for others; may raise Cancelled to stop.

        Raises:
            CloraError: something that concerns all jobs: a full disk, pictures that have changed.
        """
        while True:
            pending = self._agenda.pending()
            blocked = self._blocked(pending)
            left = [job for job in pending if job.key not in blocked]
            if not left:
                return
            if not any(self._try(job) for job in self._agenda.ready(left)):
                check()
                time.sleep(_PAUSE)

    def _blocked(self, pending: list[Job]) -> set[str]:
        """Jobs that have failed, here or elsewhere, and all that would need their models."""
        blocked = set(self._folder.failures())
        for job in pending:
            if blocked & set(job.needs):
                blocked.add(job.key)
        return blocked

    def _try(self, job: Job) -> bool:
        """Do the job, unless another worker is at it or has just done it."""
        with self._folder.claimed(job.key) as mine:
            if not mine or job.key not in {one.key for one in self._agenda.pending()}:
                return False
            if job.concept:
                self._plan.concepts[job.concept].check()
            self._sink(Note(job.words))
            try:
                self._folder.write_result(job.key, self._done(job))
            except _STOPPING:
                raise
            except CloraError as error:  # others may still succeed
                self._folder.write_failure(job.key, f"{job.words}: {error}")
                self._sink(Note(f"failed: {job.words}: {error.message}"))
        self._agenda.sweep()
        return True

    def _done(self, job: Job) -> Mapping[str, Any]:
        """The job's result."""
        _forget_peak_memory()
        began = time.monotonic()
        found = self._carried_out(job)
        cost = {"seconds": round(time.monotonic() - began, 3), **found.get("cost", {})}
        made = {
            "clora_version": VERSION,
            "host": platform.node(),
            "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        return {"kind": job.kind, "words": job.words, **found, "cost": cost, "made": made}

    def _carried_out(self, job: Job) -> Mapping[str, Any]:
        if job.kind == "teach":
            return teach(self._plan.cells[job.model], self._plan, self._folder, self._sink)
        self._sink(Stage("sample", job.concept or "what nobody taught"))
        if job.kind == "score":
            return self._examiner.score(job, self._sink)
        if job.kind == "ceiling":
            return self._examiner.ceiling(job)
        return self._examiner.drift(job, self._sink)


def _forget_peak_memory() -> None:
    """From now on, the peak is this job's."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
