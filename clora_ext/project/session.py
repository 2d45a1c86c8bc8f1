"""The time in which one run may change a project: from taking the lock to giving it back."""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from errno import EROFS
from pathlib import Path

from clora_ext.errors import ProjectError, writing

from .file_system import check_flush
from .litter import FOLDERS, MARKER, TRAINING, sweep
from .lock import HOLDER, LOCK, Hold, locked
from .manifest import MANIFEST, Manifest, read_manifest
from .storage import PARTIAL

__all__ = ["session"]

_OWN = {LOCK, HOLDER, MARKER, MANIFEST + PARTIAL, *FOLDERS}
_TRIES = 10  # to take the lock of a folder that others take away
_SYSTEM = {".DS_Store", "Thumbs.db", "desktop.ini"}  # file managers put them into any folder


@contextmanager
def session(folder: Path) -> Iterator[Manifest | None]:
    """Make the folder if needed, take its lock, sweep; give the manifest; tidy up at the end.

    Raises:
        ProjectError: the folder cannot be a project: something else is in it, or there is no permission.
        ProjectLocked: another run works in it.
        StorageError: the disk is full, or its file system cannot lock files or force them to the disk.
    """
    _refuse_foreign(folder)
    made: list[Path] = []
    try:
        with ExitStack() as holding:
            with _entering(folder):
                hold = _hold(folder, made, holding)
            try:
                with _entering(folder):
                    check_flush(folder / HOLDER)
                    manifest = _prepare(folder)
                yield manifest
            finally:
                with suppress(OSError, ProjectError):
                    hold.leaves_file = _tidy(folder)
    finally:
        for path in reversed(made):
            with suppress(OSError):  # something is in it: it stays
                path.rmdir()


@contextmanager
def _entering(folder: Path) -> Iterator[None]:
    """The system's refusals in the user's words."""
    with writing(folder):
        try:
            yield
        except OSError as error:
            if isinstance(error, PermissionError) or error.errno == EROFS:
                message = f"no permission to write in {folder}: {error.strerror}"
                fix = "change the folder's permissions, or choose another with --project"
                raise ProjectError(message, fix=fix) from error
            raise


def _hold(folder: Path, made: list[Path], holding: ExitStack) -> Hold:
    """Make the folder and take its lock; a run that ends just now may take both away in between."""
    for _ in range(_TRIES):
        with suppress(FileNotFoundError, FileExistsError):
            _make(folder, made)
            return holding.enter_context(locked(folder))
    _make(folder, made)
    return holding.enter_context(locked(folder))


def _make(folder: Path, made: list[Path]) -> None:
    """The folder and those above it; each one made is noted."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        made.append(path)


def _prepare(folder: Path) -> Manifest | None:
    """Under the lock: read, mark a new project as one, make its folders, sweep."""
    manifest = read_manifest(folder)
    if manifest is None:
        (folder / MARKER).touch()
    for name in FOLDERS:
        path = folder / name
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            message = f"{path} is a link or a file; clora keeps a folder of its own there"
            raise ProjectError(message, fix="move it away, or put the real folder in its place")
        path.mkdir(exist_ok=True)
    sweep(folder, manifest)
    return manifest


def _refuse_foreign(folder: Path) -> None:
    """A folder without a manifest must be empty, or a project whose first run did not end."""
    for path in (folder, *folder.parents):
        if _is_file(path):
            message = f"{path} is a file, not a project folder"
            raise ProjectError(message, fix="choose another folder with --project")
    try:
        foreign = _foreign(folder)
    except OSError as error:
        message = f"cannot read the folder {folder}: {error.strerror}"
        raise ProjectError(message, fix="check the folder's permissions") from error
    if foreign and not os.path.lexists(folder / MANIFEST):
        message = f"{folder} is not a project: it has no {MANIFEST}, but holds {foreign[0]!r}"
        fix = f"choose an empty or new folder with --project; if this was a project, restore its {MANIFEST}"
        raise ProjectError(message, fix=fix)


def _is_file(path: Path) -> bool:
    """Whether anything but a folder is there; asked once, since others may take it away meanwhile."""
    with suppress(OSError):
        return not stat.S_ISDIR(path.stat().st_mode)
    return path.is_symlink()


def _foreign(folder: Path) -> list[str]:
    """Names in the folder that no new project has."""
    if os.path.lexists(folder / MANIFEST):
        return []
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names, not paths
    except FileNotFoundError:
        return []
    marked = MARKER in names
    others = [name for name in names if name not in _OWN | _SYSTEM]
    return others + [name for name in names if name in FOLDERS and not marked and _filled(folder / name)]


def _filled(path: Path) -> bool:
    """Whether there is anything in or at ``path``."""
    return path.is_symlink() or not path.is_dir() or any(path.iterdir())


def _tidy(folder: Path) -> bool:
    """At the end: sweep; of a project that never came to be, remove everything but a run to resume.

    Returns:
        Whether anything is left that a lock stands for.
    """
    manifest = read_manifest(folder)
    sweep(folder, manifest)
    if manifest is not None:
        return True
    training = folder / TRAINING
    if training.is_symlink() or any(path.is_file() for path in training.rglob("*")):
        return True
    for path in [*sorted(training.glob("*")), *(folder / name for name in FOLDERS)]:
        if path.exists():
            path.rmdir()
    (folder / MARKER).unlink(missing_ok=True)
    return False
