"""`clora remove`: take a concept out of the model."""

from typing import Annotated

import typer

from . import completing
from .options import (
    DEFAULT_KEEP,
    DEFAULT_PROJECT,
    DryRunOption,
    JsonOption,
    KeepOption,
    PlaceOption,
    ProjectOption,
    YesOption,
)
from .output import Output
from .reweighing import Wish, reweigh

__all__ = ["EPILOG", "remove"]

EPILOG = "Example: clora remove sks"


def remove(
    token: Annotated[
        str,
        typer.Argument(
            metavar="TOKEN",
            help="The concept's trigger word.",
            autocompletion=completing.kept_tokens,
            show_default=False,
        ),
    ],
    *,
    project: ProjectOption = DEFAULT_PROJECT,
    base: PlaceOption = None,
    keep: KeepOption = DEFAULT_KEEP,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take a concept out of the model, also one in the middle.

    Possible where its change was kept: `--keep-delta` of add-concept and add-lora. What was trained later
    stays as it is. `clora weigh TOKEN 1` puts it back.
    """
    reweigh(Wish(project, token, 0.0, keep, base, is_dry=dry_run, is_sure=yes), Output(as_json=as_json))
