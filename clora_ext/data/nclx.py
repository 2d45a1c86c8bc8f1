"""Colours that an AVIF or HEIC file tells by numbers, not by a profile: the ``nclx`` of its ``colr`` box."""

from collections.abc import Iterator
from typing import BinaryIO

__all__ = ["is_high_dynamic_range", "read_nclx", "wide_gamut_name"]

# Where the properties of pictures stand, and bytes before the boxes inside: ISO/IEC 14496-12, 23008-12.
PATH = ((b"meta", 4), (b"iprp", 0), (b"ipco", 0))
MOST_BOXES = 1000
LONGEST = 1 << 20  # bytes of properties; real ones take hundreds
WIDE = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}  # ISO/IEC 23091-2, ColourPrimaries
HIGH_DYNAMIC_RANGE = frozenset({16, 18})  # TransferCharacteristics: PQ and HLG


def read_nclx(file: BinaryIO) -> tuple[int, int] | None:
    """The numbers of primaries and transfer curve, the first that are told; None if none are.

    ``file`` stands at its start afterwards.
    """
    start, end = 0, file.seek(0, 2)
    found = None
    for kind, skipped in PATH:
        inside = next((box for box in _boxes(file, start, end) if box[0] == kind), None)
        if inside is None:
            break
        start, end = inside[1] + skipped, inside[2]
    else:
        for kind, place, _ in _boxes(file, start, min(end, start + LONGEST)):
            file.seek(place)
            content = file.read(8)
            if kind == b"colr" and content[:4] == b"nclx" and found is None:
                found = int.from_bytes(content[4:6], "big"), int.from_bytes(content[6:8], "big")
    file.seek(0)
    return found


def is_high_dynamic_range(nclx: tuple[int, int] | None) -> bool:
    """Whether the curve is one of HDR, whose values are no shades of a screen's white."""
    return nclx is not None and nclx[1] in HIGH_DYNAMIC_RANGE


def wide_gamut_name(nclx: tuple[int, int] | None) -> str:
    """What primaries other than sRGB's are called; empty for sRGB's and for those that are not told."""
    return WIDE.get(nclx[0], "") if nclx is not None else ""


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, beginning and end of the content of each box between two places in the file."""
    for _ in range(MOST_BOXES):
        file.seek(start)
        head = file.read(16)
        length, skipped = int.from_bytes(head[:4], "big"), 8
        if length == 1:
            length, skipped = int.from_bytes(head[8:16], "big"), 16
        if length == 0:
            length = end - start
        if start + length > end or length < skipped:
            return
        yield head[4:8], start + skipped, start + length
        start += length
