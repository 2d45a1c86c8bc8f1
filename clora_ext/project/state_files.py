"""The files of a state: their names, whether they are complete, whether they will outlive a power cut."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from clora_ext.errors import CheckpointError, ProjectError, writing
from clora_ext.formats.header import read_header

from .records import State
from .storage import sync_file, sync_folder

__all__ = ["check_complete", "force_to_disk", "names_of", "unused_name"]


def names_of(states: Sequence[State]) -> set[str]:
    """The names of the states' files."""
    return {name for state in states for name in (state.checkpoint, state.memory)}


def unused_name(content_hash: str, used: Collection[str]) -> str:
    """A name for new files of the state of that content hash, which is not in use."""
    stem = content_hash[:16]
    names = (f"{stem}{f'-{again}' if again > 1 else ''}.safetensors" for again in range(1, 1000))
    return next(name for name in names if name not in used)


def check_complete(files: Iterable[Path]) -> None:
    """Make sure that checkpoints, memories and kept changes are whole (their headers, not every byte).

    Raises:
        ProjectError: names the file that is not.
    """
    for file in files:
        try:
            read_header(file)
        except CheckpointError as error:  # noqa: PERF203 - two files
            message = f"the project's model is not complete: {error.message}"
            raise ProjectError(message, fix="restore the file from a backup, or clora undo") from error


def force_to_disk(files: Iterable[Path]) -> None:
    """Force the content and the names of files to the disk.

    Raises:
        ProjectError: one is missing.
        StorageError: the disk refuses.
    """
    for file in files:
        if not file.is_file():
            raise ProjectError(f"{file} is missing", fix="write it before the commit")
        with writing(file):
            sync_file(file)
        sync_folder(file.parent)
