"""What a command is asked for by configuration files and flags together."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from clora_ext.errors import SettingsError

from .knobs import given_values
from .option_groups import Strategy
from .output import Output
from .wording import counted, printable

if TYPE_CHECKING:
    from clora_ext.kohya.asked import Asked
    from clora_ext.kohya.finding import Finding

__all__ = ["asked_of_files", "asked_on_the_line", "finding_lines", "given_on_the_line"]


def given_on_the_line(context: typer.Context, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a command's arguments that the user has written; the rest are defaults."""
    sources = {name: context.get_parameter_source(name) for name in values}
    return {
        name: value
        for name, value in values.items()
        if (source := sources[name]) is not None and source.name not in {"DEFAULT", "DEFAULT_MAP"}
    }


def asked_on_the_line(
    context: typer.Context,
    files: "list[Path]",
    beside: Mapping[str, Any],
    strategy: Strategy,
    knobs: Mapping[str, Any],
    output: Output,
) -> "Asked":
    """What a command is asked for by its arguments and by configuration files.

    Args:
        context: of the command, which knows what the user has written.
        files: configurations; none: the command line says everything.
        beside: arguments that are no settings, by the names of :class:`clora_ext.kohya.asked.Asked`.
        strategy: as the command takes it.
        knobs: settings by name; None: left alone.
        output: told what was overruled, and which keys change nothing.

    Raises:
        SettingsError: every fault of every file.
    """
    from clora_ext import strategies
    from clora_ext.kohya.asked import Asked

    name, pairs = strategy.strategy, strategy.strategy_option
    options = strategies.read_pairs(pairs or ())
    if not files:
        settings = {"strategy": name, "strategy_options": options, **given_values(knobs)}
        return Asked(settings, **beside)
    written = given_on_the_line(context, {**beside, **knobs, **vars(strategy)})
    if {"strategy", "strategy_option"} & written.keys():  # a file's options are its own strategy's
        written["strategy_options"] = options
    written.pop("strategy_option", None)
    asked = asked_of_files(files, written, output)
    return replace(asked, settings={"strategy": name, **asked.settings})


def asked_of_files(files: "list[Path]", flags: Mapping[str, Any], output: Output) -> "Asked":
    """Read, check and translate them; tells what was overruled, and which keys change nothing.

    Raises:
        SettingsError: every fault of every file.
    """
    from clora_ext.kohya.asked import asked_by
    from clora_ext.kohya.check import check
    from clora_ext.kohya.finding import errors, notes

    checked = check(files)
    wrong = errors(checked.findings)
    if wrong:
        total = (
            f"{counted(len(wrong), 'error')} in {counted(len(checked.files), 'file')}; nothing was started"
        )
        raise SettingsError([*finding_lines(wrong), total])
    asked = asked_by(checked, flags)
    for line in [*finding_lines(notes(checked.findings)), *asked.overruled]:
        output.show(f"note: {line}")
    return asked


def finding_lines(findings: "list[Finding]") -> Iterator[str]:
    """File and line, key and what is said of it, one finding a line."""
    width = max((len(finding.place) for finding in findings), default=0)
    for finding in findings:
        yield f"{finding.place:<{width}}  {printable(finding.sentence)}"
