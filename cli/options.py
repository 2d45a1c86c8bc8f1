"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["DEFAULT_PROJECT", "JsonOption", "ProjectOption"]

DEFAULT_PROJECT = Path("clora-model")

ProjectOption = Annotated[
    Path, typer.Option("--project", metavar="DIR", help="The project: the folder of the evolving model.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Write JSON lines to stdout, for programs; text goes to stderr.")
]
