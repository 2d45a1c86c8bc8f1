"""`clora undo`: back by one concept."""

from rich.text import Text

from .options import DEFAULT_PROJECT, JsonOption, ProjectOption
from .output import Output, tick
from .wording import counted, printable

__all__ = ["EPILOG", "undo"]

EPILOG = "Example: clora undo --project ./clora-model"


def undo(*, project: ProjectOption = DEFAULT_PROJECT, as_json: JsonOption = False) -> None:
    """Go back by one concept.

    As far as earlier models were kept: see `--keep` of add-concept.
    """
    from clora_ext.project import Project

    output = Output(as_json=as_json)
    Project.open(project)  # a folder without a project is refused here: `writing` would begin one
    with Project.writing(project) as opened:
        undone = opened.undo()
        left, undoable, checkpoint = opened.number, opened.undoable, opened.checkpoint_path
    what = f"concept {undone.number}, {undone.token} {undone.class_name}, is undone"
    output.show(Text.assemble(tick(output.answers), printable(what)))
    output.facts(
        {
            "learned now": counted(left, "concept"),
            "checkpoint": checkpoint or "the base itself",
            "undo": f"can go back {counted(undoable, 'concept')}",
        }
    )
    output.result({"undone": undone, "concepts": left, "undoable": undoable, "checkpoint": checkpoint})
