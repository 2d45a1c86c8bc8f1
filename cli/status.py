"""`clora status`: what a project has learned and what it holds."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .options import DEFAULT_PROJECT, JsonOption, ProjectOption
from .output import Output
from .tables import concepts_table
from .wording import ago, command, counted, size

if TYPE_CHECKING:
    from clora_ext.formats.training_state import StoppedRun
    from clora_ext.project import Base, DiskUsage, Project

__all__ = ["EPILOG", "status"]

EPILOG = "Example: clora status --project ./clora-model"


def status(*, project: ProjectOption = DEFAULT_PROJECT, as_json: JsonOption = False) -> None:
    """Show what was learned, how, and what lies on the disk."""
    from clora_ext.project import Project

    output = Output(as_json=as_json)
    opened = Project.open(project)
    usage = opened.disk_usage()
    output.facts({"project": project, **_base(opened.base)})
    output.show("")
    if opened.concepts:
        output.show(concepts_table(opened.concepts))
    elif opened.unfinished is not None:
        output.show("nothing learned yet")
    else:
        output.show(f"nothing learned yet: {command('clora', 'add-concept', '--project', project)} IMAGES")
    if opened.unfinished is not None:
        output.show("")
        output.show(_unfinished(opened.unfinished))
    output.show("")
    output.facts(_state(opened, usage))
    output.result(_as_dict(opened, usage))


def _unfinished(run: "StoppedRun") -> str:
    """The run that has not come to its end, and how it does."""
    return (
        f"an unfinished concept: {run.words}, saved {ago(run.saved)}; the command that began it goes on there"
    )


def _base(base: "Base | None") -> dict[str, object]:
    """What the project started from."""
    if base is None:
        return {"base": "not recorded yet"}
    where = base.path or "the built-in demo model"
    gone = "" if _is_there(base) else " (gone: say where it lies now by clora relocate)"
    found = base.recorded_prediction
    predicts = {} if found is None else {"predicts": found.words}
    return {"base": f"{where}, family {base.family}{gone}", **predicts, "sha256": base.sha256}


def _is_there(base: "Base") -> bool:
    """Whether anything lies where the base was; whether it is the same, only its hash tells."""
    return base.path is None or Path(base.path).exists()


def _base_as_dict(base: "Base") -> dict[str, object]:
    return {
        "kind": base.kind,
        "path": base.path,
        "sha256": base.sha256,
        "family": base.family,
        "prediction": base.prediction,
        "zero_snr": base.zero_snr,
    }


def _state(project: "Project", usage: "DiskUsage") -> dict[str, object]:
    """Where the model is, what it is, and what all of it weighs."""
    parts = {
        "models": usage.checkpoints,
        "memory": usage.memory,
        "sheets": usage.sheets,
        "an unfinished run": usage.training,
    }
    sizes = ", ".join(f"{name} {size(count)}" for name, count in parts.items() if count)
    if usage.strategy:
        sizes += f"; of the memory, the strategy keeps {size(usage.strategy)} for itself"
    facts: dict[str, object] = {}
    if project.current is not None:
        facts |= {"checkpoint": project.checkpoint_path, "content": project.current.content_hash}
        facts["undo"] = f"can go back {counted(project.undoable, 'concept')}"
    return facts | {"on disk": f"{size(usage.total)}{f' ({sizes})' if sizes else ''}"}


def _as_dict(project: "Project", usage: "DiskUsage") -> dict[str, object]:
    """Everything for programs."""
    current, run = project.current, project.unfinished
    return {
        "project": project.folder,
        "base": None if project.base is None else _base_as_dict(project.base),
        "concepts": project.concepts,
        "content_hash": current.content_hash if current else None,
        "checkpoint": project.checkpoint_path,
        "memory": project.memory_path,
        "undoable": project.undoable,
        "unfinished": None if run is None else {**asdict(run), "saved": run.saved.isoformat()},
        "disk": {**asdict(usage), "total": usage.total},
    }
