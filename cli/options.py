"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from clora_ext.plan import Request

__all__ = ["DEFAULTS", "DEFAULT_PROJECT", "JsonOption", "ProjectOption"]

DEFAULTS = Request(Path())
"""What the engine takes where the user says nothing."""
DEFAULT_PROJECT = DEFAULTS.project

ProjectOption = Annotated[
    Path, typer.Option("--project", metavar="DIR", help="The project: the folder of the evolving model.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Write JSON lines to stdout, for programs; text goes to stderr.")
]
