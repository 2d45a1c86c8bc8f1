"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from clora_ext import strategies
from clora_ext.config.settings import Settings
from clora_ext.errors import UsageError
from clora_ext.runs.request import Pictures, Request

__all__ = [
    "DEFAULTS",
    "DEFAULT_PROJECT",
    "DEFAULT_STRATEGY",
    "BaseOption",
    "JsonOption",
    "KeepOption",
    "OrthogonalModeOption",
    "ProjectOption",
    "StrategyOption",
    "strategy_options",
]

DEFAULTS = Request(Pictures(Path()))
"""What the engine takes where the user says nothing."""
DEFAULT_PROJECT = DEFAULTS.project
DEFAULT_STRATEGY = Settings().strategy

ProjectOption = Annotated[
    Path, typer.Option("--project", metavar="DIR", help="The project: the folder of the evolving model.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Write JSON lines to stdout, for programs; text goes to stderr.")
]
BaseOption = Annotated[
    Path | None,
    typer.Option(
        metavar="MODEL",
        help="The model that a new project starts from: a .safetensors file, a diffusers folder, or the name "
        "of a model on the Hugging Face hub, which is then fetched.",
        show_default="the built-in demo model",
    ),
]
KeepOption = Annotated[int, typer.Option(help="Earlier models to keep for undo.", rich_help_panel="This run")]


def _strategies() -> str:
    """The help of ``--strategy``: every strategy in its own words."""
    return "How new knowledge joins old.\n\n" + "\n\n".join(
        f"{name}: {strategies.summary(name)}" for name in strategies.names()
    )


StrategyOption = Annotated[str, typer.Option(metavar="NAME", help=_strategies())]
OrthogonalModeOption = Annotated[
    str | None,
    typer.Option(
        metavar="MODE",
        help="With --strategy orthogonal: row-space keeps new learning apart all through the training, "
        "paper only begins so, as the published code does.",
        show_default="row-space",
    ),
]


def strategy_options(strategy: str, orthogonal_mode: str | None) -> dict[str, str]:
    """The strategy's own options.

    Raises:
        UsageError: an option of another strategy.
    """
    if orthogonal_mode is None:
        return {}
    if strategy != "orthogonal":
        message = f"--orthogonal-mode says nothing about the strategy {strategy!r}"
        raise UsageError(message, fix="leave it out, or add --strategy orthogonal")
    return {"mode": orthogonal_mode}
