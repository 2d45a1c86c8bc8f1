"""What a file is that is no safetensors file, by its first bytes. Needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FIRST_BYTES", "Foreign", "recognise_foreign"]

FIRST_BYTES = 4096
"""How many bytes of a file :func:`recognise_foreign` wants to see."""

_NAME = "name a .safetensors file"
_SAFE = "use the model's .safetensors version"
_PICKLE = "a pickle checkpoint; opening one can run any program hidden in it"
_PICKLE_ENDINGS = frozenset({".ckpt", ".pt", ".pth", ".bin", ".pkl"})
_PICKLE_PROTOCOLS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_ZIP = b"PK\x03\x04"
_ZIP_NAME = 30  # where the name of a zip archive's first file stands
_UNPACK = "unpack it and name the .safetensors file in it"
_LFS = b"version https://git-lfs.github.com"

# First bytes, what they mean, and what to do instead.
_KINDS: Sequence[tuple[bytes, str, str]] = (
    (b"GGUF", "a GGUF file, whose weights are quantised", "use the model's fp16 .safetensors version"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture", _NAME),
    (b"\xff\xd8\xff", "a JPEG picture", _NAME),
    (b"GIF8", "a GIF picture", _NAME),
    (b"BM", "a BMP picture", _NAME),
    (b"II*\0", "a TIFF picture", _NAME),
    (b"MM\0*", "a TIFF picture", _NAME),
    (b"\xff\x0a", "a JPEG XL picture", _NAME),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture", _NAME),
    (b"%PDF", "a PDF document", _NAME),
    (b"\x89HDF\r\n", "an HDF5 file", _SAFE),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"\xfd7zXZ", "an xz archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", _UNPACK),
    (b"BZh", "a bzip2 archive", _UNPACK),
    (b"\x7fELF", "a program", _NAME),
    (b"MZ", "a program", _NAME),
    (_LFS, "a Git LFS pointer, not the file itself", "fetch the file itself: git lfs pull"),
)  # fmt: skip
_IN_RIFF = {b"WEBP": "a WebP picture", b"WAVE": "a sound file", b"AVI ": "a film"}
_HEIC = "a HEIC picture"
_IN_FTYP = {b"heic": _HEIC, b"heix": _HEIC, b"mif1": _HEIC, b"avif": "an AVIF picture"}


@dataclass(frozen=True, slots=True)
class Foreign:
    """A file of another kind.

    Attributes:
        what: reads on from "is".
        fix: what to do instead.
    """

    what: str
    fix: str


def recognise_foreign(path: Path, start: bytes) -> Foreign | None:
    """What a file is that does not begin as safetensors does; None: that cannot be told.

    Args:
        path: of the file; only its name is looked at.
        start: its first bytes, :data:`FIRST_BYTES` or all of them.

    >>> recognise_foreign(Path("README.md"), b"# clora").what
    'a text file'
    """
    if not start:
        return Foreign("empty", "download or export the file again")
    if start.startswith(_ZIP):
        return _zip(path, start)
    if start.startswith(_PICKLE_PROTOCOLS):
        return Foreign(_PICKLE, _SAFE)
    for first, what, fix in _KINDS:
        if start.startswith(first):
            return Foreign(what, fix)
    inner = _IN_RIFF.get(start[8:12]) if start.startswith(b"RIFF") else None
    if start[4:8] == b"ftyp":
        inner = _IN_FTYP.get(start[8:12], "a film")
    return Foreign(inner, _NAME) if inner else _text(start)


def _zip(path: Path, start: bytes) -> Foreign:
    """torch.save writes a zip archive with a pickle in it; other archives are just that."""
    length = int.from_bytes(start[26:28], "little")
    first = start[_ZIP_NAME : _ZIP_NAME + length]
    is_torch = first.endswith((b"data.pkl", b".format_version", b"byteorder"))
    if is_torch or path.suffix.lower() in _PICKLE_ENDINGS:
        return Foreign(_PICKLE, _SAFE)
    return Foreign("a zip archive", _UNPACK)


def _text(start: bytes) -> Foreign | None:
    """Text, or the page that a server gave in the place of a file."""
    # The last character may be cut in the middle; UTF-8 takes four bytes for one at the most.
    text = start.decode("utf-8", errors="ignore")
    is_whole = len(text.encode()) >= len(start) - 3
    if not is_whole or any(ord(one) < 32 and one not in "\t\n\r\f" for one in text):  # noqa: PLR2004 - a blank
        return None
    if text.lstrip("\ufeff \t\r\n").lower().startswith(("<!doctype html", "<html")):
        fix = "download the file again; the server has sent a page, perhaps to log in, in its place"
        return Foreign("a web page", fix)
    return Foreign("a text file", _NAME)
