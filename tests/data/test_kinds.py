"""AVIF, HEIC and JPEG XL are read where they can be, like any other picture; where not, that is said."""

import io
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import check_each, empty_folder
from icc_bytes import ADOBE_RGB, rgb_profile
from picture_bytes import box, encoded, kinds_here, photo
from PIL import Image, features

from clora_ext.data import Concept, scan
from clora_ext.data.decode import Decoded, decode
from clora_ext.data.nclx import read_nclx
from clora_ext.data.regular import Unusable
from clora_ext.errors import DatasetError

DOG = Concept("sks", "dog")
PROFILE = rgb_profile(ADOBE_RGB, name="Adobe RGB by hand")
EXACT = {
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    "HEIF": {"quality": -1, "chroma": 444},
    "JXL": {"lossless": True},
}
SUFFIX = {"AVIF": "avif", "HEIF": "heic", "JXL": "jxl"}


def read(data: bytes, *, convert: bool = False) -> Decoded:
    return decode(io.BytesIO(data), convert=convert)


def corners() -> Image.Image:
    values = np.full((32, 48, 3), 250, np.uint8)
    values[:16, :24], values[:16, 24:], values[16:, :24] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    return Image.fromarray(values)


def test_new_kinds_are_read_upright(tmp_path: Path) -> None:
    def check(kind: str) -> None:
        for orientation in range(1, 9):
            folder = empty_folder(tmp_path)
            exif = corners().getexif()
            exif[0x0112] = orientation
            (folder / "a").with_suffix(f".{SUFFIX[kind].upper()}").write_bytes(
                encoded(corners(), kind, exif=exif.tobytes(), **EXACT[kind])
            )
            png = encoded(corners(), "PNG", exif=exif)
            expected = read(png).image
            picture = scan(folder, concept=DOG, resolution=16).pictures[0]
            assert (picture.width, picture.height) == expected.size
            found = read(picture.path.read_bytes()).image
            apart = np.abs(np.asarray(found, np.int16) - np.asarray(expected, np.int16))
            assert apart.max() < 12, orientation

    check_each(kinds_here(), check)


def test_new_kinds_keep_their_colour_profile() -> None:
    def check(kind: str) -> None:
        image = Image.new("RGB", (32, 32), (60, 190, 80))
        found = read(encoded(image, kind, icc_profile=PROFILE, **EXACT[kind]))
        assert found.notes == ("colours converted to sRGB from Adobe RGB by hand",)
        assert found.image.getpixel((5, 5)) == pytest.approx((0, 191, 69), abs=3)

    # The plugin for JPEG XL writes no profile of its own, but that of a JPEG file: see below.
    check_each([kind for kind in kinds_here() if kind != "JXL"] or pytest.skip("nothing to read"), check)


def test_jpeg_packed_into_jpeg_xl_is_the_same_picture(tmp_path: Path) -> None:
    if "JXL" not in kinds_here():
        pytest.skip("pillow-jxl-plugin is not installed")
    exif = corners().getexif()
    exif[0x0112] = 6
    corners().save(tmp_path / "a.jpg", exif=exif, icc_profile=PROFILE, quality=95)
    with Image.open(tmp_path / "a.jpg") as stored:
        stored.save(tmp_path / "a.jxl", lossless_jpeg=True)
    jpeg, packed = (read((tmp_path / name).read_bytes()) for name in ("a.jpg", "a.jxl"))
    assert (
        packed.notes == jpeg.notes == ("rotated by EXIF", "colours converted to sRGB from Adobe RGB by hand")
    )
    assert packed.image.tobytes() == jpeg.image.tobytes()


NUMBERS = {  # primaries and curve of ISO/IEC 23091-2: what is said
    (1, 13): (),
    (2, 2): (),
    (12, 13): ("its colours are those of Display P3, told without a profile: taken as sRGB",),
    (9, 1): ("its colours are those of BT.2020, told without a profile: taken as sRGB",),
}


def with_numbers(kind: str, primaries: int, curve: int, **options: object) -> bytes:
    data = encoded(Image.new("RGB", (32, 32), (60, 190, 80)), kind, **EXACT[kind], **options)
    place = data.index(b"colrnclx") + 8
    return data[:place] + primaries.to_bytes(2, "big") + curve.to_bytes(2, "big") + data[place + 4 :]


def test_colours_that_are_told_by_numbers_are_said() -> None:
    def check(kind: str) -> None:
        for (primaries, curve), notes in NUMBERS.items():
            assert read(with_numbers(kind, primaries, curve)).notes == notes
        for curve in (16, 18):
            with pytest.raises(Unusable, match="is in HDR"):
                read(with_numbers(kind, 9, curve), convert=True)

    check_each([kind for kind in kinds_here() if kind != "JXL"] or pytest.skip("nothing to read"), check)


def test_boxes_of_any_shape_are_read_to_their_end() -> None:
    colours = box(b"colr", b"nclx" + b"\0\x0c\0\x0d\0\6\x80")
    inside = box(
        b"meta", b"\0\0\0\0" + box(b"hdlr", b"") + box(b"iprp", box(b"ipco", box(b"pixi", b"") + colours))
    )
    start = box(b"ftyp", b"avif\0\0\0\0")
    large = b"\0\0\0\1mdat" + (20).to_bytes(8, "big") + b"last"
    for data in (start + inside, start + large + inside, start + b"\0\0\0\0" + inside[4:]):
        assert read_nclx(io.BytesIO(data)) == (12, 13)
    for data in (b"", start, start + inside[:-9], start + b"\0\0\0\1meta" + b"\0" * 8, box(b"meta", b"")):
        assert read_nclx(io.BytesIO(data)) is None


def test_content_counts_and_not_the_name(tmp_path: Path) -> None:
    def check(kind: str) -> None:
        folder = empty_folder(tmp_path)
        (folder / "a.jpg").write_bytes(encoded(photo(), kind))
        assert len(scan(folder, concept=DOG, resolution=16).pictures) == 1

    check_each(kinds_here(), check)


def test_transparency_and_many_frames_are_refused_as_elsewhere() -> None:
    def check(kind: str) -> None:
        clear = encoded(Image.new("RGBA", (32, 32), (0, 0, 0, 0)), kind, **EXACT[kind])
        with pytest.raises(Unusable, match="partly transparent"):
            read(clear)
        assert read(clear, convert=True).image.getpixel((0, 0)) == (255, 255, 255)
        if kind == "JXL":  # whose plugin writes no animation: see the headers below
            return
        red, white = Image.new("RGB", (32, 32), "red"), Image.new("RGB", (32, 32), "white")
        moving = encoded(red, kind, save_all=True, append_images=[white], **EXACT[kind])
        with pytest.raises(Unusable, match=r"an animation of 2 frames|a file of 2 pictures"):
            read(moving)
        assert read(moving, convert=True).image.getpixel((9, 9)) == pytest.approx((255, 0, 0), abs=3)

    check_each(kinds_here(), check)


def test_damaged_files_of_new_kinds_give_a_picture_or_a_refusal() -> None:
    def check(kind: str) -> None:
        good = encoded(photo(32, 32), kind)
        chance = random.Random(0)
        for _ in range(150):
            data = bytearray(good)
            for _ in range(chance.randint(1, 4)):
                place = chance.choice([chance.randrange(len(data)), chance.randrange(120)])
                data[place % len(data)] = chance.randrange(256)
            try:
                found = read(
                    bytes(data[: chance.choice([len(data), chance.randrange(len(data))])]), convert=True
                )
            except Unusable:
                continue
            assert found.image.mode == "RGB"

    check_each(kinds_here(), check)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40
MIF1_AVIF = b"\0\0\0\x1cftypmif1\0\0\0\0avifmif1miaf" + b"\0" * 40
ABSENT = {
    "HEIC": (HEIC, "pillow_heif", "is in HEIC, which cannot be read here", "pip install pillow-heif"),
    "JPEG XL": (
        b"\xff\x0a" + bytes(40),
        "pillow_jxl",
        "is in JPEG XL, which cannot be read here",
        "pip install pillow-jxl-plugin",
    ),
}


def test_missing_plugin_is_named_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(kind: str) -> None:
        data, module, reason, remedy = ABSENT[kind]
        monkeypatch.setitem(sys.modules, module, None)  # Python's own way to say: not installed
        photo().save(tmp_path / "good.png")
        (tmp_path / "a.jpg").write_bytes(data)
        with pytest.raises(DatasetError) as caught:
            scan(tmp_path, concept=DOG, resolution=16)
        assert f"a.jpg {reason}: {remedy}" in str(caught.value)
        assert "clora[pictures]" in str(caught.value)
        suffix = {"HEIC": ".HEIC", "JPEG XL": ".jxl"}[kind]
        (tmp_path / "a.jpg").unlink()
        for name in "bc":
            (tmp_path / name).with_suffix(suffix).write_bytes(data)
        with pytest.raises(
            DatasetError, match=f"most pictures in .* cannot be read here: 2 x {kind} of 3 pict"
        ) as e:
            scan(tmp_path, concept=DOG, resolution=16)
        assert e.value.fix.startswith(remedy)
        assert e.value.fix.endswith("or leave them out with --skip-bad")
        (tmp_path / "good.png").unlink()
        with pytest.raises(
            DatasetError, match=f"holds no pictures that can be read here, but 2 x {kind}"
        ) as e:
            scan(tmp_path, concept=DOG, resolution=16, skip_bad=True)
        assert e.value.fix.startswith(remedy)
        for path in tmp_path.iterdir():
            path.unlink()

    check_each(ABSENT, check)


def test_plugin_that_does_not_load_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "pillow_heif"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('libheif.so: cannot open')")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "pillow_heif"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(Unusable, match=r"pillow_heif is installed, but does not load .libheif\.so"):
        read(HEIC)


def test_avif_is_told_from_heic_by_its_further_brands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda feature: False)
    with pytest.raises(Unusable, match=r"is in AVIF, which cannot be read here") as caught:
        read(MIF1_AVIF)
    assert "pip install --upgrade pillow" in caught.value.fix
