"""How a folder of images is laid out: flat, a kohya folder, or a parent of kohya folders."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from clora_ext.data.regular import Unusable, dataset_error, unreadable
from clora_ext.errors import DatasetError
from clora_ext.formats.text import escaped

__all__ = ["IMAGE_SUFFIXES", "Group", "Layout", "find_layout", "folder_name"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
CAPTION_SUFFIXES = (".txt", ".caption")
KOHYA = re.compile(r"([0-9]+)_(.*)", re.DOTALL)
MOST_REPEATS = 10_000
MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Group:
    """One folder whose files are pictures and captions.

    Attributes:
        folder: where.
        repeats: how often each picture is shown; 1 in an ordinary folder.
        words: a kohya folder's words (``sks dog`` of ``10_sks dog``), else None.
        images: image files, sorted by name.
        captions: caption files by stem, each list sorted.
        others: files of no use here, sorted; hidden ones are left out.
    """

    folder: Path
    repeats: int
    words: str | None
    images: tuple[Path, ...]
    captions: Mapping[str, tuple[Path, ...]]
    others: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders to read.

    Attributes:
        root: the folder that was named.
        groups: at least one, sorted by name.
        notes: what lies there and is not read.
    """

    root: Path
    groups: tuple[Group, ...]
    notes: tuple[str, ...]


def find_layout(root: Path) -> Layout:
    """Decide from names alone what ``root`` is; no file is opened.

    Raises:
        DatasetError: ``root`` is missing, no folder, not readable, without images, or ambiguous.
    """
    refuse_no_folder(root)
    here = read_group(root)
    below = [folder for folder in subfolders(root) if folder not in here.images]
    kohya, plain, notes = [], [], []
    for folder in below:
        if KOHYA.fullmatch(folder.name):
            kohya.append(read_group(folder))
        elif count := count_images(folder):
            plain.append(f"{escaped(folder.name)} ({count} image{'s' if count > 1 else ''})")
    full = [group for group in kohya if group.images]
    if here.images and full:
        raise DatasetError(
            f"{escaped(root)} holds both pictures and kohya folders ({listed([g.folder for g in full])})",
            fix="move the pictures into a folder of their own, or name one of the folders",
        )
    if here.images:
        notes += [f"not read, since folders are not searched: {name}" for name in plain]
        return Layout(root, (here,), tuple(notes))
    if not full:
        raise no_images(here, plain)
    notes += [f"not read, since its name has no repeats (as in 10_sks dog): {name}" for name in plain]
    notes += [f"no images in {escaped(group.folder.name)}" for group in kohya if not group.images]
    return Layout(root, tuple(full), tuple(notes))


def refuse_no_folder(root: Path) -> None:
    """Raise :class:`DatasetError` unless ``root`` is a folder."""
    try:
        if root.is_dir():
            return
        exists = root.exists()
    except (OSError, ValueError) as error:
        impossible = Unusable("is not a possible path", "check the path")
        raise dataset_error(root, unreadable(error) if isinstance(error, OSError) else impossible) from error
    if exists:
        fix = f"name the folder that holds it: {escaped(root.parent)}"
        raise DatasetError(f"{escaped(root)} is a file, not a folder of images", fix=fix)
    try:
        near = get_close_matches(root.name, sorted(entry.name for entry in root.parent.iterdir()), n=1)
    except OSError:
        near = []
    hint = f"did you mean {escaped(root.parent / near[0])}?" if near else "check the path"
    raise DatasetError(f"there is no folder {escaped(root)}", fix=hint)


def entries(folder: Path) -> list[Path]:
    """What lies in ``folder``, sorted by name, without hidden names."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise dataset_error(folder, unreadable(error)) from error


def read_group(folder: Path) -> Group:
    """The names in ``folder``, sorted into images, captions and others."""
    repeats, words = repeats_of(folder)
    images, others = [], []
    captions: dict[str, list[Path]] = {}
    for entry in entries(folder):
        suffix = entry.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            images.append(entry)
        elif suffix in CAPTION_SUFFIXES:
            captions.setdefault(entry.stem, []).append(entry)
        elif not is_folder(entry):
            others.append(entry)
    by_stem = {stem: tuple(paths) for stem, paths in captions.items()}
    return Group(folder, repeats, words, tuple(images), by_stem, tuple(others))


def folder_name(folder: Path) -> str:
    """The last part of a folder's path, also of ``.`` and ``..``; a link keeps its own name."""
    return Path(os.path.abspath(folder)).name  # noqa: PTH100  # resolve() would follow the link


def repeats_of(folder: Path) -> tuple[int, str | None]:
    """Repeats and words in the name of a kohya folder; 1 and None for any other name."""
    match = KOHYA.fullmatch(folder_name(folder))
    if not match:
        return 1, None
    repeats = int(match[1])
    if not 1 <= repeats <= MOST_REPEATS:
        raise DatasetError(
            f"{escaped(folder)} asks for {repeats} repeats",
            fix=f"rename the folder: the number before the underscore is 1 .. {MOST_REPEATS}",
        )
    return repeats, " ".join(match[2].replace("_", " ").split())


def is_folder(path: Path) -> bool:
    """Whether ``path`` is a folder, and one that may be accessed."""
    try:
        return path.is_dir()
    except OSError:
        return False


def subfolders(folder: Path) -> list[Path]:
    """The folders directly inside ``folder``, sorted by name."""
    return [entry for entry in entries(folder) if is_folder(entry)]


def count_images(folder: Path) -> int:
    """How many files directly inside ``folder`` are images by their names; 0 if it may not be read."""
    try:
        return sum(entry.suffix.lower() in IMAGE_SUFFIXES for entry in entries(folder))
    except DatasetError:
        return 0


def listed(paths: list[Path]) -> str:
    """The last parts of ``paths``, the first ten of them."""
    names = ", ".join(escaped(path.name) for path in paths[:MOST_NAMED])
    return names if len(paths) <= MOST_NAMED else f"{names} and {len(paths) - MOST_NAMED} more"


def no_images(here: Group, plain: list[str]) -> DatasetError:
    """The error for a folder without any image, with what was found there instead."""
    if plain:
        more = "" if len(plain) <= MOST_NAMED else f" and {len(plain) - MOST_NAMED} more"
        return DatasetError(
            f"{escaped(here.folder)} holds no images itself, but folders with images: "
            f"{', '.join(plain[:MOST_NAMED])}{more}",
            fix="name one of them, or rename them as kohya does (10_sks dog) to use them together",
        )
    found = f"other files: {listed(list(here.others))}" if here.others else "nothing usable"
    return DatasetError(
        f"{escaped(here.folder)} holds no images, but {found}",
        fix=f"images end in {', '.join(IMAGE_SUFFIXES)}; convert others first",
    )
