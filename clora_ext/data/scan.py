"""A folder of images becomes a checked, captioned dataset."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from clora_ext.data.buckets import cover
from clora_ext.data.captions import BadCaption, find_caption
from clora_ext.data.check import check
from clora_ext.data.concept import Concept
from clora_ext.data.layout import Group, Layout, find_layout, folder_name
from clora_ext.data.picture import Picture, Rejected
from clora_ext.data.regular import Unusable
from clora_ext.data.wording import shown
from clora_ext.errors import DatasetError

__all__ = ["Dataset", "scan"]

MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class Dataset:
    """What there is to learn from.

    Attributes:
        root: the folder that was named.
        pictures: every picture once, sorted by folder and name.
        rejected: files left out because they cannot be used.
        notes: what a person may want to know of the folder.
    """

    root: Path
    pictures: tuple[Picture, ...]
    rejected: tuple[Rejected, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 over pictures, captions and repeats; the names of files and folders do not count."""
        content = sorted((picture.sha256, picture.caption, picture.repeats) for picture in self.pictures)
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def scan(
    folder: Path, *, concept: Concept, resolution: int, skip_bad: bool = False, convert: bool = False
) -> Dataset:
    """Read and decode every picture in ``folder`` once, and find its caption.

    Args:
        folder: images; a kohya folder (``10_sks dog``); or a parent of kohya folders.
        concept: what is learned; its words fill captions.
        resolution: of the training, pixels; only for notes on pictures that are smaller.
        skip_bad: leave out what cannot be used, instead of refusing all.
        convert: accept pictures that look different once they are 8-bit RGB.

    Raises:
        DatasetError: the folder cannot be used, holds no images, none that is usable, or, without
            ``skip_bad``, any that is not; all of them are named.
    """
    layout = find_layout(folder)
    pictures: list[Picture] = []
    rejected: list[Rejected] = []
    for group in layout.groups:
        for path in group.images:
            verdict = judge(path, group, concept, resolution=resolution, convert=convert)
            if isinstance(verdict, Rejected):
                rejected.append(verdict)
            else:
                pictures.append(verdict)
    if rejected and not (skip_bad and pictures):
        raise told(layout, rejected, len(pictures) + len(rejected), skip_bad=skip_bad)
    unique, twins = without_twins(pictures, layout.root)
    return Dataset(layout.root, unique, tuple(rejected), layout.notes + twins + left_over(layout))


def judge(
    path: Path, group: Group, concept: Concept, *, resolution: int, convert: bool
) -> Picture | Rejected:
    """One image file with its caption, or what keeps one of the two from being used."""
    try:
        found = check(path, convert=convert)
        caption = find_caption(group.captions.get(path.stem, ()), group.words, concept)
    except BadCaption as error:
        return Rejected(error.path, error.reason, error.fix)
    except Unusable as error:
        return Rejected(path, error.reason, error.fix)
    return Picture(
        path=path,
        width=found.width,
        height=found.height,
        bytes=found.bytes,
        sha256=found.sha256,
        mode=found.mode,
        caption=caption.text,
        caption_from=caption.source,
        repeats=group.repeats,
        notes=found.notes + fit_notes(found.width, found.height, resolution) + caption.notes,
    )


def fit_notes(width: int, height: int, resolution: int) -> tuple[str, ...]:
    """What training at ``resolution`` does to a picture of this size beyond scaling it down."""
    enlargement, cropped = cover(width, height, resolution)
    notes: tuple[str, ...] = ()
    if enlargement > 1:
        notes += (f"smaller than {resolution} px: will be enlarged",)
    if cropped > 0:
        notes += (f"longer than 2:1: {cropped:.0%} will be cropped away",)
    return notes


def without_twins(pictures: list[Picture], root: Path) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
    """Each picture once, the first of equal files, with notes on those left out."""
    kept: dict[str, Picture] = {}
    notes: list[str] = []
    for picture in pictures:
        first = kept.setdefault(picture.sha256, picture)
        if first.path is picture.path:
            continue
        name, first_name = (shown(each.path.relative_to(root)) for each in (picture, first))
        note = f"{name} is a duplicate of {first_name}: left out"
        notes.append(note if picture.caption == first.caption else f"{note}, with its different caption")
        kept[picture.sha256] = replace(first, notes=(*first.notes, f"{name} is a duplicate"))
    return tuple(kept.values()), tuple(notes)


def left_over(layout: Layout) -> tuple[str, ...]:
    """Notes on files that nothing was made of: other kinds, and captions without a picture."""
    notes: list[str] = []
    for group in layout.groups:
        kinds = Counter(path.suffix.lower() or "no suffix" for path in group.others)
        if kinds:
            each = ", ".join(f"{count} x {shown(kind)}" for kind, count in sorted(kinds.items()))
            notes.append(f"ignored in {shown(folder_name(group.folder))}: {each}")
        stems = {path.stem for path in group.images}
        idle = [path for stem, paths in sorted(group.captions.items()) if stem not in stems for path in paths]
        if idle:
            names = ", ".join(shown(path.name) for path in idle[:MOST_TOLD])
            more = f" and {len(idle) - MOST_TOLD} more" if len(idle) > MOST_TOLD else ""
            notes.append(f"captions without a picture of the same name: {names}{more}")
    return tuple(notes)


def told(layout: Layout, rejected: list[Rejected], total: int, *, skip_bad: bool) -> DatasetError:
    """The error that names every bad file, what is wrong with it and what to do."""
    lines = [
        f"  {shown(bad.path.relative_to(layout.root))} {bad.reason}: {bad.fix}"
        for bad in rejected[:MOST_TOLD]
    ]
    if len(rejected) > MOST_TOLD:
        lines.append(f"  and {len(rejected) - MOST_TOLD} more")
    head = f"{len(rejected)} of {total} pictures in {shown(layout.root)} cannot be used:"
    if skip_bad or len(rejected) == total:
        return DatasetError(
            "\n".join([head, *lines]), fix="no picture is left: mend the files, or add others"
        )
    return DatasetError(
        "\n".join([head, *lines]), fix="mend or remove them, or leave them out with --skip-bad"
    )
