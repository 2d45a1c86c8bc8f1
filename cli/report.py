"""`clora report`: everything that was learned, as one page."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from .options import DEFAULT_PROJECT, JsonOption, ProjectOption
from .output import Output, tick
from .watching import watching
from .wording import printable

__all__ = ["EPILOG", "report"]

EPILOG = "Example: clora report --output ./dogs.html"


def report(
    *,
    target: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The page.", show_default="report.html in the project"
        ),
    ] = None,
    project: ProjectOption = DEFAULT_PROJECT,
    as_json: JsonOption = False,
) -> None:
    """Write one HTML page: all concepts over all versions, curves, settings, hashes.

    It needs no network and no other file.
    """
    from clora_ext.report import write_report

    output = Output(as_json=as_json)
    with watching(output) as (sink, _):
        file = write_report(project, target, sink)
    output.show(Text.assemble(tick(output.answers), printable(f"the report is {file}")))
    output.result({"report": file})
