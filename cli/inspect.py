"""`clora inspect`: what a model file is and what clora put in."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clora_ext.formats.text import one_line

from .options import JsonOption
from .output import Output
from .tables import listing
from .wording import size

if TYPE_CHECKING:
    from clora_ext.inspect import FileReport

__all__ = ["EPILOG", "inspect"]

EPILOG = "Example: clora inspect my_model.safetensors"
_LONGEST = 200
_LONGEST_NAME = 80
_MOST = 500  # lines of what a file says; a hostile one says millions
_COLUMNS = "token class strategy pictures steps rank learning_rate seed created".split()
_SHOWN = {"clora.history", "modelspec.title", "modelspec.architecture", "modelspec.trigger_phrase"}


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .safetensors file.", show_default=False)],
    *,
    as_json: JsonOption = False,
) -> None:
    """Say what a model file is and what clora taught it."""
    from clora_ext.inspect import inspect_file

    output = Output(as_json=as_json)
    report = inspect_file(file)
    _show(report, output)
    output.result(report.as_dict())


def _show(report: "FileReport", output: Output) -> None:
    """The report for people."""
    kind = report.kind if report.family is None else f"{report.kind}, family {report.family}"
    dtypes = ", ".join(f"{count} x {dtype}" for dtype, count in report.dtypes.items())
    facts = {
        "title": report.title,
        "kind": kind,
        "architecture": report.architecture,
        "predicts": _prediction(report),
        "refused": report.refusal,
        "size": f"{size(report.bytes)}, {report.parameters:,} parameters",
        "tensors": f"{report.tensors}: {dtypes}" if dtypes else "none",
        "trigger": report.trigger_phrase,
    }
    said = {name: _begin(value) for name, value in facts.items() if value}
    output.facts({"file": report.path, **said})
    output.show("")
    if report.history:
        columns = [name for name in _COLUMNS if any(name in entry for entry in report.history)]
        rows = [
            [str(number), *(_cell(entry, name) for name in columns)]
            for number, entry in enumerate(report.history[:_MOST], start=1)
        ]
        output.show(listing(["#", *columns], rows, output.answers.width, right=["#"]))
        _show_rest(len(report.history), output)
    else:
        output.show("no concept of clora's is recorded in it")
    others = {name: value for name, value in report.metadata.items() if name not in _SHOWN}
    if others:
        output.show("")
        output.show("the file says of itself:")
        shown = list(others.items())[:_MOST]
        output.facts({f"  {one_line(name, _LONGEST_NAME)}": _begin(value) for name, value in shown})
        _show_rest(len(others), output)


def _show_rest(count: int, output: Output) -> None:
    """How many of so many lines were not shown."""
    if count > _MOST:
        output.show(f"and {count - _MOST:,} more; --json shows all")


def _prediction(report: "FileReport") -> str | None:
    """What the model predicts, and who says so."""
    found = report.prediction
    if found is None:
        return None
    words = f"{found['kind']}{', zero terminal SNR' if found['zero_snr'] else ''}"
    return f"{words} ({found['source'] or 'what is usual: nothing says otherwise'})"


def _cell(entry: Mapping[str, str], name: str) -> str:
    """One value of a concept; of a time, the day."""
    value = one_line(entry.get(name, ""), _LONGEST_NAME)
    return value[: len("2026-01-31")] if name == "created" else value


def _begin(value: str) -> str:
    """The beginning of a long text; ``--json`` has all of it."""
    line = " ".join(value.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}... ({len(value):,} characters)"
