"""Colours are those that a viewer shows: what a picture's profile says, in sRGB."""

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from cases import check_each, empty_folder
from icc_bytes import ADOBE_RGB, DISPLAY_P3, SRGB, SRGB_CURVE, gray_profile, ink_profile, rgb_profile
from picture_bytes import chunk, encoded, photo, sixteen_bit
from PIL import Image, ImageCms, features

from clora_ext.data import Concept, covering, load_pixels, scan
from clora_ext.data.decode import Decoded, decode

ADOBE = rgb_profile(ADOBE_RGB, name="Adobe RGB by hand")
P3 = rgb_profile(DISPLAY_P3, SRGB_CURVE, name="P3 by hand")
LINEAR_GRAY = gray_profile(1.0)
PAPER = (250, 128, 128)  # nearly white
INK = ink_profile({(0, 0, 0, 0): PAPER, (1, 0, 0, 0): (140, 90, 80), (0, 0, 0, 1): (40, 128, 128)})
GREEN = (60, 190, 80)


def decoded(image: Image.Image, kind: str, **options: object) -> Decoded:
    return decode(io.BytesIO(encoded(image, kind, **options)), convert=True)


def as_a_viewer_shows(image: Image.Image, profile: bytes) -> np.ndarray:
    """The oracle: Pillow's own way from profile to profile."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    seen = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert seen is not None
    return np.asarray(seen)


def with_alpha(image: Image.Image, alpha: int = 255) -> Image.Image:
    both = image.copy()
    both.putalpha(alpha)
    return both


RGB = photo(32, 32)
GRAY = RGB.convert("L")
PALETTE = RGB.quantize(16)
KEYED = encoded(RGB, "PNG", icc_profile=P3, transparency=(0, 0, 0))  # a colour that is nowhere in it
CASES = {
    "RGB, Adobe RGB": (RGB, RGB, ADOBE),
    "RGB, Display P3": (RGB, RGB, P3),
    "RGBA": (with_alpha(RGB), RGB, P3),
    "palette": (PALETTE, PALETTE.convert("RGB"), P3),
    "gray": (GRAY, GRAY, LINEAR_GRAY),
    "gray and alpha": (with_alpha(GRAY), GRAY, LINEAR_GRAY),
    "black and white": (GRAY.convert("1"), GRAY.convert("1").convert("L"), LINEAR_GRAY),
}


def test_every_mode_is_converted_by_its_profile_with_a_note() -> None:
    def check(case: str) -> None:
        stored, colours, profile = CASES[case]
        found = decoded(stored, "PNG", icc_profile=profile)
        assert np.array_equal(np.asarray(found.image), as_a_viewer_shows(colours, profile))
        assert any(note.startswith("colours converted to sRGB from ") for note in found.notes)

    check_each(CASES, check)
    keyed = decode(io.BytesIO(KEYED), convert=False)
    assert np.array_equal(np.asarray(keyed.image), as_a_viewer_shows(RGB, P3))


def test_every_format_keeps_its_profile() -> None:
    def check(kind: str) -> None:
        options = {"JPEG": {"quality": 95}, "PNG": {}}.get(kind, {"lossless": True, "quality": 100})
        if kind == "AVIF":
            if not features.check("avif"):
                return
            options = {"quality": 100, "subsampling": "4:4:4"}
        data = encoded(RGB, kind, icc_profile=ADOBE, **options)
        with Image.open(io.BytesIO(data)) as stored:
            expected = as_a_viewer_shows(stored.convert("RGB"), ADOBE)
        found = decode(io.BytesIO(data), convert=False)
        assert np.array_equal(np.asarray(found.image), expected)
        assert found.notes == ("colours converted to sRGB from Adobe RGB by hand",)

    check_each(["PNG", "JPEG", "WEBP", "AVIF"], check)


def test_adobe_green_is_worked_out_by_hand() -> None:
    # To the power 2.19921875 (60, 190, 80) is (0.0415, 0.5236, 0.0781) of light. Adobe RGB and sRGB share red
    # and blue; its green is greener. Red becomes 1.398 * 0.0415 - 0.398 * 0.5236 < 0, which sRGB does not
    # have, so 0; green stays 0.5236, which is 191 on sRGB's curve; blue 1.043 * 0.0781 - 0.043 * 0.5236.
    light = [(value / 255) ** 2.19921875 for value in GREEN]
    red = 1.39836 * light[0] - 0.39836 * light[1]
    blue = -0.04293 * light[1] + 1.04293 * light[2]

    def level(value: float) -> int:
        value = min(max(value, 0), 1)
        return round(255 * (12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055))

    expected = (level(red), level(light[1]), level(blue))
    assert expected == (0, 191, 69)
    found = decoded(Image.new("RGB", (32, 32), GREEN), "PNG", icc_profile=ADOBE)
    assert found.image.getpixel((5, 5)) == pytest.approx(expected, abs=1)


def test_transparency_is_put_on_white_after_the_colours_are_converted() -> None:
    half = with_alpha(Image.new("RGB", (32, 32), GREEN), 128)
    found = decoded(half, "PNG", icc_profile=ADOBE)
    seen = as_a_viewer_shows(Image.new("RGB", (1, 1), GREEN), ADOBE)[0, 0]
    on_white = [(int(value) * 128 + 255 * 127) / 255 for value in seen]
    assert found.image.getpixel((0, 0)) == pytest.approx(on_white, abs=1)
    assert found.notes[0] == "transparency put on white"
    assert found.notes[1].startswith("colours converted")


def test_shadows_of_16_bit_gray_keep_all_bits() -> None:
    ramp = np.arange(1024).reshape(32, 32)  # of 65535: less than four levels of 255
    with Image.open(io.BytesIO(sixteen_bit(0, ramp))) as deep:
        stored = encoded(deep, "PNG", icc_profile=LINEAR_GRAY)
    found = decode(io.BytesIO(stored), convert=True)
    brightest = 1023 / 65535
    by_hand = 255 * (1.055 * brightest ** (1 / 2.4) - 0.055)
    assert found.image.getpixel((31, 31))[0] == pytest.approx(by_hand, abs=1)
    assert len(np.unique(np.asarray(found.image))) > 30
    assert found.notes == ("16 bits scaled to 8", "colours converted to sRGB from gray by hand")


def test_sixteen_bits_a_channel_are_converted_after_scaling() -> None:
    values = np.broadcast_to(np.array(GREEN) * 257, (32, 32, 3))
    data = sixteen_bit(2, values)
    body = b"hand\0\0" + zlib.compress(ADOBE)
    found = decode(io.BytesIO(data[:33] + chunk(b"iCCP", body) + data[33:]), convert=True)
    expected = as_a_viewer_shows(Image.new("RGB", (1, 1), GREEN), ADOBE)[0, 0]
    assert np.array_equal(np.asarray(found.image)[0, 0], expected)


UNCHANGED = {
    "Pillow's": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    "a table": rgb_profile(SRGB, SRGB_CURVE, name="IEC61966-2.1"),
    "by another name": rgb_profile(SRGB, SRGB_CURVE, name="Adobe RGB (1998)"),
}


def test_srgb_under_any_name_changes_nothing_and_gives_no_note() -> None:
    def check(case: str) -> None:
        for image in (RGB, GRAY, PALETTE, with_alpha(RGB), with_alpha(GRAY)):
            plain = decoded(image, "PNG")
            found = decoded(image, "PNG", icc_profile=UNCHANGED[case])
            assert found.image.tobytes() == plain.image.tobytes()
            assert found.notes == plain.notes

    check_each(UNCHANGED, check)
    gray = decoded(GRAY, "PNG", icc_profile=gray_profile(SRGB_CURVE))
    assert (gray.image.tobytes(), gray.notes) == (
        decoded(GRAY, "PNG").image.tobytes(),
        decoded(GRAY, "PNG").notes,
    )


WRONG = {
    "RGB with a gray profile": (RGB, LINEAR_GRAY, "is for gray colours, not RGB"),
    "gray with an RGB profile": (GRAY, ADOBE, "is for RGB colours, not gray"),
    "gray and alpha with an RGB profile": (with_alpha(GRAY), ADOBE, "is for RGB colours, not gray"),
    "RGB with a CMYK profile": (RGB, INK, "is for CMYK colours, not RGB"),
    "RGBA with a CMYK profile": (with_alpha(RGB), INK, "is for CMYK colours, not RGB"),
    "not a profile": (RGB, b"not a profile", "cannot be read"),
    "cut short": (RGB, ADOBE[:200], "cannot be read"),
    "without a curve": (RGB, ADOBE.replace(b"gTRC", b"none"), "cannot be used"),
    "only a header": (RGB, ADOBE[:128] + b"\0" * 4, "cannot be"),
}


def test_profile_that_cannot_be_used_is_said_and_costs_no_picture() -> None:
    def check(case: str) -> None:
        image, profile, reason = WRONG[case]
        found = decoded(image, "PNG", icc_profile=profile)
        assert found.image.tobytes() == decoded(image, "PNG").image.tobytes()
        said = [note for note in found.notes if "profile" in note]
        assert said
        assert said[0].startswith("its colour profile ")
        assert reason in said[0]
        assert said[0].endswith(": colours taken as sRGB")

    check_each(WRONG, check)


def test_cmyk_goes_through_its_profile() -> None:
    ink = Image.new("CMYK", (32, 32), (255, 0, 0, 0))
    data = encoded(ink, "JPEG", icc_profile=INK, quality=100)
    with Image.open(io.BytesIO(data)) as stored:
        expected = as_a_viewer_shows(stored, INK)
    found = decode(io.BytesIO(data), convert=True)
    assert np.array_equal(np.asarray(found.image), expected)
    assert found.notes == ("CMYK converted to RGB by its colour profile",)
    assert tuple(expected[0, 0]) != ink.convert("RGB").getpixel((0, 0))


def test_cmyk_without_a_usable_profile_is_converted_plainly_and_said() -> None:
    ink = Image.new("CMYK", (32, 32), (255, 0, 0, 0))
    plain = decoded(ink, "JPEG")
    assert plain.notes == ("CMYK converted to RGB without a colour profile",)
    for profile, reason in ((ADOBE, "is for RGB colours, not CMYK"), (b"no", "cannot be read")):
        found = decoded(ink, "JPEG", icc_profile=profile)
        assert found.notes == (f"CMYK converted to RGB; its colour profile {reason}",)
        assert found.image.tobytes() == plain.image.tobytes()


def test_name_of_a_profile_is_harmless() -> None:
    hostile = rgb_profile(ADOBE_RGB, name="\x1b[2J" + "long " * 40)
    found = decoded(RGB, "PNG", icc_profile=hostile)
    assert found.notes[0].isprintable()
    assert len(found.notes[0]) < 90
    assert decoded(RGB, "PNG", icc_profile=rgb_profile(ADOBE_RGB, name="")).notes == (
        "colours converted to sRGB from those of its profile",
    )


def test_damaged_profiles_never_cost_the_run() -> None:
    chance = np.random.default_rng(0)
    for profile in (ADOBE, P3, LINEAR_GRAY, INK) * 40:
        bad = bytearray(profile)
        for place in chance.integers(0, len(bad), 4):
            bad[place] = chance.integers(256)
        found = decoded(RGB, "JPEG", icc_profile=bytes(bad[: chance.choice([len(bad), len(bad) // 2])]))
        assert found.image.size == (32, 32)


def test_what_is_trained_on_is_what_is_seen(tmp_path: Path) -> None:
    folder = empty_folder(tmp_path)
    Image.new("RGB", (32, 32), GREEN).save(folder / "a.png", icc_profile=ADOBE)
    picture = scan(folder, concept=Concept("sks", "dog"), resolution=32).pictures[0]
    assert picture.notes == ("colours converted to sRGB from Adobe RGB by hand",)
    pixels = load_pixels(picture, covering(picture.width, picture.height, 32, 32), convert=False)
    assert ((pixels[:, 0, 0] + 1) * 127.5).tolist() == pytest.approx([0, 191, 69], abs=1)
