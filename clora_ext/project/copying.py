"""Copy a project: a second model that goes its own way from here."""

import os
import shutil
from pathlib import Path

from clora_ext.errors import ProjectError, StorageError, writing

from .folder import Project
from .litter import CHECKPOINTS, CURVES, DELTAS, MEMORY, SHEETS
from .manifest import MANIFEST
from .storage import replace_text, sync_folder
from .unfinished import nothing_learned

__all__ = ["copy_project"]


def copy_project(source: Path, target: Path) -> Project:
    """Copy the project in ``source`` to the folder ``target``, which is made.

    Committed models are never written again, so both projects share their files where the file system can:
    the copy then takes no space until it learns something of its own.

    Raises:
        ProjectError: there is no project in ``source``, or ``target`` exists.
        ProjectLocked: a run works in ``source``.
        StorageError: the disk is full or refuses; ``target`` is not left half made.
    """
    if os.path.lexists(target):
        raise ProjectError(f"{target} exists", fix="choose another name for the copy")
    opened = Project.open(source)  # says what is wrong before a lock is taken
    if opened.manifest is None:
        raise nothing_learned(source, opened.unfinished)
    with Project.writing(source) as project:
        text = project.manifest.encode() if project.manifest else ""
        try:
            for name in (CHECKPOINTS, MEMORY, SHEETS, CURVES, DELTAS):
                _copy_files(source / name, target / name)
            sync_folder(target)
            replace_text(target / MANIFEST, text)
        except (OSError, StorageError):
            shutil.rmtree(target, ignore_errors=True)
            raise
    return Project.open(target)


def _copy_files(source: Path, target: Path) -> None:
    """All files of a folder, shared or copied."""
    with writing(target):
        target.mkdir(parents=True)
        for file in sorted(source.iterdir()) if source.is_dir() else []:
            _copy_file(file, target / file.name)


def _copy_file(source: Path, target: Path) -> None:
    """One file, shared or copied."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
