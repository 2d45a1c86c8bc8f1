"""What is to be done next: results that are missing, and the models that they need. Needs no torch."""

from collections.abc import Iterator

from clora_ext.project import Project

from .results import StudyFolder
from .schedule import Job, Schedule

__all__ = ["Agenda"]


class Agenda:
    """The jobs of a study that are still to be done, as its folder says.

    Args:
        schedule: all jobs.
        folder: with the results so far.
    """

    def __init__(self, schedule: Schedule, folder: StudyFolder) -> None:
        self._schedule = schedule
        self._folder = folder

    def pending(self) -> list[Job]:
        """Jobs without a result, and those whose model is gone while another needs it; in their order."""
        pending: dict[str, Job] = {}
        needed: set[str] = set()
        for job in reversed(self._schedule.jobs):  # what needs a model comes after it
            gone = job.kind == "teach" and job.key in needed and not self._is_there(job.key)
            if gone or not self._folder.is_done(job.key):
                pending[job.key] = job
                needed.update(job.needs)
        return list(reversed(pending.values()))

    def ready(self, pending: list[Job]) -> Iterator[Job]:
        """Those of ``pending`` that need nothing that is pending itself."""
        waiting = {job.key for job in pending}
        yield from (job for job in pending if not waiting & set(job.needs))

    def sweep(self) -> None:
        """Remove the models that no pending job needs; the disk would otherwise hold one for every cell."""
        pending = self.pending()
        kept = {key for job in pending for key in (job.key, *job.needs)}
        known = {job.key for job in self._schedule.of_kind("teach")}
        for name in self._folder.models():
            key = name.partition(".")[0]
            if key in known and key not in kept:
                self._folder.remove_model(name)

    def _is_there(self, key: str) -> bool:
        return Project.exists(self._folder.model(key))
