"""Why a path gives no pictures, said together with what to do."""

import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from clora_ext.data.kinds import readable_suffixes, unread_kind
from clora_ext.data.regular import Unusable, dataset_error, open_regular, unreadable
from clora_ext.errors import DatasetError
from clora_ext.formats.text import counted, escaped, listed

__all__ = ["Contents", "kinds_of", "no_images", "refuse_no_folder", "remedies_of"]

ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst")
KOHYA_PICTURES = frozenset({"img", "image", "images"})
KOHYA_OTHERS = frozenset({"reg", "log", "logs", "model"})


@dataclass(frozen=True, slots=True)
class Contents:
    """What a folder without images holds, its kohya folders included.

    Attributes:
        folders: how many images lie in each folder inside it that has any, one or two levels down.
        subfolders: all folders directly inside it.
        masks: image files that belong to others.
        unread: pictures of kinds that cannot be read here.
        captions: caption files.
        others: files of no use here.
    """

    folders: Mapping[Path, int]
    subfolders: tuple[Path, ...]
    masks: tuple[Path, ...]
    unread: tuple[Path, ...]
    captions: tuple[Path, ...]
    others: tuple[Path, ...]


def refuse_no_folder(root: Path) -> None:
    """Raise :class:`DatasetError` unless ``root`` is a folder."""
    try:
        if root.is_dir():
            return
        exists = root.exists()
    except (OSError, ValueError) as error:
        impossible = Unusable("is not a possible path", "check the path")
        raise dataset_error(root, unreadable(error) if isinstance(error, OSError) else impossible) from error
    if exists and is_archive(root):
        fix = "unpack it, and name the folder that comes out of it"
        raise DatasetError(f"{escaped(root)} is an archive, not a folder of images", fix=fix)
    if exists:
        fix = f"name the folder that holds it: {escaped(root.parent)}"
        raise DatasetError(f"{escaped(root)} is a file, not a folder of images", fix=fix)
    try:
        near = get_close_matches(root.name, sorted(entry.name for entry in root.parent.iterdir()), n=1)
    except OSError:
        near = []
    hint = f"did you mean {escaped(root.parent / near[0])}?" if near else "check the path"
    raise DatasetError(f"there is no folder {escaped(root)}", fix=hint)


def is_archive(path: Path) -> bool:
    """Whether the file at ``path`` is an archive: by its name, or a zip archive by its content."""
    if path.suffix.lower() in ARCHIVES:
        return True
    try:
        with open_regular(path) as file:
            return zipfile.is_zipfile(file)
    except (Unusable, OSError):
        return False


def no_images(root: Path, found: Contents) -> DatasetError:
    """The error for a folder without any image that can be read, with what was found there instead."""
    name = escaped(root)
    project = kohya_project_pictures(found)
    if project:
        return DatasetError(
            f"{name} is a project folder of kohya's; its pictures are in the folder {escaped(project.name)}",
            fix=f"name that one: {escaped(project)}",
        )
    if found.folders:
        each = listed(
            f"{escaped(folder.relative_to(root))} ({counted(count, 'image')})"
            for folder, count in sorted(found.folders.items())
        )
        return DatasetError(
            f"{name} holds no images itself, but folders with images: {each}",
            fix="name one of them, or rename them as kohya does (10_sks dog) to use them together",
        )
    if found.unread:
        return DatasetError(
            f"{name} holds no pictures that can be read here, but {kinds_of(found.unread)}",
            fix=remedies_of(found.unread),
        )
    archives = [escaped(path.name) for path in found.others if path.suffix.lower() in ARCHIVES]
    if archives:
        return DatasetError(
            f"{name} holds no images, but archives: {listed(archives)}",
            fix="unpack them, and name the folder with the pictures",
        )
    return DatasetError(
        f"{name} {without_images(found)}",
        fix=f"name a folder with pictures; their names end in {', '.join(readable_suffixes())}",
    )


def without_images(found: Contents) -> str:
    """What a folder holds that is no picture in any sense; continues a sentence begun with its name."""
    if found.masks:
        return (
            f"holds no pictures, but masks of pictures: {listed(escaped(path.name) for path in found.masks)}"
        )
    if found.others:
        return f"holds no images, but other files: {listed(escaped(path.name) for path in found.others)}"
    if found.captions:
        names = listed(escaped(path.name) for path in found.captions)
        return f"holds captions, but no images: {names}"
    return "holds no images, nor do the folders in it" if found.subfolders else "is empty"


def kohya_project_pictures(found: Contents) -> Path | None:
    """The folder of pictures in a project folder as kohya's programs lay it out: img, reg, log, model."""
    names = {folder.name.lower() for folder in found.subfolders}
    for folder in found.subfolders:
        has_pictures = any(folder in {other, other.parent} for other in found.folders)
        is_nested = any(other.parent == folder for other in found.folders)
        if folder.name.lower() in KOHYA_PICTURES and has_pictures and (is_nested or names & KOHYA_OTHERS):
            return folder
    return None


def kinds_of(unread: Iterable[Path]) -> str:
    """How many pictures there are of each kind that cannot be read here, such as ``3 x HEIC, 1 x GIF``."""
    kinds = Counter(kind[0] for kind in map(unread_kind, unread) if kind)
    return ", ".join(f"{count} x {kind}" for kind, count in sorted(kinds.items()))


def remedies_of(unread: Iterable[Path]) -> str:
    """What to do about pictures of kinds that cannot be read here."""
    return "; ".join(sorted({kind[1] for kind in map(unread_kind, unread) if kind}))
