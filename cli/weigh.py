"""`clora weigh`: make a concept weaker or stronger."""

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

__all__ = ["EPILOG", "weigh"]

EPILOG = "Example: clora weigh sks 0.7"


def weigh(
    token: Annotated[
        str,
        typer.Argument(
            metavar="TOKEN",
            help="The concept's trigger word.",
            autocompletion=completing.kept_tokens,
            show_default=False,
        ),
    ],
    weight: Annotated[
        float,
        typer.Argument(
            metavar="WEIGHT", help="1: as it was taught; 0.5: half of it; 0: removed.", show_default=False
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
    """Make a concept weaker or stronger, also one in the middle.

    Possible where its change was kept: `--keep-delta` of add-concept and add-lora. The weight is always that
    of the change as it was taught, whatever it is now. What was trained later stays as it is.
    """
    reweigh(Wish(project, token, weight, keep, base, is_dry=dry_run, is_sure=yes), Output(as_json=as_json))
