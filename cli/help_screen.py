"""Help as it is read: two columns where there is room for them, one below the other where there is not."""

import re
from collections.abc import Iterator, Sequence
from inspect import cleandoc
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from clora_ext.errors import UsageError, did_you_mean

__all__ = ["Command", "Group"]

_TWO_COLUMNS = 60  # characters of a screen with room for them
_LEFT = 30
_INDENT = 2
_PARAGRAPH = "\n\n"


class Command(TyperCommand):
    """A command whose help this module shows."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - Typer's own, in changing places
        """Print it."""
        del formatter
        _show(self, ctx, ())


class Group(TyperGroup):
    """Commands under one name, whose help this module shows."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - as above
        """Print it."""
        del formatter
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        _show(self, ctx, [(name, _first(one.help)) for name, one in commands if one and not one.hidden])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - as above
        """The command that ``args`` begin with.

        Raises:
            UsageError: there is none; the remedy is the nearest.
        """
        known = self.list_commands(ctx)
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            begun = [name for name in known if name.startswith(args[0])]
            fix = f"did you mean {begun[0]!r}?" if len(begun) == 1 else did_you_mean(args[0], known)
            raise UsageError(f"no such command {args[0]!r}", fix=fix)
        return super().resolve_command(ctx, args)


def _show(command: TyperCommand | TyperGroup, ctx: Any, commands: Sequence[tuple[str, str]]) -> None:  # noqa: ANN401
    """Usage, what it does, its commands, its arguments and options by panel, examples."""
    console = Console(markup=False, emoji=False, highlight=False)
    pieces = " ".join(piece.strip("{}") for piece in command.collect_usage_pieces(ctx))
    console.print(Text.assemble(("Usage: ", "bold"), f"{ctx.command_path} {pieces}"))
    console.print()
    for paragraph in cleandoc(command.help or "").split(_PARAGRAPH):
        console.print(Text(" ".join(paragraph.split())))
        console.print()
    if commands:
        _section(console, "Commands", commands)
    for panel, records in _panels(command, ctx).items():
        _section(console, panel, records)
    for line in (command.epilog or "").split(_PARAGRAPH):
        if line.strip():
            console.print(Text(line.strip()), soft_wrap=True)  # unbroken, so that it can be copied


def _panels(command: TyperCommand | TyperGroup, ctx: Any) -> dict[str, list[tuple[str, str]]]:  # noqa: ANN401
    """What each argument and option is called and what it does, by the panel that it stands in."""
    panels: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is None:
            continue
        is_argument = parameter.param_type_name == "argument"
        name = record[0].split()[0] if is_argument else record[0]  # its type would say nothing new
        panel = getattr(parameter, "rich_help_panel", None) or ("Arguments" if is_argument else "Options")
        panels.setdefault(panel, []).append((name, _plain_default(record[1])))
    return panels


def _plain_default(text: str) -> str:
    """Words that stand for a default without a second pair of brackets.

    >>> _plain_default("A rare word.  [default: (the next one)]")
    'A rare word.  [default: the next one]'
    """
    return re.sub(r"\[default: \((.*)\)\]$", r"[default: \1]", text)


def _section(console: Console, title: str, records: Sequence[tuple[str, str]]) -> None:
    console.print(Text(title, "bold"))
    console.print(_columns(records) if console.width >= _TWO_COLUMNS else _stacked(records))
    console.print()


def _columns(records: Sequence[tuple[str, str]]) -> Table:
    """Names on the left, what they do on the right; a name that is too long has a line of its own."""
    look = Table.grid(padding=(0, 2, 0, 0))
    left = min(_LEFT, max(len(name) for name, _ in records))
    look.add_column(width=left + _INDENT)
    look.add_column(ratio=1)
    for name, help_ in records:
        look.add_row(Padding(Text(name, "cyan"), (0, 0, 0, _INDENT)), _help(help_))
    return look


def _stacked(records: Sequence[tuple[str, str]]) -> Table:
    look = Table.grid()
    for name, help_ in records:
        look.add_row(Text(name, "cyan"))
        look.add_row(Padding(_help(help_), (0, 0, 0, _INDENT)))
    return look


def _help(text: str) -> RenderableType:
    """Paragraphs below each other, without blank lines between them."""
    return Text("\n".join(_paragraphs(text)))


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split(_PARAGRAPH):
        yield " ".join(paragraph.split())


def _first(text: str | None) -> str:
    """The first paragraph."""
    return next(_paragraphs(cleandoc(text or "")), "")
