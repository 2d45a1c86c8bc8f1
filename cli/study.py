"""`clora study`: concepts, orders, seeds and strategies as one experiment that can be stopped and resumed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from clora_ext.study.shipped import SHIPPED

from .help_screen import Command, Group
from .options import JsonOption
from .output import Output, tick
from .tables import listing
from .watching import watching
from .wording import command, counted, duration, printable, size

if TYPE_CHECKING:
    from clora_ext.study.run import Source
    from clora_ext.study.status import StudyStatus

__all__ = ["app"]

app = typer.Typer(
    help="Compare strategies over orders and seeds: a grid of jobs, tables and pictures.",
    no_args_is_help=True,
    cls=Group,
)

StudyArgument = Annotated[
    str,
    typer.Argument(
        metavar="STUDY",
        help=f"A TOML file, or one that clora ships: {', '.join(SHIPPED)}.",
        show_default=False,
    ),
]
FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        metavar="DIR",
        help="Where the study lies.",
        show_default="NAME-study in the current folder",
    ),
]


@app.command(cls=Command, epilog="Example: clora study run demo --workers 2")
def run(
    study: StudyArgument,
    *,
    folder: FolderOption = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder from which the file's paths go.",
            show_default="the file's own; of a shipped one the current folder",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Processes: each takes one GPU, or one thread of the processor.")
    ] = 1,
    slurm: Annotated[
        bool,
        typer.Option("--slurm", help="Have the workers run as jobs of a Slurm cluster (needs submitit)."),
    ] = False,
    slurm_option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="An option of submitit's, such as slurm_partition=gpu; may be given several times.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Do all that the study asks for and that is not done yet.

    Stopped or killed at any moment, the same command goes on.
    """
    from clora_ext.study.run import run_study

    output = Output(as_json=as_json)
    source = _source(study, pictures)
    where = folder or source.folder
    options = _cluster_options(slurm_option or []) if slurm else None
    with watching(output) as (sink, stop):
        schedule = run_study(source, where, sink, stop.check, workers=workers, cluster_options=options)
    output.show(
        Text.assemble(tick(output.answers), printable(f"all {counted(len(schedule.jobs), 'job')} are done"))
    )
    output.show(f"its tables: {command('clora', 'study', 'report', study, *_given(folder))}")
    output.result({"folder": where, "jobs": len(schedule.jobs)})


@app.command(cls=Command, epilog="Example: clora study status demo")
def status(study: StudyArgument, *, folder: FolderOption = None, as_json: JsonOption = False) -> None:
    """Show how far the study has come."""
    from clora_ext.study.status import study_status

    output = Output(as_json=as_json)
    found = study_status(folder or _source(study, None).folder)
    _show(found, output)
    output.result(found.as_dict())


@app.command(cls=Command, epilog="Example: clora study report demo --output docs/study.md")
def report(
    study: StudyArgument,
    *,
    folder: FolderOption = None,
    target: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The Markdown file.", show_default="report.md in the study"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write tables and pictures of what was measured, what was forecast and what came out.

    `STUDY` may be a packed study, too.
    """
    from clora_ext.study.archive import is_archive, unpacked
    from clora_ext.study.report import write_report

    output = Output(as_json=as_json)
    if is_archive(Path(study)):
        with unpacked(Path(study)) as place:
            file = write_report(place, target or Path(study).with_suffix(".md"))
    else:
        file = write_report(folder or _source(study, None).folder, target)
    output.show(Text.assemble(tick(output.answers), printable(f"the report is {file}")))
    output.result({"report": file})


@app.command(cls=Command, epilog="Example: clora study pack demo --output demo.json")
def pack(
    study: StudyArgument,
    *,
    folder: FolderOption = None,
    target: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The JSON file.",
            show_default="NAME.json in the current folder",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Put what was measured into one file, to be kept or passed on; models stay behind."""
    from clora_ext.study.archive import pack as write

    output = Output(as_json=as_json)
    source = _source(study, None)
    file = target or Path(f"{source.name}.json")
    count = write(folder or source.folder, file)
    output.show(Text.assemble(tick(output.answers), printable(f"{counted(count, 'result')} are in {file}")))
    output.result({"file": file, "results": count})


@app.command(cls=Command, epilog="Example: clora study unpack demo.json")
def unpack(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A packed study.", show_default=False)],
    *,
    folder: FolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a study's folder again, to go on with it: run, status and report find what was measured."""
    from clora_ext.study.archive import unpack as read

    output = Output(as_json=as_json)
    where = folder or Path(f"{file.stem}-study")
    read(file, where)
    output.show(Text.assemble(tick(output.answers), printable(f"the study lies in {where}")))
    output.result({"folder": where})


def _source(study: str, pictures: Path | None) -> "Source":
    from clora_ext.study.run import find_source

    return find_source(study, pictures)


def _given(folder: Path | None) -> list[str | Path]:
    return [] if folder is None else ["--folder", folder]


def _cluster_options(pairs: list[str]) -> dict[str, object]:
    """Names and values; whole numbers as numbers."""
    from clora_ext.errors import UsageError

    found: dict[str, object] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise UsageError(
                f"{pair!r} is no NAME=VALUE", fix="for example --slurm-option slurm_partition=gpu"
            )
        found[name] = int(value) if value.isdecimal() else value
    return found


def _show(found: "StudyStatus", output: Output) -> None:
    rows = [[kind, f"{one.done} of {one.total}", _mean(found, kind)] for kind, one in found.kinds.items()]
    output.show(listing(("jobs", "done", "each"), rows, output.answers.width))
    output.show("")
    models = [[name, f"{one.done} of {one.total}"] for name, one in found.strategies.items()]
    output.show(listing(("strategy", "models"), models, output.answers.width))
    output.show("")
    left = found.seconds_left
    words = (
        "nothing" if found.is_done else "not known yet" if left is None else f"{duration(left)} by one worker"
    )
    output.facts({"study": found.folder, "models on the disk": size(found.bytes), "left": words})
    for text in found.running:
        output.show(f"running: {text}")
    for text in found.failures:
        output.show(f"failed: {text}")


def _mean(found: "StudyStatus", kind: str) -> str:
    return duration(found.seconds[kind]) if kind in found.seconds else "-"
