"""Workers on a Slurm cluster, through submitit (an optional dependency: ``pip install clora[study]``)."""

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clora_ext.errors import Cancelled, CloraError, UsageError
from clora_ext.events import Note, Sink

from .processes import work_alone

__all__ = ["work_on_cluster"]

_PAUSE = 1.0  # seconds between two looks at the jobs
_ERROR = re.compile(r"^(?:\w+\.)*\w*(?:Error|Memory|Changed|Locked|Exception): (.+)$", re.MULTILINE)
_LONGEST = 300  # characters of what is no such traceback


def work_on_cluster(
    folder: Path,
    workers: int,
    sink: Sink,
    check: Callable[[], None],
    *,
    options: Mapping[str, Any],
    cluster: str = "slurm",
) -> None:
    """Submit workers, which share the jobs out among themselves, and wait until the last has ended.

    All must see the study's folder under the same path, on a file system with locks. A worker that the
    cluster kills lets go of its job; the same command goes on.

    Args:
        folder: of the study.
        workers: jobs of the cluster.
        sink: told what happens.
        check: asked while waiting; may raise Cancelled: the cluster's jobs are then cancelled.
        options: of submitit's executor: ``slurm_partition``, ``timeout_min``, ``gpus_per_node`` and so on.
        cluster: submitit's name of it; ``local``: processes on this machine.

    Raises:
        UsageError: submitit is not installed, or does not take an option.
        CloraError: workers have failed.
    """
    try:
        import submitit
    except ImportError as error:
        fix = "pip install 'clora[study]'"
        raise UsageError("submitit, which speaks to Slurm, is not installed", fix=fix) from error
    executor = submitit.AutoExecutor(folder=folder / "cluster", cluster=cluster)
    try:
        executor.update_parameters(**{"name": "clora-study", **options})
    except (NameError, AssertionError, TypeError, ValueError) as error:
        raise UsageError(
            f"submitit does not take these options: {error}", fix="see submitit's documentation"
        ) from error
    jobs = [executor.submit(work_alone, str(folder.resolve())) for _ in range(workers)]
    sink(Note(f"submitted to {cluster}: {', '.join(str(job.job_id) for job in jobs)}"))
    try:
        while not all(job.done() for job in jobs):
            check()
            time.sleep(_PAUSE)
    except Cancelled:
        for job in jobs:
            job.cancel()
        raise
    failed = {str(job.job_id): job.exception() for job in jobs if job.exception() is not None}
    if failed:
        lines = "\n".join(f"{name}: {_reason(str(error))}" for name, error in failed.items())
        message = f"{len(failed)} of {workers} workers ended with an error:\n{lines}"
        raise CloraError(message, fix=f"their logs are in {folder / 'cluster'}; the same command goes on")


def _reason(text: str) -> str:
    r"""What ended a worker, of the traceback that submitit passes on.

    >>> _reason("failed with trace:\nclora_ext.errors.StorageError: no space\nfree some\n----")
    'no space'
    """
    found = _ERROR.findall(text)
    return found[-1] if found else " ".join(text.split())[:_LONGEST]
