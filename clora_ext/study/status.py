"""How far a study has come. Needs no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from .results import StudyFolder
from .schedule import JobKind, read_schedule

__all__ = ["Progress", "StudyStatus", "study_status"]


@dataclass(frozen=True, slots=True)
class Progress:
    """Of some jobs."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class StudyStatus:
    """How far a study has come.

    Attributes:
        folder: of the study.
        kinds: its jobs by kind.
        strategies: the models of each strategy's runs, by label; what several share counts for each.
        running: what processes are at now, in words.
        failures: what could not be done, in words.
        seconds: that a job of each kind has taken, mean; kinds without a result are left out.
        bytes: of the models that lie there now.
    """

    folder: Path
    kinds: Mapping[str, Progress]
    strategies: Mapping[str, Progress]
    running: tuple[str, ...]
    failures: tuple[str, ...]
    seconds: Mapping[str, float]
    bytes: int

    @property
    def is_done(self) -> bool:
        """Whether nothing is left."""
        return all(one.done == one.total for one in self.kinds.values())

    @property
    def seconds_left(self) -> float | None:
        """What one worker would still take, by the means so far; None: some kind has no result yet."""
        left = {kind: one.total - one.done for kind, one in self.kinds.items() if one.total > one.done}
        if not left.keys() <= self.seconds.keys():
            return None
        return sum(count * self.seconds[kind] for kind, count in left.items())

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "folder": str(self.folder), "seconds_left": self.seconds_left}


def study_status(folder: Path) -> StudyStatus:
    """Count results.

    Raises:
        ProjectError: there is no study in the folder.
    """
    schedule, store = read_schedule(folder), StudyFolder(folder)
    done = {job.key for job in schedule.jobs if store.is_done(job.key)}
    words = {job.key: job.words for job in schedule.jobs}
    kinds = {}
    seconds = {}
    for kind in get_args(JobKind):
        jobs = schedule.of_kind(kind)
        if not jobs:
            continue
        finished = [job for job in jobs if job.key in done]
        kinds[kind] = Progress(len(finished), len(jobs))
        times = [
            result["cost"]["seconds"] for job in finished if (result := store.result(job.key)) is not None
        ]
        if times:
            seconds[kind] = sum(times) / len(times)
    models: dict[str, set[str]] = {}
    for run in schedule.runs:
        models.setdefault(run.strategy, set()).update(run.models)
    files = (path for key in store.models() for path in store.model(key).rglob("*") if path.is_file())
    return StudyStatus(
        folder=folder,
        kinds=kinds,
        strategies={name: Progress(len(keys & done), len(keys)) for name, keys in models.items()},
        running=tuple(words[key] for key in sorted(store.running() & words.keys())),
        failures=tuple(text for key, text in store.failures().items() if key in words),
        seconds=seconds,
        bytes=sum(path.stat().st_size for path in files),
    )
