"""The kinds of picture files: how each begins and ends, and what reads it here."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from PIL import BmpImagePlugin, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin, features

from clora_ext.data.regular import Unusable

__all__ = ["HEADER", "Kind", "Opener", "is_readable_name", "kind_of", "readable_suffixes", "unread_kind"]

HEADER = 64
"""Bytes of a file's beginning that tell its kind."""

Opener = Callable[[BinaryIO], ImageFile.ImageFile]
AS_OTHERS = "save as JPEG or PNG"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of picture file.

    Attributes:
        name: what people call it.
        suffixes: endings of its files, lower case, with the dot.
        starts: whether a file that begins with these bytes is of this kind.
        is_readable: whether it can be read here, asked without importing anything large.
        opener: Pillow's class for it. The classes are called directly: ``Image.open`` would try every other
            format too, and enforces a process-wide limit that is not ours to change.
        package: what reads it where Pillow does not; empty: Pillow always does.
    """

    name: str
    suffixes: tuple[str, ...]
    starts: Callable[[bytes], bool]
    opener: Callable[[], Opener]
    is_readable: Callable[[], bool] = lambda: True
    package: str = ""

    @property
    def remedy(self) -> str:
        """What to do where it cannot be read."""
        return f"pip install {self.package}, or {AS_OTHERS}"


def kind_of(head: bytes) -> Kind:
    """The kind that the first :data:`HEADER` bytes of a file show, whatever its name says.

    Raises:
        Unusable: it is none of ours, or cannot be read here.
    """
    for kind in KINDS:
        if kind.starts(head):
            if not kind.is_readable():
                raise Unusable(f"is in {kind.name}, which cannot be read here", kind.remedy)
            return kind
    names = ", ".join(kind.name for kind in KINDS[:-1])
    raise Unusable(f"is not a picture in {names} or {KINDS[-1].name}", f"{AS_OTHERS}, or remove it")


def readable_suffixes() -> tuple[str, ...]:
    """Endings of files that can be read here."""
    return tuple(suffix for kind in KINDS if kind.is_readable() for suffix in kind.suffixes)


def is_readable_name(path: Path) -> bool:
    """Whether the name is that of a picture that can be read here."""
    suffix = path.suffix.lower()
    return any(suffix in kind.suffixes and kind.is_readable() for kind in KINDS)


def unread_kind(path: Path) -> tuple[str, str] | None:
    """Name and remedy of the kind of a picture that cannot be read here, by its name; None: no such one."""
    suffix = path.suffix.lower()
    for kind in KINDS:
        if suffix in kind.suffixes and not kind.is_readable():
            return kind.name, kind.remedy
    return (OTHERS[suffix], AS_OTHERS) if suffix in OTHERS else None


def _avif_opener() -> Opener:
    from PIL import AvifImagePlugin

    return AvifImagePlugin.AvifImageFile


def _plugin(module: str, name: str) -> Callable[[], Opener]:
    """The class that a plugin for Pillow, which may be missing, has for its format."""

    def opener() -> Opener:
        try:
            found: Opener = getattr(importlib.import_module(module), name)
        except (ImportError, OSError, AttributeError) as error:
            package = module.partition(".")[0]
            reason = f"cannot be read: {package} is installed, but does not load ({error})"
            raise Unusable(reason, f"install it again, or {AS_OTHERS}") from error
        return found

    return opener


def _installed(module: str) -> Callable[[], bool]:
    return lambda: find_spec(module) is not None


def _has_brand(*brands: bytes) -> Callable[[bytes], bool]:
    """Whether the file type box at the start of an ISO base media file names one of ``brands``."""

    def starts(head: bytes) -> bool:
        if head[4:8] != b"ftyp":
            return False
        end = min(int.from_bytes(head[:4], "big"), len(head))
        named = [head[place : place + 4] for place in (8, *range(16, end, 4))]
        return any(brand in brands for brand in named)

    return starts


# AVIF stands before HEIC: both may call themselves ``mif1``, and only the further brands tell them apart.
KINDS = (
    Kind(
        "PNG",
        (".png",),
        lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"),
        lambda: PngImagePlugin.PngImageFile,
    ),
    Kind(
        "JPEG",
        (".jpg", ".jpeg", ".jfif", ".jpe"),
        lambda head: head.startswith(b"\xff\xd8\xff"),
        lambda: JpegImagePlugin.jpeg_factory,
    ),
    Kind(
        "WebP",
        (".webp",),
        lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP",
        lambda: WebPImagePlugin.WebPImageFile,
    ),
    Kind("BMP", (".bmp",), lambda head: head.startswith(b"BM"), lambda: BmpImagePlugin.BmpImageFile),
    Kind(
        "AVIF",
        (".avif", ".avifs"),
        _has_brand(b"avif", b"avis"),
        _avif_opener,
        lambda: "avif" in features.modules and bool(features.check("avif")),
        "--upgrade pillow (12 or newer has AVIF)",
    ),
    Kind(
        "HEIC",
        (".heic", ".heif", ".hif", ".heics", ".heifs"),
        _has_brand(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"),
        _plugin("pillow_heif.as_plugin", "HeifImageFile"),
        _installed("pillow_heif"),
        "pillow-heif (it is in the extra clora[pictures])",
    ),
    Kind(
        "JPEG XL",
        (".jxl",),
        lambda head: head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")),
        _plugin("pillow_jxl.JpegXLImagePlugin", "JXLImageFile"),
        _installed("pillow_jxl"),
        "pillow-jxl-plugin (it is in the extra clora[pictures])",
    ),
)
_RAW = (".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2")
OTHERS = {
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".psd": "PSD",
    ".svg": "SVG",
    ".jp2": "JPEG 2000",
    ".tga": "TGA",
    ".exr": "EXR",
    **dict.fromkeys(_RAW, "camera raw"),
}
"""Pictures that are never read: kinds by their endings."""
