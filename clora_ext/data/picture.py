"""One image file after it was checked: a picture to train on, or a rejected one."""

from dataclasses import dataclass
from pathlib import Path

from clora_ext.data.mask import Mask
from clora_ext.data.subset import Subset

__all__ = ["Picture", "Rejected"]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that was read completely and can be trained on.

    Attributes:
        path: the image file.
        width: pixels from left to right, after the camera's rotation (EXIF) is applied.
        height: pixels from top to bottom, likewise.
        bytes: size of the file.
        sha256: of the file's content, 64 hex digits.
        mode: Pillow's name of the file's own colour mode, such as ``RGB``, ``P`` or ``CMYK``.
        caption: what it shows, in words; one line, with nothing left out and in its usual order.
        written: the same as it was written, with the marks and lines that make it vary.
        caption_from: its source: a file's name, ``folder name`` or ``default``.
        repeats: how often it is shown, relative to the other pictures.
        subset: that it is of.
        mask: what counts of it; None: all of it.
        notes: what the user should know about it, such as ``rotated by EXIF``.
    """

    path: Path
    width: int
    height: int
    bytes: int
    sha256: str
    mode: str
    caption: str
    written: str
    caption_from: str
    repeats: int
    subset: Subset
    mask: Mask | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file that cannot be used.

    Attributes:
        path: the image, or its caption.
        reason: what is wrong; continues a sentence that begins with the file's name.
        fix: what to do about it.
    """

    path: Path
    reason: str
    fix: str
