"""`clora status`: what a project has learned and what it holds."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .learned import brief_words, kept_words
from .options import DEFAULT_PROJECT, JsonOption, ProjectOption
from .output import Output
from .tables import concepts_table
from .wording import ago, command, counted, size

if TYPE_CHECKING:
    from clora_ext.formats.training_state import StoppedRun
    from clora_ext.project import Base, ConceptRecord, DiskUsage, Project

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
        output.show(concepts_table(opened.concepts, output.answers.width))
    elif opened.unfinished is not None:
        output.show("nothing learned yet")
    else:
        output.show(f"nothing learned yet: {command('clora', 'add-concept', '--project', project)} IMAGES")
    if opened.unfinished is not None:
        output.show("")
        output.show(_unfinished(opened.unfinished))
    output.show("")
    output.facts({**_measured(opened), **_state(opened, usage)})
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
    beside = {name.replace("_", " "): file for name, file in base.companions.items()}
    variant = f" ({base.variant})" if base.variant else ""
    return {
        "base": f"{where}, family {base.family}{variant}{gone}",
        **beside,
        **predicts,
        "sha256": base.sha256,
    }


def _is_there(base: "Base") -> bool:
    """Whether anything lies where the base was; whether it is the same, only its hash tells."""
    return base.path is None or Path(base.path).exists()


def _base_as_dict(base: "Base") -> dict[str, object]:
    found = base.companions
    return {
        "kind": base.kind,
        "path": base.path,
        "sha256": base.sha256,
        "family": base.family,
        "prediction": base.prediction,
        "zero_snr": base.zero_snr,
        "variant": base.variant,
        **({"companions": {name: str(file) for name, file in found.items()}} if found else {}),
    }


def _state(project: "Project", usage: "DiskUsage") -> dict[str, object]:
    """Where the model is, what it is, and what all of it weighs."""
    parts = {
        "models": usage.checkpoints,
        "memory": usage.memory,
        "sheets": usage.sheets,
        "curves": usage.curves,
        "kept changes": usage.deltas,
        "an unfinished run": usage.training,
    }
    sizes = ", ".join(f"{name} {size(count)}" for name, count in parts.items() if count)
    if usage.strategy:
        sizes += f"; of the memory, the strategy keeps {size(usage.strategy)} for itself"
    facts: dict[str, object] = {}
    if project.current is not None:
        facts |= {"checkpoint": project.checkpoint_path, "content": project.current.content_hash}
        facts["undo"] = f"can go back {counted(project.undoable, 'concept')}"
    kept = [record.trigger for record in project.concepts if record.delta is not None]
    if kept:
        facts["kept changes"] = f"of {', '.join(kept)}: past adapters, outside of the strict regime"
    return facts | {"on disk": f"{size(usage.total)}{f' ({sizes})' if sizes else ''}"}


def _measured(project: "Project") -> dict[str, object]:
    """What was learned when each concept was taught, and what is left of those before the last."""
    from clora_ext.project.concept_files import read_outcome_of

    outcomes = [(one.number, read_outcome_of(project.folder, one)) for one in project.held]
    learned = [f"{brief_words(outcome)} of concept {number}" for number, outcome in outcomes if outcome]
    kept = read_outcome_of(project.folder, project.concepts[-1]) if project.concepts else None
    return {
        **({"learned": ", ".join(learned)} if learned else {}),
        **({"kept now": kept_words(kept)} if kept and kept.kept else {}),
    }


def _concept(project: "Project", record: "ConceptRecord") -> dict[str, object]:
    """A concept for programs: what is recorded, what was measured, and where its files lie."""
    from clora_ext.project.concept_files import concept_files
    from clora_ext.project.outcome import read_outcome
    from clora_ext.training.curve import read_curve, training_seconds

    files = concept_files(project.folder, record.number, record.token, record.class_name)
    outcome = read_outcome(files.outcome)
    return {
        **asdict(record),
        "weight": project.weights.get(record.number),
        "outcome": None if outcome is None else outcome.as_dict(),
        "training_seconds": training_seconds(read_curve(files.curve)),
        "files": dict(files.there()),
    }


def _as_dict(project: "Project", usage: "DiskUsage") -> dict[str, object]:
    """Everything for programs."""
    current, run = project.current, project.unfinished
    return {
        "project": project.folder,
        "base": None if project.base is None else _base_as_dict(project.base),
        "concepts": [_concept(project, record) for record in project.concepts],
        "content_hash": current.content_hash if current else None,
        "checkpoint": project.checkpoint_path,
        "memory": project.memory_path,
        "undoable": project.undoable,
        "unfinished": None if run is None else {**asdict(run), "saved": run.saved.isoformat()},
        "disk": {**asdict(usage), "total": usage.total},
    }
