"""Pictures as bytes: real ones, and PNG files put together by hand."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, features


def photo(width: int = 48, height: int = 32) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(noise)


def png(width: int, height: int, kind: int, depth: int, rows: bytes, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def sixteen_bit(kind: int, values: np.ndarray) -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(values.shape[1], values.shape[0], kind, 16, zlib.compress(rows))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def kinds_here() -> list[str]:
    """The kinds that can be written here, to be read again; AVIF is Pillow's own, the others are plugins'."""
    found = ["AVIF"] if features.check("avif") else []
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
        found.append("HEIF")
    except ImportError:
        pass
    try:
        import pillow_jxl  # noqa: F401 - it registers itself

        found.append("JXL")
    except ImportError:
        pass
    return found or pytest.skip("neither Pillow's AVIF nor a plugin is installed")


def box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content
