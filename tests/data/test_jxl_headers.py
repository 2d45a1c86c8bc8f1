"""Headers of JPEG XL pictures, read before anything is decoded: by hand after ISO/IEC 18181-1."""

import io

import pytest
from cases import check_each
from picture_bytes import box, kinds_here
from PIL import Image

from clora_ext.data import Concept
from clora_ext.data.decode import Decoded, decode
from clora_ext.data.jxl import JxlHeader, read_jxl_header
from clora_ext.data.regular import Unusable

DOG = Concept("sks", "dog")


def read(data: bytes, *, convert: bool = False) -> Decoded:
    return decode(io.BytesIO(data), convert=convert)


# Headers by hand after ISO/IEC 18181-1, (value, bits) in their order, the lowest bit first.
SMALL = [(1, 1), (3, 5), (0, 3), (5, 5)]  # small: 32 high, no ratio, 48 wide
LARGE = [(0, 1), (3, 2), (19_999, 30), (1, 3)]  # 20,000 high, as wide as high
PLAIN = [(1, 1)]
HEADERS = {
    "small": ([*SMALL, *PLAIN], JxlHeader(48, 32, 1, animated=False)),
    "square": ([*LARGE, *PLAIN], JxlHeader(20_000, 20_000, 1, animated=False)),
    "16:9": ([(0, 1), (1, 2), (1079, 13), (5, 3), *PLAIN], JxlHeader(1920, 1080, 1, animated=False)),
    "turned": ([*SMALL, (0, 1), (1, 1), (5, 3), (0, 3)], JxlHeader(48, 32, 6, animated=False)),
    "animated": ([*SMALL, (0, 1), (1, 1), (0, 3), (0, 2), (1, 1)], JxlHeader(48, 32, 1, animated=True)),
    "animated with an intrinsic size": (
        [*SMALL, (0, 1), (1, 1), (0, 3), (1, 1), *LARGE, (0, 1), (1, 1)],
        JxlHeader(48, 32, 1, animated=True),
    ),
    "animated with a preview": (
        [
            *SMALL,
            (0, 1),
            (1, 1),
            (0, 3),
            (0, 1),
            (1, 1),
            (0, 1),
            (1, 2),
            (9, 8),
            (0, 3),
            (0, 2),
            (3, 6),
            (1, 1),
        ],
        JxlHeader(48, 32, 1, animated=True),
    ),
    "no extra fields": ([*SMALL, (0, 1), (0, 1)], JxlHeader(48, 32, 1, animated=False)),
}


def codestream(fields: list[tuple[int, int]]) -> bytes:
    value = place = 0
    for number, bits in fields:
        value |= number << place
        place += bits
    return b"\xff\x0a" + value.to_bytes(place // 8 + 1, "little")


SIGNATURE = box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl \0\0\0\0jxl ")


def test_jpeg_xl_headers_are_read_in_every_wrapping() -> None:
    def check(case: str) -> None:
        fields, expected = HEADERS[case]
        stream = codestream(fields)
        parts = box(b"jxlp", b"\0\0\0\0" + stream[:4]) + box(b"jxlp", b"\x80\0\0\1" + stream[4:])
        for data in (
            stream,
            SIGNATURE + box(b"Exif", b"\0" * 9) + box(b"jxlc", stream),
            SIGNATURE + b"\0\0\0\0jxlc" + stream,
            SIGNATURE + b"\0\0\0\1jxlc" + (16 + len(stream)).to_bytes(8, "big") + stream,
            SIGNATURE + parts,
        ):
            file = io.BytesIO(data)
            assert read_jxl_header(file) == expected
            assert file.tell() == 0

    check_each(HEADERS, check)
    for data in (b"", b"\xff\x0a", SIGNATURE, SIGNATURE + b"\0\0\0\4jxlc", b"\xff\x0a\0"):
        with pytest.raises(ValueError, match="JPEG XL"):
            read_jxl_header(io.BytesIO(data))


# Four corners, red, green, blue and white, 48 x 32 pixels stored with orientation 6: what libjxl's own
# cjxl makes of a PNG file.
TURNED = bytes.fromhex(
    "ff0a072d10505c1208020100a0004b188b1500d499f931c6f879812000965815"
    "000688fc455a09fa41f98e3e4315022f04f2b386b906"
)


def test_jpeg_xl_is_turned_once_however_often_it_says_so() -> None:
    if "JXL" not in kinds_here():
        pytest.skip("pillow-jxl-plugin is not installed")
    exif = Image.new("RGB", (1, 1)).getexif()
    exif[0x0112] = 6
    twice = (
        SIGNATURE + box(b"Exif", b"\0" * 4 + exif.tobytes().removeprefix(b"Exif\0\0")) + box(b"jxlc", TURNED)
    )
    with Image.open(io.BytesIO(twice)) as stored:
        assert stored.getexif()[0x0112] == 6
    for data in (TURNED, twice):
        found = read(data)
        assert (found.image.size, found.notes) == ((32, 48), ())
        assert found.image.getpixel((2, 2)) == (0, 0, 255)
        assert found.image.getpixel((30, 2)) == (255, 0, 0)


def test_jpeg_xl_that_is_huge_or_moves_is_refused_before_it_is_decoded() -> None:
    if "JXL" not in kinds_here():
        pytest.skip("pillow-jxl-plugin is not installed")
    with pytest.raises(Unusable, match=r"is too large .20000 x 20000 px"):
        read(codestream(HEADERS["square"][0]))
    for convert in (False, True):  # the plugin would give the last frame
        with pytest.raises(Unusable, match="is an animation"):
            read(codestream(HEADERS["animated"][0]), convert=convert)
