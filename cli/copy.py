"""`clora copy`: a second model that goes its own way."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from .options import DEFAULT_PROJECT, JsonOption, ProjectOption
from .output import Output, tick
from .wording import counted, printable

__all__ = ["EPILOG", "copy"]

EPILOG = "Example: clora copy ./with-merge"


def copy(
    target: Annotated[
        Path, typer.Argument(metavar="DIR", help="The new project's folder.", show_default=False)
    ],
    *,
    project: ProjectOption = DEFAULT_PROJECT,
    as_json: JsonOption = False,
) -> None:
    """Copy the model, to try something on it or to compare strategies.

    The copy shares its files with the original until one of them learns more.
    """
    from clora_ext.project import copy_project

    output = Output(as_json=as_json)
    made = copy_project(project, target)
    output.show(Text.assemble(tick(output.answers), printable(f"copied {project} to {target}")))
    output.facts({"learned": counted(made.number, "concept"), "checkpoint": made.checkpoint_path})
    output.result({"project": target, "concepts": made.number, "checkpoint": made.checkpoint_path})
