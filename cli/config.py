"""`clora config`: configuration files of sd-scripts, checked before anything starts."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from .boundary import USAGE
from .configured import finding_lines
from .help_screen import Command, Group
from .options import JsonOption
from .output import Output, tick
from .wording import counted

__all__ = ["app"]

app = typer.Typer(
    help="Configuration files of sd-scripts (kohya): what clora does with each key.",
    no_args_is_help=True,
    cls=Group,
)


@app.callback()
def config() -> None:
    """Keep the sub-command's name, also while there is one of them."""


@app.command(cls=Command, epilog="Example: clora config check train.toml data.toml")
def check(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="A training file, a dataset file, or both. One that a training file names is read too.",
            show_default=False,
        ),
    ],
    *,
    as_json: JsonOption = False,
) -> None:
    """Tell every fault of configuration files, and every key that changes nothing.

    Starts nothing and writes nothing. The exit code is 2 if a file cannot be used as it is.
    """
    from clora_ext.kohya.check import check as check_files
    from clora_ext.kohya.finding import errors, notes

    output = Output(as_json=as_json)
    checked = check_files(files)
    wrong, told = errors(checked.findings), notes(checked.findings)

    shown = [finding for finding in checked.findings if finding.is_error or finding.is_note]
    for finding, line in zip(shown, finding_lines(shown), strict=True):
        text = Text(line if finding.is_error else f"{line}   (note)")
        text.stylize("red" if finding.is_error else "dim", 0, len(finding.place))
        output.answers.print(text, soft_wrap=True)
    count = f"{counted(len(wrong), 'error')}, {counted(len(told), 'note')}"
    total = f"{count} in {counted(len(checked.files), 'file')}"
    if wrong:
        output.show(f"{total}; nothing was started")
    else:
        output.answers.print(Text.assemble(tick(output.answers), total))
    output.result({"files": checked.files, "findings": [one.as_dict() for one in checked.findings]})
    if wrong:
        raise typer.Exit(USAGE)
