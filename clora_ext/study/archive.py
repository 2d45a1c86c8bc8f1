"""A study in one file: its plan and what it has measured, to be kept or passed on. Needs no torch."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from clora_ext.errors import ProjectError, writing
from clora_ext.project.storage import replace_text

from .results import StudyFolder
from .schedule import PLAN, read_schedule

__all__ = ["is_archive", "pack", "unpack", "unpacked"]

_FORMAT = 1
_KEY = re.compile(r"[0-9a-f]{20}")
_LARGEST = 1 << 28  # bytes: a hundred times the largest study that ships
_DIGITS = 6


def pack(folder: Path, file: Path) -> int:
    """Write what a study has measured into one file; give the number of results.

    Models stay behind, and so do the names of folders and machines. Numbers have six digits after the point.

    Args:
        folder: of the study.
        file: JSON, with a line for each result; one that is there is replaced.

    Raises:
        ProjectError: there is no study, or a result is damaged.
        StorageError: the disk is full or refuses.
    """
    schedule, store = read_schedule(folder), StudyFolder(folder)
    plan = {**json.loads((folder / PLAN).read_text(encoding="utf-8")), "place": "."}
    found = {job.key: store.result(job.key) for job in schedule.jobs}
    results = {key: _anonymous(one) for key, one in found.items() if one is not None}
    lines = [f"  {json.dumps(key)}: {json.dumps(_rounded(one))}" for key, one in results.items()]
    text = f'{{\n"format": {_FORMAT},\n"plan": {json.dumps(plan)},\n"results": {{\n'
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    replace_text(file, text + ",\n".join(lines) + "\n}\n}\n")
    return len(results)


def is_archive(path: Path) -> bool:
    """Whether it is what :func:`pack` writes, by its name."""
    return path.suffix.lower() == ".json" and path.is_file()


def unpack(file: Path, folder: Path) -> None:
    """Make the study's folder again, in which it can be reported and gone on with.

    Args:
        file: that :func:`pack` has written.
        folder: new or empty.

    Raises:
        ProjectError: the file is no study's, or the folder holds something.
        StorageError: the disk is full or refuses.
    """
    plan, results = _read(file)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProjectError(f"{folder} is not empty", fix="name a new folder")
    store = StudyFolder(folder)
    store.make()
    for key, result in results.items():
        store.write_result(key, result)
    replace_text(folder / PLAN, json.dumps(plan, indent=1) + "\n")
    read_schedule(folder)


@contextmanager
def unpacked(file: Path) -> Iterator[Path]:
    """The study's folder for a while."""
    with TemporaryDirectory(prefix="clora-study-") as place:
        folder = Path(place) / file.stem
        unpack(file, folder)
        yield folder


def _read(file: Path) -> tuple[Mapping[str, Any], Mapping[str, Mapping[str, Any]]]:
    """Plan and results.

    Raises:
        ProjectError: the file is no study's.
    """
    try:
        _check_size(file)
        return _parsed(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        fix = "give a file that `clora study pack` has written"
        raise ProjectError(f"{file} is no packed study: {error}", fix=fix) from error


def _check_size(file: Path) -> None:
    if file.stat().st_size > _LARGEST:
        message = f"it has more than {_LARGEST >> 20} MiB"
        raise ValueError(message)


def _parsed(found: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Mapping[str, Any]]]:
    """ValueError, KeyError, TypeError: it is not what :func:`pack` writes."""
    if found["format"] != _FORMAT:
        message = f"it is of format {found['format']!r:.20}, this clora knows {_FORMAT}"
        raise ValueError(message)
    plan, results = dict(found["plan"]), dict(found["results"])
    if not all(_KEY.fullmatch(key) and isinstance(one, dict) for key, one in results.items()):
        message = "a result in it is none"
        raise ValueError(message)
    return plan, results


def _anonymous(result: Mapping[str, Any]) -> dict[str, Any]:
    """Without the name of the machine that made it."""
    made = {name: value for name, value in result.get("made", {}).items() if name != "host"}
    return {**result, "made": made}


def _rounded(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """The same with six digits after the point."""
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value
