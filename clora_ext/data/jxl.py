"""The header of a JPEG XL picture, read before its decoder may reserve memory for what it announces."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["JxlHeader", "read_jxl_header"]

CODESTREAM = b"\xff\x0a"
ENOUGH = 64  # bytes: the header's fields that are read here take 25 at the most
MOST_BOXES = 1000
RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
SIDE = ((1, 9), (1, 13), (1, 18), (1, 30))
PREVIEW_EIGHTHS = ((16, 0), (32, 0), (1, 5), (33, 9))
PREVIEW_SIDE = ((1, 6), (65, 8), (321, 10), (1345, 12))


@dataclass(frozen=True, slots=True)
class JxlHeader:
    """What ISO/IEC 18181-1 calls SizeHeader and the beginning of ImageMetadata.

    Attributes:
        width: pixels, as stored, before the orientation is applied.
        height: pixels, likewise.
        orientation: 1 .. 8, as in EXIF; decoders apply it themselves.
        animated: whether there can be several frames.
    """

    width: int
    height: int
    orientation: int
    animated: bool


def read_jxl_header(file: BinaryIO) -> JxlHeader:
    """The header of the picture in ``file``, which stands at its start and does so again afterwards.

    Raises:
        ValueError: it is cut short, or no JPEG XL.
    """
    start = _codestream(file)
    file.seek(0)
    if not start.startswith(CODESTREAM):
        message = "no JPEG XL codestream"
        raise ValueError(message)
    bits = _Bits(start[len(CODESTREAM) :])
    width, height = _size(bits)
    orientation, animated = 1, False
    if not bits.take(1) and bits.take(1):  # not all_default, extra_fields
        orientation = 1 + bits.take(3)
        if bits.take(1):  # have_intrinsic_size
            _size(bits)
        if bits.take(1):  # have_preview
            _preview(bits)
        animated = bool(bits.take(1))
    return JxlHeader(width, height, orientation, animated)


def _codestream(file: BinaryIO) -> bytes:
    """The first bytes of the codestream: the file's own, or those in the boxes of a container."""
    start = file.read(len(CODESTREAM))
    file.seek(0)
    if start == CODESTREAM:
        return file.read(ENOUGH)
    found = b""
    for part in _parts(file):
        found += part
        if len(found) >= ENOUGH:
            break
    return found


def _parts(file: BinaryIO) -> Iterator[bytes]:
    """The beginning of each box of a container that holds the codestream or a part of it."""
    place = 0
    for _ in range(MOST_BOXES):
        file.seek(place)
        head = file.read(16)
        length, kind, skipped = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1:
            length, skipped = int.from_bytes(head[8:16], "big"), 16
        rest = ENOUGH if length == 0 else length - skipped  # 0: up to the end of the file
        if not kind or rest < 0:
            return
        if kind in {b"jxlc", b"jxlp"}:
            counter = 4 if kind == b"jxlp" else 0
            file.seek(place + skipped + counter)
            yield file.read(max(0, min(ENOUGH, rest - counter)))
        if length == 0:
            return
        place += length


class _Bits:
    """Numbers of a few bits, the lowest bit first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """The next ``count`` bits as a number."""
        if count > self._left:
            message = "truncated JPEG XL header"
            raise ValueError(message)
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        return value

    def choose(self, choices: tuple[tuple[int, int], ...]) -> int:
        """A number that two bits say how to read: (offset, further bits) for each of their four values."""
        offset, count = choices[self.take(2)]
        return offset + self.take(count)


def _size(bits: _Bits) -> tuple[int, int]:
    """(width, height) of a SizeHeader."""
    small = bits.take(1)

    def side() -> int:
        return 8 * (1 + bits.take(5)) if small else bits.choose(SIDE)

    height = side()
    ratio = bits.take(3)
    return (_wide(height, ratio) if ratio else side()), height


def _preview(bits: _Bits) -> None:
    """Read over a PreviewHeader."""
    choices = PREVIEW_EIGHTHS if bits.take(1) else PREVIEW_SIDE
    bits.choose(choices)
    if not bits.take(3):
        bits.choose(choices)


def _wide(height: int, ratio: int) -> int:
    """The width of a picture whose proportions are one of the seven that have a number."""
    across, down = RATIOS[ratio]
    return height * across // down
