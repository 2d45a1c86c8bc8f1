"""The `clora` command: its sub-commands and its entry point."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from . import (
    add_concept,
    add_lora,
    boundary,
    comfyui,
    compare,
    config,
    copy,
    export,
    generate,
    help,  # noqa: A004 - a command's name, as those beside it
    inspect,
    relocate,
    remove,
    report,
    status,
    study,
    undo,
    weigh,
)
from .following import speaker
from .help_screen import Command, Group
from .output import Output, tolerate_any_text
from .quiet import quiet
from .stopping import at_once

__all__ = ["app", "main"]

app = typer.Typer(
    name="clora",
    help="Keep teaching one text-to-image model new concepts without losing the old ones.",
    epilog="Example: clora add-concept ./dog_images",
    rich_markup_mode=None,
    cls=Group,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("add-concept", cls=Command, epilog=add_concept.EPILOG)(add_concept.add_concept)
app.command("add-lora", cls=Command, epilog=add_lora.EPILOG)(add_lora.add_lora)
app.command("status", cls=Command, epilog=status.EPILOG)(status.status)
app.command("report", cls=Command, epilog=report.EPILOG)(report.report)
app.command("generate", cls=Command, epilog=generate.EPILOG)(generate.generate)
app.command("export", cls=Command, epilog=export.EPILOG)(export.export)
app.command("compare", cls=Command, epilog=compare.EPILOG)(compare.compare)
app.command("copy", cls=Command, epilog=copy.EPILOG)(copy.copy)
app.command("remove", cls=Command, epilog=remove.EPILOG)(remove.remove)
app.command("weigh", cls=Command, epilog=weigh.EPILOG)(weigh.weigh)
app.command("undo", cls=Command, epilog=undo.EPILOG)(undo.undo)
app.command("relocate", cls=Command, epilog=relocate.EPILOG)(relocate.relocate)
app.add_typer(config.app, name="config")
app.add_typer(study.app, name="study")
app.add_typer(comfyui.app, name="comfyui")
app.command("inspect", cls=Command, epilog=inspect.EPILOG)(inspect.inspect)
app.command("help", cls=Command, epilog=help.EPILOG)(help.help_)


@app.callback(invoke_without_command=True)
def clora(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False,
) -> None:
    """Show the version or, without a command, the help."""
    if version:
        from clora_ext.version import VERSION

        typer.echo(f"clora {VERSION}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (that of the process if none is given) and give its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    tolerate_any_text()
    # Needed before the line is parsed: a program that asked for JSON gets its errors so, too; of several
    # processes, those of the first one.
    own = words[: words.index("--")] if "--" in words else words
    output = Output(as_json="--json" in own and not speaker())

    def run() -> object:
        with at_once(), quiet():
            return app(args=words, prog_name="clora", standalone_mode=False)

    return boundary.guarded(run, output)
