"""A set of files that appears as a whole or not at all."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from clora_ext.errors import StorageError, UsageError, writing
from clora_ext.formats.flush import flush
from clora_ext.project.storage import sync_folder

__all__ = ["FileSet", "PlannedFile", "file_of", "place"]

# Beside the target, so that the last step is a rename; with an ending that no program looks for.
_NEW = ".clora-new"
_OLD = ".clora-old"
_SLACK = 8192  # bytes a file may take beyond its content: blocks and the folder's entry
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file, or a folder of files, that will be written.

    Attributes:
        target: where it will be.
        bytes: how many it will take.
        write: writes it to the path that it is given; gives the content hash of a model, else nothing. What
            the disk refuses it says by StorageError.
        is_folder: whether it is a folder.
    """

    target: Path
    bytes: int
    write: Callable[[Path], str | None]
    is_folder: bool = False


@dataclass(frozen=True, slots=True)
class FileSet:
    """What an export does to the disk.

    Attributes:
        items: what is written; the last is the model itself.
        remove: files that must not be there afterwards, because they would be taken for parts of this model.
    """

    items: tuple[PlannedFile, ...]
    remove: tuple[Path, ...] = ()


def file_of(target: Path, content: bytes) -> PlannedFile:
    """A small file."""

    def write(path: Path) -> None:
        with writing(target), path.open("wb") as file:
            file.write(content)
            file.flush()
            flush(file.fileno())

    return PlannedFile(target, len(content), write)


def place(files: FileSet, *, overwrite: bool) -> str | None:
    """Write all of it, or leave the disk as it was; give the model's content hash.

    Raises:
        UsageError: something is there already and is not to be overwritten.
        StorageError: there is too little space, or the disk refuses.
    """
    items = files.items
    _refuse_existing(files, overwrite=overwrite)
    with _folders([item.target.parent for item in items]):
        _check_space(items)
        try:
            results = [_stage(item) for item in items]
            _exchange(files)
        finally:
            for item in items:
                with suppress(OSError):
                    _remove(_beside(item.target, _NEW))
    for folder in {item.target.parent for item in items}:
        sync_folder(folder)
    return results[-1]


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(target.name + ending)


def _refuse_existing(files: FileSet, *, overwrite: bool) -> None:
    """Nothing is replaced unasked, and never a folder by a file."""
    for item in files.items:
        if not item.is_folder and item.target.is_dir():
            raise UsageError(f"{item.target} is a folder", fix="choose another name")
    paths = [*(item.target for item in files.items), *files.remove]
    there = [path for path in paths if _is_taken(path)]
    if there and not overwrite:
        names = ", ".join(map(str, there))
        raise UsageError(
            f"{names} exist{'s' * (len(there) == 1)}", fix="choose another name or pass --overwrite"
        )


def _is_taken(path: Path) -> bool:
    """Whether something is there; an empty folder is as good as none."""
    empty = path.is_dir() and not path.is_symlink() and not any(path.iterdir())
    return os.path.lexists(path) and not empty


@contextmanager
def _folders(folders: Sequence[Path]) -> Iterator[None]:
    """Make the folders that are missing; if the rest fails, take them away again."""
    made: list[Path] = []
    try:
        for folder in dict.fromkeys(folders):
            missing = [path for path in (folder, *folder.parents) if not path.exists()]
            for path in reversed(missing):
                with writing(path):
                    path.mkdir()
                made.append(path)
        yield
    except BaseException:
        for path in reversed(made):
            with suppress(OSError):  # something is in it: it stays
                path.rmdir()
        raise


def _check_space(items: Sequence[PlannedFile]) -> None:
    """Every disk must hold what goes to it; what is replaced is freed at the end only."""
    needed: dict[int, int] = {}
    places: dict[int, Path] = {}
    for item in items:
        device = item.target.parent.stat().st_dev
        needed[device] = needed.get(device, 0) + item.bytes + _SLACK
        places[device] = item.target.parent
    for device, size in needed.items():
        free = shutil.disk_usage(places[device]).free
        if free < size:
            message = (
                f"not enough space in {places[device]}: "
                f"{size / _MEGABYTE:,.1f} MB are needed, {free / _MEGABYTE:,.1f} MB are free"
            )
            raise StorageError(message, fix="free some space, or export to another disk")


def _stage(item: PlannedFile) -> str | None:
    """Write one item beside its target; what a killed export left there is replaced."""
    staged = _beside(item.target, _NEW)
    with writing(item.target):
        _remove(staged)
    return item.write(staged)


def _exchange(files: FileSet) -> None:
    """Put the staged files in place, the model last; at the first refusal, put everything back."""
    undo: list[Callable[[], None]] = []
    paths = [*files.remove, *(item.target for item in files.items)]
    staged = {item.target for item in files.items}
    try:
        for path in paths:
            with writing(path):
                _move_aside(path, undo)
                if path in staged:
                    os.replace(_beside(path, _NEW), path)
                    undo.append(lambda path=path: _remove(path))  # type: ignore[misc]  # bound now
    except BaseException:
        for step in reversed(undo):
            with suppress(OSError):
                step()
        raise
    for path in paths:
        with suppress(OSError):
            _remove(_beside(path, _OLD))


def _move_aside(path: Path, undo: list[Callable[[], None]]) -> None:
    """Give what is there another name until the end."""
    if os.path.lexists(path):
        old = _beside(path, _OLD)
        _remove(old)
        os.replace(path, old)
        undo.append(lambda: os.replace(old, path))


def _remove(path: Path) -> None:
    """A file, a link or one of our own folders; nothing if there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
