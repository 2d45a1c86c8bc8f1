"""`clora config`: configuration files, checked before anything starts, and written of what was taught."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from .boundary import USAGE
from .configured import finding_lines
from .help_screen import Command, Group
from .options import DEFAULT_PROJECT, JsonOption, ProjectOption
from .output import Output, tick
from .wording import counted

if TYPE_CHECKING:
    from clora_ext.config.settings import Settings
    from clora_ext.project import ConceptRecord

__all__ = ["app"]

app = typer.Typer(
    help="Configuration files, of sd-scripts (kohya) and clora's own: checked, shown, written.",
    no_args_is_help=True,
    cls=Group,
)


@app.command(cls=Command, epilog="Example: clora config check train.toml data.toml")
def check(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="A training file, a dataset file, or both. One that a training file names is read too. "
            "Or clora's own, as config show prints it.",
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


_Number = Annotated[
    int | None,
    typer.Argument(metavar="N", help="Number of the concept.", show_default="the last that was taught"),
]


@app.command(cls=Command, epilog="Example: clora config show 1 > dog.toml")
def show(
    number: _Number = None, *, project: ProjectOption = DEFAULT_PROJECT, as_json: JsonOption = False
) -> None:
    """Print the file that teaches a concept's pictures again just as they were: `add-concept --config`."""
    from clora_ext.kohya.run_file import run_file_text

    output = Output(as_json=as_json)
    text = run_file_text(_taught(project, number))
    output.answers.print(Text(text.rstrip()), soft_wrap=True)
    output.result({"text": text})


@app.command(cls=Command, epilog="Example: clora config write train.toml 1")
def write(
    file: Annotated[Path, typer.Argument(metavar="OUT", help="The new TOML file.", show_default=False)],
    number: _Number = None,
    *,
    project: ProjectOption = DEFAULT_PROJECT,
    as_json: JsonOption = False,
) -> None:
    """Write a training file for sd-scripts with the settings that a concept was taught by."""
    from clora_ext.errors import UsageError, writing
    from clora_ext.kohya.written import training_file_text

    output = Output(as_json=as_json)
    record = _taught(project, number)
    words = f"concept {record.number}, {record.token} {record.class_name}, as clora taught it"
    text = training_file_text(_settings(record), words)
    if file.exists():
        raise UsageError(f"{file} exists", fix="name a new file")
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    output.show(Text.assemble(tick(output.answers), f"{file} is a training file of sd-scripts"))
    output.result({"file": file})


def _taught(project: Path, number: int | None) -> "ConceptRecord":
    """A concept that was trained on pictures.

    Raises:
        UsageError: there is none, or none of that number.
    """
    from clora_ext.errors import UsageError
    from clora_ext.project import Project

    taught = [one for one in Project.open(project).concepts if one.reweighting is None and one.images]
    if not taught:
        raise UsageError(f"{project} holds no concept that was taught by pictures", fix="teach one first")
    if number is None:
        return taught[-1]
    for record in taught:
        if record.number == number:
            return record
    known = ", ".join(str(one.number) for one in taught)
    raise UsageError(f"concept {number} was not taught by pictures", fix=f"choose one of: {known}")


def _settings(record: "ConceptRecord") -> "Settings":
    """As they were recorded; what an older clora did not have is as usual."""
    from clora_ext.config.knob_fields import knob_fields
    from clora_ext.config.settings import Settings

    recorded = {name: record.setting(name) for name in knob_fields(Settings)}
    known = {name: value for name, value in recorded.items() if value is not None}
    return Settings.of(strategy=record.strategy, **known)
