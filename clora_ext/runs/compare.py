"""Teach the same pictures by several strategies, each on a copy of the project, and show them together."""

import csv
import io
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clora_ext import strategies
from clora_ext.config.processes import check_single_process
from clora_ext.config.settings import Settings
from clora_ext.errors import ProjectError, UsageError, did_you_mean, writing
from clora_ext.events import Note, Sampled, Sink, ignore
from clora_ext.project import ConceptRecord, Project, copy_project
from clora_ext.project.concept_files import concept_files
from clora_ext.project.outcome import Outcome
from clora_ext.project.storage import replace_text
from clora_ext.training.curve import read_curve, training_seconds

from .add_concept import add_concept
from .make_plan import make_plan
from .request import Request

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Comparison", "ComparisonRow", "compare", "comparison_folder"]

_COPIES, _SHEET, _TABLE = "copies", "sheet.png", "table.csv"


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """The concept by one strategy.

    Attributes:
        strategy: its name.
        outcome: what was measured.
        seconds: that the training took; None: not known.
        content_hash: of the model that it gave.
        copy: the project that was taught; gone unless copies are kept.
    """

    strategy: str
    outcome: Outcome | None
    seconds: float | None
    content_hash: str
    copy: Path

    def as_dict(self) -> dict[str, Any]:
        """Plain values, one for each column of the table."""
        found, outcome = {"strategy": self.strategy}, self.outcome
        score, loss = (None, None) if outcome is None else (outcome.likeness, outcome.held_out)
        kept = {f"kept {one.number}": one.share for one in outcome.kept} if outcome else {}
        return {
            **found,
            "learned": None if score is None else score.learned,
            **kept,
            "loss before": None if loss is None else loss.before.mean,
            "loss after": None if loss is None else loss.after.mean,
            "seconds": self.seconds,
            "content_hash": self.content_hash,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Strategies side by side.

    Attributes:
        rows: one for each strategy, as asked for.
        sheet: PNG; a row for each strategy, the new concept first, then those learned before.
        table: CSV with the numbers.
    """

    rows: tuple[ComparisonRow, ...]
    sheet: Path
    table: Path


def comparison_folder(project: Path) -> Path:
    """Where a comparison lies: beside the project, which stays as it is.

    >>> comparison_folder(Path("clora-model")).as_posix()
    'clora-model-compared'
    """
    place = project if project.name not in {"", ".."} else project.resolve()
    return place.parent / f"{place.name}-compared"


def compare(
    request: Request, names: Sequence[str], sink: Sink = ignore, *, keep_copies: bool = False
) -> Comparison:
    """Teach the request's concept by each strategy, on copies of its project, which stays as it is.

    Where it is stopped, the same call goes on.

    Args:
        request: what to teach; its settings' own strategy is not asked.
        names: of the strategies.
        sink: told what happens; may raise Cancelled to stop.
        keep_copies: leave the taught copies, which are projects like any other.

    Raises:
        UsageError: a strategy does not exist, or the pictures have been taught already.
        ProjectError: there is a finished comparison already, or a copy is not of the project as it is now.
        CloraError: as :func:`clora_ext.runs.add_concept.add_concept`.
    """
    check_single_process()
    folder = comparison_folder(request.project)
    if (folder / _TABLE).exists():
        message = f"there is a comparison in {folder} already"
        raise ProjectError(message, fix="move or delete that folder to compare again")
    requests = {name: _by(request, name) for name in _checked(names)}
    for name, one in requests.items():
        if make_plan(one).learned is not None:
            message = f"these pictures have been taught already, by {name}"
            raise UsageError(message, fix="go back by `clora undo` on a copy, and compare there")
    rows, drawings = [], {}
    for name, one in requests.items():
        sink(Note(f"by {name}:"))
        copy = _copy(request.project, folder / _COPIES / name)
        rows.append(_teach(name, replace(one, project=copy), sink))
        drawings[name] = dict(_drawings(copy, sink))
    found = Comparison(tuple(rows), folder / _SHEET, folder / _TABLE)
    _write_sheet(drawings, found.sheet)
    sink(Sampled(found.sheet))
    _write_table(rows, found.table)
    if not keep_copies:
        for row in rows:
            shutil.rmtree(row.copy)
        with suppress(OSError):  # what else lies there is not ours
            (folder / _COPIES).rmdir()
    return found


def _checked(names: Sequence[str]) -> list[str]:
    """Each once, all of them known."""
    known, asked = strategies.names(), list(dict.fromkeys(names))
    for name in asked:
        if name not in known:
            raise UsageError(f"unknown strategy {name!r}", fix=did_you_mean(name, known))
    if not asked:
        raise UsageError("there is no strategy to compare", fix=f"name some of: {', '.join(known)}")
    return asked


def _by(request: Request, strategy: str) -> Request:
    """The same by another strategy with its defaults, whatever it forgets; the copy keeps no old model."""
    settings = request.settings or Settings()
    return replace(
        request,
        keep=0,
        max_forgetting=None,
        settings=settings.with_values(strategy=strategy, strategy_options={}),
    )


def _copy(source: Path, target: Path) -> Path:
    """A copy of the project as it is now, made now or before this was stopped."""
    if not Project.exists(source):
        return target  # a new project: each strategy begins one
    concepts = Project.open(source).concepts
    if Project.exists(target):
        if Project.open(target).concepts[: len(concepts)] != concepts:
            message = f"{target} is no copy of {source} as it is now"
            raise ProjectError(message, fix="delete it, then run the same command again")
        return target
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)  # a copy that was killed half way
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    copy_project(source, target)
    return target


def _teach(name: str, request: Request, sink: Sink) -> ComparisonRow:
    result = add_concept(request, sink)
    record = Project.open(request.project).concepts[-1]
    files = concept_files(request.project, record.number, record.token, record.class_name)
    seconds = training_seconds(read_curve(files.curve))
    return ComparisonRow(name, result.outcome, seconds, result.content_hash, request.project)


def _drawings(project: Path, sink: Sink) -> "Iterator[tuple[str, Image]]":
    """The new concept and those before it, as the model draws them now."""
    from clora_ext.sampling.forgetting import forgetting_report

    opened = Project.open(project)
    rows = [row for row in forgetting_report(project, sink) if row.weight]
    drawn = {row.number: row.samples[opened.number] for row in rows}
    order: Sequence[ConceptRecord] = (opened.held[-1], *opened.held[:-1])
    yield from ((f"{one.token} {one.class_name}", drawn[one.number]) for one in order)


def _write_sheet(drawings: "Mapping[str, Mapping[str, Image]]", target: Path) -> None:
    from clora_ext.sampling.contact_sheet import grid

    columns = list(next(iter(drawings.values())))
    rows = {name: list(found.values()) for name, found in drawings.items()}
    side = max(image.width for images in rows.values() for image in images)
    with writing(target):
        grid(columns, rows, side).save(target, format="PNG")


def _write_table(rows: Sequence[ComparisonRow], target: Path) -> None:
    text = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row.as_dict()))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.as_dict() for row in rows)
    replace_text(target, text.getvalue())
