"""The files of a folder that are not trained on: why, and whether that is meant."""

from collections import Counter
from collections.abc import Collection
from pathlib import Path

from clora_ext.data.beside import same_stem
from clora_ext.data.layout import Group, Layout, folder_name
from clora_ext.data.no_images import kinds_of, remedies_of
from clora_ext.errors import DatasetError
from clora_ext.formats.text import counted, escaped, listed

__all__ = ["left_over", "refuse_idle_captions", "refuse_mostly_unread"]

MOST_LISTED = 20


def refuse_idle_captions(layout: Layout) -> None:
    """Raise :class:`DatasetError` if there are captions, but not one belongs to a picture."""
    idle = [path for group in layout.groups for path in group.idle_captions]
    if not idle or any(group.captions for group in layout.groups):
        return
    image = layout.groups[0].images[0]
    raise DatasetError(
        f"no caption in {escaped(layout.root)} has the name of a picture: {names_of(idle)}",
        fix=f"name them as the pictures are ({escaped(image.stem)}.txt or {escaped(image.name)}.txt for "
        f"{escaped(image.name)}), or remove them to train without captions",
    )


def refuse_mostly_unread(layout: Layout) -> None:
    """Raise :class:`DatasetError` if more pictures cannot be read here than can.

    One that lies beside a readable one of the same name, as a camera's raw file does, is not missed.
    """
    unread = [path for group in layout.groups for path in missed(group)]
    readable = sum(len(group.images) for group in layout.groups)
    if len(unread) <= readable:
        return
    total = counted(len(unread) + readable, "picture")
    raise DatasetError(
        f"most pictures in {escaped(layout.root)} cannot be read here: {kinds_of(unread)} of {total}",
        fix=f"{remedies_of(unread)}; or leave them out with --skip-bad",
    )


def missed(group: Group) -> list[Path]:
    """Pictures that cannot be read here and have no other version that can."""
    versions = {path for path in same_stem([*group.images, *group.unread]) if path in group.images}
    stems = {path.stem for path in versions}
    return [path for path in group.unread if path.stem not in stems]


def left_over(layout: Layout, used: Collection[Path]) -> tuple[str, ...]:
    """Notes on files that were not used, folder by folder; ``used`` are masks."""
    return tuple(note for group in layout.groups for note in notes_on(group, used))


def notes_on(group: Group, used: Collection[Path]) -> list[str]:
    """Notes on the files of one folder that were not used, and on names that may be mistaken."""
    folder = escaped(folder_name(group.folder))
    notes = []
    endings = Counter(path.suffix.lower() or "no suffix" for path in group.others)
    if endings:
        each = ", ".join(f"{count} x {escaped(kind)}" for kind, count in sorted(endings.items()))
        notes.append(f"ignored in {folder}: {each}")
    if group.unread:
        kinds, remedies = kinds_of(group.unread), remedies_of(group.unread)
        notes.append(f"left out in {folder}, since they cannot be read here: {kinds}; {remedies}")
    unused = tuple(path for path in group.masks if path not in used)
    if unused:
        fix = "rename what is a picture of its own; --masked-loss uses masks"
        notes.append(f"left out, since they belong to other pictures: {names_of(unused)}; {fix}")
    if group.idle_captions:
        notes.append(f"captions without a picture of the same name: {names_of(group.idle_captions)}")
    alike = same_stem(group.images)
    if alike:
        notes.append(f"pictures of the same name but for its ending, all used: {names_of(alike)}")
    return notes


def names_of(paths: list[Path] | tuple[Path, ...]) -> str:
    """The names of files, the first twenty of them."""
    return listed((escaped(path.name) for path in paths), MOST_LISTED)
