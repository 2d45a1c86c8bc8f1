"""How a folder of images is laid out: flat, a kohya folder, or a parent of kohya folders."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clora_ext.data.beside import CAPTION_SUFFIXES, find_masks, is_document, match_captions, match_masks
from clora_ext.data.kinds import is_readable_name, unread_kind
from clora_ext.data.no_images import Contents, kinds_of, no_images, refuse_no_folder, remedies_of
from clora_ext.data.regular import dataset_error, unreadable
from clora_ext.errors import DatasetError
from clora_ext.formats.text import counted, escaped, listed

__all__ = ["Group", "Layout", "find_layout", "folder_name"]

KOHYA = re.compile(r"([0-9]+)_(.*)", re.DOTALL)
MOST_REPEATS = 10_000


@dataclass(frozen=True, slots=True)
class Group:
    """One folder whose files are pictures and captions.

    Attributes:
        folder: where.
        repeats: how often each picture is shown; 1 in an ordinary folder.
        words: a kohya folder's words (``sks dog`` of ``10_sks dog``), else None.
        images: image files, sorted by name.
        captions: the caption files of each picture that has any, sorted.
        idle_captions: caption files of no picture, sorted.
        masks: image files that belong to others and are not learned, sorted.
        mask_of: those that say what counts of a picture, by the picture.
        unread: pictures of kinds that cannot be read here, sorted.
        others: files of no use here, sorted; hidden ones are left out.
    """

    folder: Path
    repeats: int
    words: str | None
    images: tuple[Path, ...]
    captions: Mapping[Path, tuple[Path, ...]]
    idle_captions: tuple[Path, ...]
    masks: tuple[Path, ...]
    mask_of: Mapping[Path, Path]
    unread: tuple[Path, ...]
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


def find_layout(root: Path, captions: Sequence[str] = CAPTION_SUFFIXES) -> Layout:
    """Decide from names alone what ``root`` is; no file is opened.

    Args:
        root: the folder.
        captions: endings of caption files.

    Raises:
        DatasetError: ``root`` is missing, no folder, not readable, without images, or ambiguous.
    """
    refuse_no_folder(root)
    here = read_group(root, captions)
    below = [folder for folder in subfolders(root) if folder not in {*here.images, *here.masks}]
    kohya = [read_group(folder, captions) for folder in below if KOHYA.fullmatch(folder.name)]
    plain = [folder for folder in below if not KOHYA.fullmatch(folder.name) and images_in(folder)]
    full = [group for group in kohya if group.images]
    if here.images and full:
        names = listed([escaped(group.folder.name) for group in full])
        raise DatasetError(
            f"{escaped(root)} holds both pictures and kohya folders ({names})",
            fix="move the pictures into a folder of their own, or name one of the folders",
        )
    if here.images:
        notes = [f"not read, since folders are not searched: {described(folder)}" for folder in plain]
        return Layout(root, (here,), tuple(notes))
    if not full:
        raise no_images(root, contents(here, kohya, below, plain))
    notes = [f"not read, since its name has no repeats (as in 10_sks dog): {described(one)}" for one in plain]
    notes += [without_images(group) for group in kohya if not group.images]
    return Layout(root, tuple(full), tuple(notes))


def contents(here: Group, kohya: list[Group], below: list[Path], plain: list[Path]) -> Contents:
    """What a folder holds that has no images, neither itself nor in kohya folders."""
    groups = [here, *kohya]
    deeper = [inside for folder in below for inside in subfolders(folder) if images_in(inside)]
    return Contents(
        folders={folder: len(images_in(folder)) for folder in [*plain, *deeper]},
        subfolders=tuple(below),
        masks=tuple(path for group in groups for path in group.masks),
        unread=tuple(path for group in groups for path in group.unread),
        captions=tuple(path for group in groups for path in group.idle_captions),
        others=tuple(path for group in groups for path in group.others),
    )


def entries(folder: Path) -> list[Path]:
    """What lies in ``folder``, sorted by name, without hidden names."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise dataset_error(folder, unreadable(error)) from error


def read_group(folder: Path, suffixes: Sequence[str]) -> Group:
    """The names in ``folder``, sorted by what they are."""
    repeats, words = repeats_of(folder)
    named: list[Path] = []
    texts: list[Path] = []
    unread: list[Path] = []
    others: list[Path] = []
    for entry in entries(folder):
        if is_readable_name(entry):
            named.append(entry)
        elif entry.suffix.lower() in suffixes:
            texts.append(entry)
        elif not is_folder(entry):
            (unread if unread_kind(entry) else others).append(entry)
    masks = find_masks([*named, *unread])
    images = tuple(entry for entry in named if entry not in masks)
    captions = match_captions(images, texts)
    documents = {path for path in captions.idle if is_document(path)}
    return Group(
        folder=folder,
        repeats=repeats,
        words=words,
        images=images,
        captions=captions.of,
        idle_captions=tuple(path for path in captions.idle if path not in documents),
        masks=tuple(sorted(masks)),
        mask_of=match_masks(images, sorted(masks)),
        unread=tuple(entry for entry in unread if entry not in masks),
        others=tuple(sorted([*others, *documents])),
    )


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
    """The folders directly inside ``folder``, sorted by name; none if it may not be read."""
    try:
        return [entry for entry in entries(folder) if is_folder(entry)]
    except DatasetError:
        return []


def images_in(folder: Path) -> list[Path]:
    """The pictures directly inside ``folder``, by their names; none if it may not be read."""
    try:
        named = [entry for entry in entries(folder) if is_readable_name(entry)]
    except DatasetError:
        return []
    masks = find_masks(named)
    return [entry for entry in named if entry not in masks]


def without_images(group: Group) -> str:
    """The note on a kohya folder that gives nothing to learn."""
    unread = f", but {kinds_of(group.unread)}; {remedies_of(group.unread)}" if group.unread else ""
    return f"no images in {escaped(group.folder.name)}{unread}"


def described(folder: Path) -> str:
    """A folder with how many pictures it holds."""
    return f"{escaped(folder.name)} ({counted(len(images_in(folder)), 'image')})"
