"""Teaching: a copy of the model before, one concept more."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clora_ext.errors import writing
from clora_ext.events import Event, Sink, TrainStep
from clora_ext.project import Project, copy_project
from clora_ext.project.concept_files import concept_files
from clora_ext.runs.add_concept import add_concept
from clora_ext.runs.request import Pictures, Request
from clora_ext.training.curve import read_curve, training_seconds

from .cell import Cell
from .plan import StudyPlan
from .results import StudyFolder

__all__ = ["teach"]

_COPYING = ".copying"
_UNFINISHED = ".unfinished"


def teach(cell: Cell, plan: StudyPlan, folder: StudyFolder, sink: Sink) -> Mapping[str, Any]:
    """Teach a cell's last lesson; where it was stopped or killed, it goes on.

    Returns:
        What was made, and what it cost, as plain values.

    Raises:
        CloraError: as :func:`clora_ext.runs.add_concept.add_concept`.
    """
    finished, lesson = folder.model(cell.key), cell.lessons[-1]
    project = finished.with_name(finished.name + _UNFINISHED)
    _begin(project, folder, cell)
    peak = [0]

    def watch(event: Event) -> None:
        if isinstance(event, TrainStep):
            peak[0] = max(peak[0], event.memory_bytes)
        sink(event)

    request = Request(
        source=Pictures(lesson.concept.folder),
        project=project,
        base=None if plan.base.is_demo else plan.base.path,
        token=lesson.concept.words.token,
        class_name=lesson.concept.words.class_name,
        settings=lesson.settings,
        keep=0,
    )
    result = add_concept(request, watch)
    opened = Project.open(project)
    record, usage = opened.concepts[-1], opened.disk_usage()
    curve = concept_files(project, record.number, record.token, record.class_name).curve
    found = {
        "content_hash": result.content_hash,
        "first_loss": record.first_loss,
        "last_loss": record.last_loss,
        "state_level": record.state_level,
        "bytes": {
            "checkpoint": usage.checkpoints,
            "memory": usage.memory,
            "strategy": usage.strategy,
        },
        "cost": {
            "training_seconds": training_seconds(read_curve(curve)),
            "peak_bytes": peak[0] or None,
        },
    }
    with writing(finished):
        os.replace(project, finished)
    return found


def _begin(project: Path, folder: StudyFolder, cell: Cell) -> None:
    """What the lesson is taught on: as it was left, or the model before.

    It lies apart until it is finished: a model that others are to be measured by may be taught anew, long
    after its result was written, and until then nobody must take the model before for it.
    """
    finished = folder.model(cell.key)
    with writing(project):
        if finished.exists() and not project.exists():  # killed before its result was written
            os.replace(finished, project)
        shutil.rmtree(finished, ignore_errors=True)
    if len(cell.lessons) > 1 and not Project.exists(project):
        _copy(folder.model(cell.parent.key), project)


def _copy(before: Path, project: Path) -> None:
    """A model in another place; a copy that was killed half way is made anew."""
    partial = project.with_name(project.name + _COPYING)
    with writing(project):
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(project, ignore_errors=True)
    copy_project(before, partial)
    with writing(project):
        os.replace(partial, project)
