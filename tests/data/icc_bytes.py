"""Colour profiles as bytes, put together by hand after ICC.1: the white point is D50, the version 2.4."""

import struct

# Primaries adapted to D50, as (X, Y, Z) of red, green and blue.
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
SRGB_CURVE = [
    (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)
    for value in (number / 1023 for number in range(1024))
]


def rgb_profile(
    primaries: tuple[tuple[float, ...], ...], curve: float | list[float] = 2.19921875, name: str = "by hand"
) -> bytes:
    tags = {
        signature: b"XYZ \0\0\0\0" + b"".join(map(fixed, values))
        for signature, values in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)
    }
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), tone_curve(curve))
    return profile(b"mntr", b"RGB ", b"XYZ ", {**tags, **curves}, name)


def gray_profile(curve: float | list[float], name: str = "gray by hand") -> bytes:
    return profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": tone_curve(curve)}, name)


def ink_profile(paper_and_inks: dict[tuple[int, ...], tuple[int, int, int]]) -> bytes:
    """CMYK by an 8-bit table of two levels an ink: (c, m, y, k) of 0 or 1 to (L, a, b) of 0 .. 255."""
    every = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    straight = bytes(range(256))
    unit = (1, 0, 0, 0, 1, 0, 0, 0, 1)
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + b"".join(map(fixed, unit)) + straight * 4
    table += b"".join(bytes(paper_and_inks.get(inks, (0, 128, 128))) for inks in every) + straight * 3
    return profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table}, "ink by hand")


def profile(kind: bytes, colours: bytes, between: bytes, tags: dict[bytes, bytes], name: str) -> bytes:
    text = name.encode() + b"\0"
    every = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + b"\0" * 78,
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": b"XYZ \0\0\0\0" + b"".join(map(fixed, (0.9642, 1, 0.8249))),
        **tags,
    }
    directory, body = struct.pack(">I", len(every)), b""
    start = 128 + 4 + 12 * len(every)
    for signature, value in every.items():
        directory += signature + struct.pack(">II", start + len(body), len(value))
        body += value + b"\0" * (-len(value) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"none", 0x02400000, kind, colours, between)
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28
    head += b"".join(map(fixed, (0.9642, 1, 0.8249)))
    return head + b"\0" * (128 - len(head)) + directory + body


def tone_curve(curve: float | list[float]) -> bytes:
    """A gamma, or a table of values from 0 to 1."""
    if isinstance(curve, float):
        return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(curve * 256))
    return b"curv\0\0\0\0" + struct.pack(f">I{len(curve)}H", len(curve), *(round(v * 65535) for v in curve))


def fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))
