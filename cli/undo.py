"""`clora undo`: back by one concept."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from clora_ext.errors import Cancelled, ProjectError

from .options import DEFAULT_PROJECT, JsonOption, ProjectOption
from .output import Output, tick
from .wording import counted, printable, size

if TYPE_CHECKING:
    from clora_ext.project import Project

__all__ = ["EPILOG", "undo"]

EPILOG = "Example: clora undo --project ./clora-model"


def undo(
    *,
    project: ProjectOption = DEFAULT_PROJECT,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, even on a terminal.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Go back by one concept.

    As far as earlier models were kept: see `--keep` of add-concept. The model that is left behind is
    deleted; on a terminal you are asked first.
    """
    from clora_ext.project import Project

    output = Output(as_json=as_json)
    seen = Project.open(project)  # a folder without a project is refused here: `writing` would begin one
    if seen.undoable and not yes and _somebody_can_answer(output):
        _ask(seen, output)  # before the lock is taken: nobody else has to wait for the answer
    with Project.writing(project) as opened:
        if opened.concepts != seen.concepts:
            raise ProjectError(
                f"{project} was changed meanwhile: nothing was undone", fix="look at `clora status`"
            )
        undone = opened.undo()
        left, undoable, checkpoint = opened.number, opened.undoable, opened.checkpoint_path
    what = f"concept {undone.number}, {undone.token} {undone.class_name}, is undone"
    output.show(Text.assemble(tick(output.answers), (what, "bold green")))
    output.facts(
        {
            "concepts": left,
            "checkpoint": "none" if checkpoint is None else checkpoint,
            "undo": f"can go back {counted(undoable, 'concept')}",
        }
    )
    output.result({"undone": undone, "concepts": left, "undoable": undoable, "checkpoint": checkpoint})


def _somebody_can_answer(output: Output) -> bool:
    """Whether a person sits at a terminal; programs and scripts are never asked."""
    return not output.as_json and sys.stdin.isatty() and sys.stderr.isatty()


def _ask(project: "Project", output: Output) -> None:
    """Say what will be deleted and ask.

    Raises:
        Cancelled: the answer is not yes.
    """
    last = project.concepts[-1]
    files = [file for file in (project.checkpoint_path, project.memory_path) if file is not None]
    taken = size(sum(file.stat().st_size for file in files))
    unfinished = project.unfinished
    also = "" if unfinished is None else f" So will the unfinished training of {unfinished.words}."
    output.meanwhile.print(
        printable(
            f"Concept {last.number}, {last.token} {last.class_name}, will be deleted: its model, its memory "
            f"({taken}) and contact sheet. To have it back, it has to be taught again.{also}"
        ),
        highlight=False,
    )
    if not typer.confirm("Undo it?", err=True):
        raise Cancelled("nothing was undone", fix="the project is as it was")
