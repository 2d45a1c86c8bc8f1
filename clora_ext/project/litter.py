"""What killed runs leave behind, told from what belongs to a project and from what is the user's."""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from .manifest import MANIFEST, Manifest
from .records import (
    BASE_SHEET,
    CURVE,
    LATER_SAMPLE,
    OUTCOME,
    SHEET,
    WEIGHTS,
    ConceptRecord,
    file_stem,
    later_sample_name,
)
from .storage import PARTIAL

__all__ = [
    "CHECKPOINTS",
    "CURVES",
    "FOLDERS",
    "MARKER",
    "MEMORY",
    "SHEETS",
    "TRAINING",
    "sweep",
    "training_name",
]

CHECKPOINTS = "checkpoints"
MEMORY = "memory"
SHEETS = "sheets"
CURVES = "curves"
TRAINING = "training"
FOLDERS = (CHECKPOINTS, MEMORY, SHEETS, CURVES, TRAINING)
"""The folders inside a project."""

MARKER = ".new"
"""Stands in a project that has no manifest yet; without it, weights without a manifest are never swept."""

_NEW = re.compile(r"[A-Za-z0-9_-]{1,64}\.safetensors\.partial|new\.safetensors")
_RUN = re.compile(r"[0-9]{3,9}")


def training_name(number: int) -> str:
    """Name, inside ``training``, of the folder of the run that learns concept ``number``.

    >>> training_name(2)
    '002'
    """
    return f"{number:03d}"


def sweep(folder: Path, manifest: Manifest | None) -> None:
    """Remove what clora itself has written and ``manifest`` does not refer to.

    Only names that clora gives are touched, and links are removed, never followed.

    Raises:
        OSError: something could not be removed; the rest is removed all the same.
    """
    failed: OSError | None = None
    for path in list(_litter(folder, manifest)):
        try:
            _remove(path)
        except OSError as error:  # noqa: PERF203 - each one for itself
            failed = error
    if failed is not None:
        raise failed


def _litter(folder: Path, manifest: Manifest | None) -> Iterator[Path]:
    """Everything to remove."""
    states = manifest.states if manifest else ()
    concepts = manifest.concepts if manifest else ()
    yield from _unused(folder / CHECKPOINTS, {state.checkpoint for state in states}, (WEIGHTS, _NEW))
    yield from _unused(folder / MEMORY, {state.memory for state in states}, (WEIGHTS, _NEW))
    yield from _unused(folder / SHEETS, set(_pictures(concepts)), (SHEET, OUTCOME, LATER_SAMPLE))
    yield from _unused(folder / CURVES, _curves(folder, concepts), (CURVE,))
    yield from _unused(folder / TRAINING, {training_name(len(concepts) + 1)}, (_RUN,))
    yield from (path for path in [folder / (MANIFEST + PARTIAL)] if os.path.lexists(path))
    if manifest is not None and (folder / MARKER).exists():
        yield folder / MARKER


def _pictures(concepts: Sequence[ConceptRecord]) -> Iterator[str]:
    """Every concept's sheet, what was measured, how it and later models have drawn it; the base's sheet."""
    if concepts:
        yield BASE_SHEET
    for concept in concepts:
        yield concept.sheet or ""
        yield f"{file_stem(concept.number, concept.token, concept.class_name)}.json"
        yield from (
            later_sample_name(concept.number, after.content_hash) for after in concepts[concept.number - 1 :]
        )


def _curves(folder: Path, concepts: Sequence[ConceptRecord]) -> set[str]:
    """Every concept's curve, and that of a stopped run which can be gone on with."""
    stems = [file_stem(concept.number, concept.token, concept.class_name) for concept in concepts]
    used = {f"{stem}.{ending}" for stem in stems for ending in ("csv", "png")}
    unfinished = training_name(len(concepts) + 1)
    curves, run = folder / CURVES, folder / TRAINING / unfinished
    if curves.is_dir() and not curves.is_symlink() and any(path.is_file() for path in run.glob("*")):
        used |= {path.name for path in curves.glob(f"{unfinished}-*")}
    return used


def _unused(folder: Path, used: set[str], patterns: tuple[re.Pattern[str], ...]) -> Iterator[Path]:
    """Entries with a name of clora's kind that is not in use, and half-written versions of such."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names, not paths
        whole = name.removesuffix(PARTIAL)
        if name not in used and any(p.fullmatch(name) or p.fullmatch(whole) for p in patterns):
            yield folder / name


def _remove(path: Path) -> None:
    """A file, a link (not what it leads to), or a run's folder; a folder in a file's place is the user's."""
    if path.is_symlink() or not path.is_dir():
        with suppress(FileNotFoundError):
            path.unlink()
    elif path.parent.name == TRAINING:
        shutil.rmtree(path)
