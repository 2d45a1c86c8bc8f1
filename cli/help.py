"""`clora help`: as `--help`, for those who ask so."""

from typing import Annotated

import typer

__all__ = ["EPILOG", "help_"]

EPILOG = "Example: clora help add-concept"


def help_(
    context: typer.Context,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[COMMAND]", help="Of what.", show_default=False)
    ] = None,
) -> None:
    """Show what a command does and what it takes."""
    root = context.find_root().command
    root.main(args=[*(command or ()), "--help"], prog_name="clora", standalone_mode=False)
