"""Scan a folder of images: check every picture, find its caption, and say what is left out and why."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clora_ext.data.buckets import cover
from clora_ext.data.captions import BadCaption, find_caption
from clora_ext.data.check import Checked, check_image
from clora_ext.data.concept import Concept
from clora_ext.data.layout import Group, Layout, find_layout
from clora_ext.data.leftovers import left_over, refuse_idle_captions, refuse_mostly_unread
from clora_ext.data.mask import Mask, check_mask
from clora_ext.data.picture import Picture, Rejected
from clora_ext.data.regular import Unusable
from clora_ext.data.subset import Subset
from clora_ext.data.varied_captions import plain_caption
from clora_ext.errors import DatasetError
from clora_ext.formats.text import counted, escaped, listed

__all__ = ["Dataset", "layout_of", "scan", "scan_subset"]

_MOST_LISTED = 20
_MASK_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


@dataclass(frozen=True, slots=True)
class Dataset:
    """Pictures that can be trained on.

    Attributes:
        root: the folder that was named; of several, the one that holds them all.
        pictures: of each folder every picture once, sorted by folder and name; those for regularisation last.
        rejected: files left out because they cannot be used.
        notes: what the user should know about the folders.
        held_out: pictures of the concept that are not trained on, and none of ``pictures``.
    """

    root: Path
    pictures: tuple[Picture, ...]
    rejected: tuple[Rejected, ...] = ()
    notes: tuple[str, ...] = ()
    held_out: tuple[Picture, ...] = ()

    @property
    def taught(self) -> tuple[Picture, ...]:
        """Those that show the concept: without those for regularisation, before which they stand."""
        return tuple(picture for picture in self.pictures if not picture.subset.regularisation)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of pictures, captions, repeats and what holds for single folders; names do not matter."""
        content = sorted(
            (picture.sha256, picture.written, picture.repeats, *_shaping(picture))
            for picture in self.pictures
        )
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _shaping(picture: Picture) -> tuple[str, ...]:
    """What holds for the picture or its folder alone, as text; empty: nothing."""
    shaping = dict(picture.subset.shaping)
    if picture.mask is not None:
        shaping["mask"] = picture.mask.sha256
    return (json.dumps(shaping, sort_keys=True),) if shaping else ()


def scan(
    folder: Path,
    *,
    concept: Concept,
    resolution: int,
    skip_bad: bool = False,
    convert: bool = False,
    repeats: int | None = None,
) -> Dataset:
    """As :func:`scan_subset`, of a folder for which nothing else holds."""
    subset = Subset(folder, repeats=repeats)
    return scan_subset(subset, concept=concept, resolution=resolution, skip_bad=skip_bad, convert=convert)


def scan_subset(
    subset: Subset, *, concept: Concept, resolution: int, skip_bad: bool = False, convert: bool = False
) -> Dataset:
    """Read and decode every picture of a folder once, and find its caption.

    Args:
        subset: the folder, and what holds for it.
        concept: what is learned; its words fill captions.
        resolution: to train at, pixels; used only to note which pictures are smaller.
        skip_bad: leave out what cannot be used, instead of refusing the whole folder.
        convert: accept pictures that will look different once they are 8-bit RGB.

    Raises:
        DatasetError: the folder cannot be used, or holds no usable image, or, without ``skip_bad``, holds
            any that is not usable, each of which is named; or its captions belong to no picture.
    """
    layout = layout_of(subset)
    refuse_idle_captions(layout)
    if not skip_bad:
        refuse_mostly_unread(layout)
    pictures: list[Picture] = []
    rejected: list[Rejected] = []
    for group in layout.groups:
        for path in group.images:
            found = read_picture(path, group, concept, subset, resolution=resolution, convert=convert)
            if isinstance(found, Rejected):
                rejected.append(found)
            else:
                pictures.append(found)
    if rejected and not (skip_bad and pictures):
        raise scan_error(layout, rejected, len(pictures) + len(rejected), skip_bad=skip_bad)
    large, skipped = without_small(pictures, subset)
    unique, duplicates = without_duplicates(large, layout.root)
    used = {picture.mask.path for picture in unique if picture.mask is not None}
    notes = layout.notes + skipped + duplicates + left_over(layout, used) + refuse_no_masks(subset, unique)
    return Dataset(layout.root, unique, tuple(rejected), notes)


def layout_of(subset: Subset) -> Layout:
    """The subset's folders, with its own ending of caption files."""
    if subset.caption_extension is None:
        return find_layout(subset.folder)
    return find_layout(subset.folder, (subset.caption_extension.lower(),))


def read_picture(
    path: Path, group: Group, concept: Concept, subset: Subset, *, resolution: int, convert: bool
) -> Picture | Rejected:
    """One image file with its caption, or the reason why one of the two cannot be used."""
    try:
        found = check_image(path, convert=convert, apart=subset.masks.alpha_mask)
        mask = mask_of(path, found, group, subset)
        caption = find_caption(group.captions.get(path, ()), group.words, concept, subset)
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
        caption=plain_caption(subset.captions, caption.text),
        written=caption.text,
        caption_from=caption.source,
        repeats=group.repeats if subset.repeats is None else subset.repeats,
        subset=subset,
        mask=mask,
        notes=found.notes + fit_notes(found.width, found.height, resolution) + caption.notes,
    )


def mask_of(path: Path, found: Checked, group: Group, subset: Subset) -> Mask | None:
    """What counts of a picture, by the subset's rules; None: all of it."""
    if subset.masks.alpha_mask:
        return Mask(path, found.sha256, is_alpha=True) if found.is_transparent else None
    if not subset.masks.masked_loss:
        return None
    size = found.width, found.height
    if subset.mask_folder is None:
        beside = group.mask_of.get(path)
        return None if beside is None else check_mask(beside, size)
    named = [path.name, *(f"{path.stem}{ending}" for ending in _MASK_ENDINGS)]
    there = next((one for name in named if (one := subset.mask_folder / name).is_file()), None)
    if there is None:
        reason = f"has no mask in {escaped(subset.mask_folder)}"
        raise Unusable(reason, f"put {escaped(path.stem)}.png there, or leave the picture out")
    return check_mask(there, size)


def refuse_no_masks(subset: Subset, pictures: Sequence[Picture]) -> tuple[str, ...]:
    """A note on pictures that all counts of, where masks are asked for.

    Raises:
        DatasetError: there is not one mask.
    """
    if not (subset.masks.masked_loss or subset.masks.alpha_mask):
        return ()
    without = [picture for picture in pictures if picture.mask is None]
    if len(without) < len(pictures):
        some = f"{len(without)} of {counted(len(pictures), 'picture')}"
        return (f"{some} without a mask: all of them counts",) if without else ()
    if subset.masks.alpha_mask:
        message, fix = "is transparent anywhere", "leave out --alpha-mask"
    else:
        message, fix = (
            "has a mask",
            "name masks NAME-masklabel.png or NAME_mask.png, or leave out --masked-loss",
        )
    raise DatasetError(f"no picture in {escaped(subset.folder)} {message}", fix=fix)


def fit_notes(width: int, height: int, resolution: int) -> tuple[str, ...]:
    """Notes on what training at ``resolution`` does to a picture of this size, other than scaling it down."""
    enlargement, cropped = cover(width, height, resolution)
    notes: tuple[str, ...] = ()
    if enlargement > 1:
        notes += (f"smaller than {resolution} px: will be enlarged",)
    if cropped > 0:
        notes += (f"longer than 2:1: {cropped:.0%} will be cropped away",)
    return notes


def without_small(pictures: list[Picture], subset: Subset) -> tuple[list[Picture], tuple[str, ...]]:
    """The pictures that are large enough, and a note on the others.

    Raises:
        DatasetError: none is.
    """
    if subset.skipped is None:
        return pictures, ()
    width, height = subset.skipped
    large = [one for one in pictures if one.width * one.height > width * height]
    small = [one for one in pictures if one.width * one.height <= width * height]
    if not large:
        message = f"no picture in {escaped(subset.folder)} has more pixels than {width} x {height}"
        raise DatasetError(message, fix="set skip_image_resolution smaller")
    names = listed([escaped(one.path.name) for one in small], _MOST_LISTED)
    return large, (f"left out, with no more pixels than {width} x {height}: {names}",) if small else ()


def without_duplicates(pictures: list[Picture], root: Path) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
    """The first of each set of equal files, and notes on those that are left out."""
    kept: dict[str, Picture] = {}
    notes: list[str] = []
    for picture in pictures:
        first = kept.setdefault(picture.sha256, picture)
        if first.path is picture.path:
            continue
        name, first_name = (escaped(each.path.relative_to(root)) for each in (picture, first))
        note = f"{name} is a duplicate of {first_name}: left out"
        notes.append(note if picture.caption == first.caption else f"{note}, with its different caption")
        kept[picture.sha256] = replace(first, notes=(*first.notes, f"{name} is a duplicate"))
    return tuple(kept.values()), tuple(notes)


def scan_error(layout: Layout, rejected: list[Rejected], total: int, *, skip_bad: bool) -> DatasetError:
    """The error that names the bad files, what is wrong with each and what to do about it."""
    lines = [
        f"  {escaped(bad.path.relative_to(layout.root))} {bad.reason}: {bad.fix}"
        for bad in rejected[:_MOST_LISTED]
    ]
    if len(rejected) > _MOST_LISTED:
        lines.append(f"  and {len(rejected) - _MOST_LISTED} more")
    head = f"{len(rejected)} of {counted(total, 'picture')} in {escaped(layout.root)} cannot be used:"
    if skip_bad or len(rejected) == total:
        return DatasetError("\n".join([head, *lines]), fix="no picture is left: fix the files, or add others")
    return DatasetError(
        "\n".join([head, *lines]), fix="fix or remove them, or leave them out with --skip-bad"
    )
