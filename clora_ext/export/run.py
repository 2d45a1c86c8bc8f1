"""Export the evolving model: the straight line from a project to files that other programs load."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clora_ext.errors import UsageError
from clora_ext.events import Note, Sink, Stage, ignore

from . import destinations
from .atomic import FileSet, place

if TYPE_CHECKING:
    from .bundle import ExportBundle

__all__ = ["Exported", "Written", "export_checkpoint", "export_to"]

_ENDING = ".safetensors"


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was written, and its size in bytes."""

    path: Path
    bytes: int


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export has written.

    Attributes:
        path: of the checkpoint, or of the folder that holds the model.
        bytes: of all files together.
        content_hash: of the checkpoint's tensors; None for a folder.
        dtype: of the floating point tensors, in words.
        files: all of them, the model last.
        next_step: what to do in the program that it is for; empty if it is for no program.
    """

    path: Path
    bytes: int
    content_hash: str | None
    dtype: str
    files: tuple[Written, ...]
    next_step: str = ""


def export_checkpoint(
    project: Path,
    target: Path,
    dtype: str | None = None,
    *,
    overwrite: bool = False,
    sink: Sink = ignore,
    base: Path | None = None,
    all_in_one: bool = False,
) -> Exported:
    """Write the project's model to ``target``, one file in the original layout.

    Without ``dtype``, fp16 and bf16 stay as they are and fp32 becomes fp16. With one, every floating point
    tensor has it, rounded once from the most exact weights there are. The VAE is copied byte for byte either
    way. The header carries modelspec, the history and a thumbnail; equal projects give equal bytes.

    A model that has learned something needs its base no more. Of one that has not, ``base`` says where the
    base lies now (None: where it was).

    A model whose base is a transformer alone is written as one, without text encoder and VAE; with
    ``all_in_one`` they are put into the file. fp32 then becomes bf16.

    Raises:
        UsageError: unknown dtype, a name that does not end in .safetensors, or an existing file.
        ProjectError: nothing was learned, and the base is gone, or another model lies in its place.
        CheckpointError: a value is not finite or does not fit the dtype; says which tensor.
        StorageError: the disk is full or refuses; nothing was written.
    """
    if target.suffix != _ENDING:
        raise UsageError(f"{target} does not end in {_ENDING}", fix=f"name it {target}{_ENDING}")
    from .bundle import make_bundle

    model = make_bundle(project, dtype, None, sink, base, everything=all_in_one)
    return _write(model, FileSet((model.checkpoint(target),)), sink, overwrite=overwrite)


def export_to(  # noqa: PLR0913 - what an export may be asked for
    project: Path,
    destination: str,
    folder: Path,
    dtype: str | None = None,
    *,
    name: str | None = None,
    overwrite: bool = False,
    sink: Sink = ignore,
    base: Path | None = None,
    all_in_one: bool = False,
) -> Exported:
    """Put the project's model and what belongs to it where a program looks for them: all of it or nothing.

    Args:
        project: its folder.
        destination: one of :func:`clora_ext.export.destinations.names`.
        folder: of the program; for ``diffusers``, the folder to make.
        dtype: as for :func:`export_checkpoint`.
        name: of the files and the model's title; None: the files are called like the project's folder.
        overwrite: whether files that are there may be replaced.
        sink: told what happens; may raise Cancelled to stop.
        base: as for :func:`export_checkpoint`.
        all_in_one: likewise.

    Raises:
        UsageError: unknown destination or dtype, a name that is no file name, the folder is not one of this
            program, or a file exists.
        CheckpointError: a value is not finite or does not fit the dtype; says which tensor.
        StorageError: too little space, or the disk refuses; nothing was written.
    """
    program = destinations.load(destination)
    from .bundle import make_bundle

    everything = all_in_one or program.takes_everything
    model = make_bundle(project, dtype, name, sink, base, everything=everything)
    files = program.place(folder, model)
    remark = program.remark(model)
    if remark:
        sink(Note(remark))
    return _write(model, files, sink, overwrite=overwrite, next_step=program.next_step(model))


def _write(
    model: "ExportBundle", files: FileSet, sink: Sink, *, overwrite: bool, next_step: str = ""
) -> Exported:
    """The files, and what they are."""
    from .tensors import describe

    items = files.items
    target = items[-1].target
    _refuse_own(model, [*(item.target for item in items), *files.remove])
    sink(Stage("export", str(target)))
    content = place(files, overwrite=overwrite)
    written = tuple(file for item in items for file in _written(item.target))
    total = sum(file.bytes for file in written)
    return Exported(target, total, content, describe(model.sources, model.roles), written, next_step)


def _refuse_own(model: "ExportBundle", targets: Sequence[Path]) -> None:
    """Neither the base nor the project's own files are ever replaced, by whatever name they go."""
    for target in targets:
        if target.exists() and any(own.exists() and target.samefile(own) for own in model.own_files):
            message = f"{target} belongs to the project or is its base"
            raise UsageError(message, fix="export to another name")


def _written(path: Path) -> list[Written]:
    """One file, or all files of a folder."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return [Written(file, file.stat().st_size) for file in files]
