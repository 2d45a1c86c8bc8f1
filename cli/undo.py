"""`clora undo`: back by one concept."""

from typing import TYPE_CHECKING

from rich.text import Text

from clora_ext.errors import ProjectError

from .asking import ask, somebody_can_answer
from .options import DEFAULT_PROJECT, JsonOption, ProjectOption, YesOption
from .output import Output, tick
from .wording import counted, size

if TYPE_CHECKING:
    from clora_ext.project import ConceptRecord, Project

__all__ = ["EPILOG", "undo"]

EPILOG = "Example: clora undo --project ./clora-model"


def undo(
    *,
    project: ProjectOption = DEFAULT_PROJECT,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Go back by one concept.

    As far as earlier models were kept: see `--keep` of add-concept. The model that is left behind is
    deleted; on a terminal you are asked first.
    """
    from clora_ext.project import Project

    output = Output(as_json=as_json)
    seen = Project.open(project)  # a folder without a project is refused here: `writing` would begin one
    if seen.undoable and not yes and somebody_can_answer(output):
        _ask(seen, output)  # before the lock is taken: nobody else has to wait for the answer
    with Project.writing(project) as opened:
        if opened.concepts != seen.concepts:
            raise ProjectError(
                f"{project} was changed meanwhile: nothing was undone", fix="look at `clora status`"
            )
        undone = opened.undo()
        left, undoable, checkpoint = opened.number, opened.undoable, opened.checkpoint_path
    what = f"{_named(undone)} is undone"
    output.show(Text.assemble(tick(output.answers), (what, "bold green")))
    output.facts(
        {
            "concepts": left,
            "checkpoint": "none" if checkpoint is None else checkpoint,
            "undo": f"can go back {counted(undoable, 'concept')}",
        }
    )
    output.result({"undone": undone, "concepts": left, "undoable": undoable, "checkpoint": checkpoint})


def _ask(project: "Project", output: Output) -> None:
    """Say what will be deleted and ask.

    Raises:
        Cancelled: the answer is not yes.
    """
    last = project.concepts[-1]
    files = [file for file in (project.checkpoint_path, project.memory_path) if file is not None]
    if last.delta is not None:
        files.append(project.deltas_dir / last.delta)
    taken = size(sum(file.stat().st_size for file in files if file.is_file()))
    unfinished = project.unfinished
    also = "" if unfinished is None else f" So will the unfinished training of {unfinished.words}."
    again = "taught again" if last.reweighting is None else "done again"
    ask(
        output,
        f"{_named(last).capitalize()} will be deleted: its model, its memory ({taken}) and contact sheet. To "
        f"have it back, it has to be {again}.{also}",
        "Undo it?",
        "nothing was undone",
    )


def _named(record: "ConceptRecord") -> str:
    """The last step in words."""
    new = record.reweighting
    if new is None:
        return f"concept {record.number}, {record.trigger},"
    what = "the removal" if not new.weight else f"the weight {new.weight:g}"
    return f"step {record.number}, {what} of {record.trigger},"
