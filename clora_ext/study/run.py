"""Run a study: read its file, plan it, do what is not done yet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clora_ext.config.processes import check_single_process
from clora_ext.errors import CloraError, DatasetError, ProjectError, UsageError
from clora_ext.events import Sink, ignore

from .concept import CHANGED
from .file import StudyFile, read_study
from .results import StudyFolder
from .schedule import PLAN, Schedule, read_schedule
from .shipped import SHIPPED, shipped_study

if TYPE_CHECKING:
    from .plan import StudyPlan

__all__ = ["Source", "find_source", "load_plan", "plan_in", "run_study"]


@dataclass(frozen=True, slots=True)
class Source:
    """A study file as it was found.

    Attributes:
        text: its content.
        where: its path, or the name of one that clora ships.
        place: folder from which its paths go.
        name: that its folder is called by.
    """

    text: str
    where: str
    place: Path
    name: str

    @property
    def folder(self) -> Path:
        """Where the study lies unless told otherwise.

        >>> Source("", "demo", Path(), "demo").folder.as_posix()
        'demo-study'
        """
        return Path(f"{self.name}-study")


def find_source(study: str, place: Path | None = None) -> Source:
    """The file of a path, or of the name of a study that clora ships.

    Args:
        study: path or name.
        place: folder from which the file's paths go; None: its own, of a shipped one the current folder.

    Raises:
        UsageError: there is no such file.
    """
    path = Path(study)
    if not path.exists() and study in SHIPPED:
        return Source(shipped_study(study), study, place or Path(), study)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fix = f"give a TOML file, or one of: {', '.join(SHIPPED)}"
        raise UsageError(f"cannot read the study {study}: {error}", fix=fix) from error
    return Source(text, str(path), place or path.parent, path.stem)


def run_study(
    source: Source,
    folder: Path,
    sink: Sink = ignore,
    check: Callable[[], None] = lambda: None,
    *,
    workers: int = 1,
    cluster_options: Mapping[str, Any] | None = None,
) -> Schedule:
    """Do everything that a study asks for and that is not done yet.

    Stopped or killed at any moment, the same call goes on: results are kept one by one, and a training goes
    on from its last saved step.

    Args:
        source: the study's file.
        folder: where results, models under way and the plan lie.
        sink: told what happens; may raise Cancelled to stop.
        check: asked while nothing happens here; may raise Cancelled to stop.
        workers: processes. On a machine with GPUs each has one of them; on processors each one thread. With
            one worker, all is done in this process.
        cluster_options: submitit's, to have the workers run on a Slurm cluster; None: they run here.

    Raises:
        CloraError: the file or what it names cannot be used, or some jobs failed; the others are done.
    """
    check_single_process()
    if workers < 1:
        raise UsageError(f"cannot work with {workers} workers", fix="choose 1 or more")
    plan = begin(source, folder)
    store = StudyFolder(folder)
    if cluster_options is not None:
        from .slurm import work_on_cluster

        work_on_cluster(folder, workers, sink, check, options=cluster_options)
    elif workers == 1:
        from clora_ext.formats.threads import one_thread

        from .worker import Worker

        with one_thread():
            Worker(plan, store, sink).work(check)
    else:
        from .processes import work_in_processes

        work_in_processes(folder, workers, sink, check)
    complain(store, plan.schedule)
    return plan.schedule


def begin(source: Source, folder: Path) -> "StudyPlan":
    """Plan the study, and write the plan into its folder.

    Raises:
        CloraError: the file or what it names cannot be used.
        DatasetError: the pictures of a concept are others than when the study began.
    """
    study = read_study(source.text, source.where)
    store = StudyFolder(folder)
    _refuse_foreign(folder)
    store.make()
    plan = plan_in(folder, study, source.text, source.place)
    if (folder / PLAN).is_file():
        _check_unchanged(study, plan.schedule, read_schedule(folder))
    plan.schedule.write(folder)
    store.forget_failures()
    return plan


def plan_in(folder: Path, study: StudyFile, text: str, place: Path) -> "StudyPlan":
    """The plan of a study that lies in ``folder``, where the concepts are drawn that clora draws."""
    from .plan import plan_study

    drawn: Mapping[str, Path] = {}
    if any(one.drawn is not None for one in study.concepts):
        from .drawn import draw_concepts

        drawn = draw_concepts({one.name: one.drawn for one in study.concepts if one.drawn}, folder)
    return plan_study(study, text, place, drawn)


def load_plan(folder: Path) -> "StudyPlan":
    """The plan that :func:`begin` has written, for a worker in another process.

    Raises:
        CloraError: something that it names is gone or has changed.
    """
    schedule = read_schedule(folder)
    study = read_study(schedule.study, folder / PLAN)
    plan = plan_in(folder, study, schedule.study, Path(schedule.place))
    _check_unchanged(study, plan.schedule, schedule)
    return plan


def complain(store: StudyFolder, schedule: Schedule) -> None:
    """Raise :class:`CloraError` with what has failed, if anything has."""
    known = {job.key for job in schedule.jobs}
    failures = [text for key, text in store.failures().items() if key in known]
    if failures:
        left = sum(not store.is_done(job.key) for job in schedule.jobs)
        message = f"{left} of {len(schedule.jobs)} jobs could not be done:\n" + "\n".join(failures)
        raise CloraError(message, fix="what else could be done is done; the same command tries these again")


def _check_unchanged(study: StudyFile, now: Schedule, before: Schedule) -> None:
    """Concepts that the file describes as before must have the pictures that they had."""
    old: dict[str, Any] = {one.name: one for one in read_study(before.study, PLAN).concepts}
    for entry in study.concepts:
        known = before.concepts.get(entry.name)
        if known is not None and old.get(entry.name) == entry and known != now.concepts[entry.name]:
            message = f"the pictures of concept {entry.name!r} are not those that the study began with"
            raise DatasetError(message, fix=CHANGED)


def _refuse_foreign(folder: Path) -> None:
    """A folder that holds something else is not written into."""
    if folder.is_dir() and not (folder / PLAN).exists() and any(folder.iterdir()):
        known = {"results", "models", "locks", "failed", "concepts"}
        foreign = sorted(path.name for path in folder.iterdir() if path.name not in known)
        if foreign:
            message = f"{folder} is not a study: it holds {foreign[0]!r}"
            raise ProjectError(message, fix="choose an empty or new folder with --output")
