"""Every kind of file that is no usable picture is named, with the reason and the remedy."""

import errno
import io
import os
import random
import threading
from pathlib import Path

import numpy as np
import pytest
from cases import check_each
from picture_bytes import encoded, photo, png, sixteen_bit
from PIL import Image

from clora_ext.data import Concept, covering, load_pixels, scan
from clora_ext.data.decode import decode
from clora_ext.data.regular import Unusable, open_regular
from clora_ext.errors import DatasetError

DOG = Concept("sks", "dog")


def refusal(folder: Path, *, convert: bool = False) -> str:
    with pytest.raises(DatasetError) as caught:
        scan(folder, concept=DOG, resolution=32, convert=convert)
    return str(caught.value)


BROKEN = {
    "zero bytes": (b"", "is empty (0 bytes)"),
    "text": (b"hello, I am a picture", "is not a picture in PNG, JPEG, WebP, BMP, AVIF, HEIC or JPEG XL"),
    "another format": (
        encoded(photo(), "GIF"),
        "is not a picture in PNG, JPEG, WebP, BMP, AVIF, HEIC or JPEG XL",
    ),
    "truncated PNG": (encoded(photo(), "PNG")[:-400], "cut short"),
    "truncated JPEG": (encoded(photo(), "JPEG")[:-400], "cut short"),
    "truncated WebP": (encoded(photo(), "WEBP")[:-400], "damaged"),
    "truncated BMP": (encoded(photo(), "BMP")[:-400], "cut short"),
    "only a signature": (b"\xff\xd8\xff", "cannot be used"),
    "WebP signature": (b"RIFF\0\0\0\0WEBPVP8 ", "cannot be decoded"),
    "one pixel": (encoded(photo(1, 1), "PNG"), "is too small (1 x 1 px)"),
    "15 pixels": (encoded(photo(15, 40), "PNG"), "is too small (15 x 40 px)"),
    "20,000 px long": (encoded(Image.new("1", (20_000, 16)), "PNG"), "is too large (20000 x 16 px)"),
    "bomb": (png(20_000, 20_000, 2, 8, b""), "is too large (20000 x 20000 px)"),
    "101 megapixels": (png(10_100, 10_000, 2, 8, b""), "is too large (10100 x 10000 px)"),
    "huge WebP": (b"RIFF\xff\0\0\0WEBPVP8X\n\0\0\0" + b"\0" * 4 + b"\xff" * 6 + b"\0" * 8, "is too large"),
}


def test_unusable_file_is_named_with_reason_and_remedy(tmp_path: Path) -> None:
    photo().save(tmp_path / "good.png")

    def check(case: str) -> None:
        data, reason = BROKEN[case]
        (tmp_path / "bad.png").write_bytes(data)
        message = refusal(tmp_path)
        assert message.startswith(f"1 of 2 pictures in {tmp_path} cannot be used:\n  bad.png ")
        assert reason in message
        assert "--skip-bad" in message
        left = scan(tmp_path, concept=DOG, resolution=32, skip_bad=True)
        assert [picture.path.name for picture in left.pictures] == ["good.png"]
        assert [bad.path.name for bad in left.rejected] == ["bad.png"]

    check_each(BROKEN, check)


def test_wrong_checksum_in_a_png_that_decodes_is_found(tmp_path: Path) -> None:
    data = bytearray(encoded(photo(), "PNG"))
    data[-16] ^= 1  # of the picture data's checksum; the last 12 bytes are the end mark
    (tmp_path / "a.png").write_bytes(data)
    assert "a.png is damaged" in refusal(tmp_path)


PALETTE_WITH_HOLE = photo().quantize(8)
PALETTE_WITH_HOLE.info["transparency"] = PALETTE_WITH_HOLE.getpixel((0, 0))
CHANGES_WHAT_IS_SEEN = {
    "RGBA": (
        encoded(Image.new("RGBA", (32, 32), (0, 0, 0, 0)), "PNG"),
        "partly transparent",
        (255, 255, 255),
    ),
    "LA": (encoded(Image.new("LA", (32, 32), (0, 0)), "PNG"), "partly transparent", (255, 255, 255)),
    "palette": (encoded(PALETTE_WITH_HOLE, "PNG"), "partly transparent", (255, 255, 255)),
    "CMYK": (encoded(Image.new("CMYK", (32, 32), (0, 0, 0, 255)), "JPEG"), "CMYK", (0, 0, 0)),
    "16-bit gray": (sixteen_bit(0, np.full((32, 32), 0x4040)), "16 bits", (64, 64, 64)),
    "16-bit RGB": (sixteen_bit(2, np.full((32, 32, 3), 0x4040)), "16 bits", (64, 64, 64)),
    "16-bit LA": (sixteen_bit(4, np.full((32, 32, 2), 0xFFFF)), "16 bits", (255, 255, 255)),
    "animated PNG": (
        encoded(Image.new("RGB", (32, 32), "red"), "PNG", save_all=True, append_images=[photo(32, 32)]),
        "an animation of 2 frames",
        (255, 0, 0),
    ),
    "animated WebP": (
        encoded(
            Image.new("RGB", (32, 32), "white"),
            "WEBP",
            save_all=True,
            lossless=True,
            append_images=[photo(32, 32)],
        ),
        "an animation of 2 frames",
        (255, 255, 255),
    ),
}


def test_visible_conversion_is_made_only_when_asked_for(tmp_path: Path) -> None:
    def check(case: str) -> None:
        data, what, first = CHANGES_WHAT_IS_SEEN[case]
        (tmp_path / "a.png").write_bytes(data)
        message = refusal(tmp_path)
        assert what in message
        assert "--convert" in message
        picture = scan(tmp_path, concept=DOG, resolution=16, convert=True).pictures[0]
        assert picture.notes
        pixels = load_pixels(
            picture, covering(picture.width, picture.height, picture.width, picture.height), convert=True
        )
        assert ((pixels[:, 0, 0] + 1) * 127.5).round().int().tolist() == list(first)

    check_each(CHANGES_WHAT_IS_SEEN, check)


def test_gray_of_16_bits_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256).round().reshape(16, 16)
    decoded = decode(io.BytesIO(sixteen_bit(0, ramp)), convert=True)
    assert np.asarray(decoded.image)[..., 0].ravel().tolist() == list(range(256))


INVISIBLE = {
    "P": "palette converted to RGB",
    "L": "grayscale converted to RGB",
    "1": "black and white converted to RGB",
    "LA": "grayscale with opaque alpha converted to RGB",
    "RGBA": "opaque alpha dropped",
}


def test_invisible_conversion_is_made_and_noted(tmp_path: Path) -> None:
    def check(mode: str) -> None:
        photo().convert(mode).save(tmp_path / "a.png")
        picture = scan(tmp_path, concept=DOG, resolution=32).pictures[0]
        assert (picture.mode, picture.notes) == (mode, (INVISIBLE[mode],))

    check_each(INVISIBLE, check)


def test_photo_with_a_preview_behind_it_is_no_animation() -> None:
    both = encoded(photo(), "MPO", save_all=True, append_images=[photo(16, 16)])
    assert decode(io.BytesIO(both), convert=False).notes == ()


def test_pipe_folder_and_links_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "nothing.png").symlink_to("gone.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    said: list[str] = []
    worker = threading.Thread(target=lambda: said.append(refusal(tmp_path)), daemon=True)
    worker.start()
    worker.join(20)
    assert said, "still waiting for the pipe"
    assert "pipe.png is a pipe" in said[0]
    assert "folder.png is a folder" in said[0]
    assert "loop.png is a loop of symbolic links" in said[0]
    assert "nothing.png does not exist, or is a link to nothing" in said[0]
    assert "device.png is a pipe, socket or device" in said[0]
    assert "no picture is left" in said[0]


def test_pipe_put_in_place_of_a_picture_at_the_last_moment_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "a.png")
    photo().save(tmp_path / "b.jpg")
    regular = (tmp_path / "b.jpg").stat()
    monkeypatch.setattr(Path, "stat", lambda path, **_: regular)
    said: list[str] = []

    def attempt() -> None:
        try:
            open_regular(tmp_path / "a.png")
        except Unusable as verdict:
            said.append(verdict.reason)

    worker = threading.Thread(target=attempt, daemon=True)
    worker.start()
    worker.join(10)
    assert said == ["is a pipe, socket or device, not a file"]


def test_skipping_all_that_is_bad_must_leave_something(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(DatasetError, match=r"(?s)a\.png is empty.*no picture is left"):
        scan(tmp_path, concept=DOG, resolution=32, skip_bad=True)


def test_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo().save(tmp_path / "secret.png")
    really_open = os.open

    def refuse(
        path: object, *rest: int, **more: int
    ) -> int:  # root may read everything, so chmod proves nothing
        if str(path).endswith("secret.png"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return really_open(path, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    assert "secret.png may not be read (permission denied): give yourself read" in refusal(tmp_path)


def test_failing_disk_is_not_called_damage(tmp_path: Path) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 100:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    with pytest.raises(Unusable, match=r"cannot be read .Input/output error."):
        decode(Failing(encoded(photo(), "PNG")), convert=False)


def test_file_of_absurd_length_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(1 << 40)
    assert "is too long (1,099,511,627,776 bytes)" in refusal(tmp_path)


def test_many_bad_files_are_counted(tmp_path: Path) -> None:
    for number in range(25):
        (tmp_path / f"{number:02}.png").write_bytes(b"")
    message = refusal(tmp_path)
    assert message.count("is empty") == 20
    assert "and 5 more" in message


def test_flipped_bytes_give_a_picture_or_a_refusal() -> None:
    def check(kind: str) -> None:
        source = photo(32, 32)
        source.getexif()[0x0112] = 6
        good = encoded(source, kind, **({} if kind == "BMP" else {"exif": source.getexif()}))
        chance = random.Random(0)
        for _ in range(150):
            data = bytearray(good)
            for _ in range(chance.randint(1, 4)):
                place = chance.choice([chance.randrange(len(data)), chance.randrange(120)])
                data[place] = chance.randrange(256)
            try:
                decoded = decode(
                    io.BytesIO(data[: chance.choice([len(data), chance.randrange(len(data))])]), convert=True
                )
            except Unusable:
                continue
            assert decoded.image.mode == "RGB"

    check_each(["PNG", "JPEG", "WEBP", "BMP"], check)
