"""Captions: which file counts, how it is read, and what is refused."""

from pathlib import Path

import pytest
from cases import check_each, empty_folder
from PIL import Image

from clora_ext.data import Concept, Picture, scan
from clora_ext.errors import DatasetError

DOG = Concept("sks", "dog")


def captioned(folder: Path, data: bytes, name: str = "a.txt") -> Picture:
    Image.new("RGB", (32, 32)).save(folder / "a.png")
    (folder / name).write_bytes(data)
    return scan(folder, concept=DOG, resolution=32).pictures[0]


def test_file_beside_the_picture_is_its_caption(tmp_path: Path) -> None:
    for name in ("a.txt", "a.caption", "a.TXT"):
        picture = captioned(empty_folder(tmp_path), b"sks dog in the snow\n", name)
        assert (picture.caption, picture.caption_from, picture.notes) == ("sks dog in the snow", name, ())


def test_byte_order_mark_and_line_ends_are_dropped(tmp_path: Path) -> None:
    for data in (b"\xef\xbb\xbfsks dog\r\n", b"  sks dog  ", b"sks dog\r", b"sks\tdog\n\n \n"):
        picture = captioned(tmp_path, data)
        assert (data, picture.caption, picture.notes) == (data, "sks dog", ())


def test_only_the_first_line_counts_and_that_is_said(tmp_path: Path) -> None:
    picture = captioned(tmp_path, b"sks dog\nsks dog asleep\n")
    assert (picture.caption, picture.notes) == ("sks dog", ("caption: only the first line is used",))


def test_placeholders_are_filled_and_other_braces_stay(tmp_path: Path) -> None:
    picture = captioned(tmp_path, b"{token} {class}, {a|b} {__class__} {{token}}")
    assert picture.caption == "sks dog, {a|b} {__class__} {sks}"


def test_caption_without_the_token_is_noted(tmp_path: Path) -> None:
    lacks = ("caption lacks the token 'sks'",)
    for text, notes in (("a dog", lacks), ("asks dog", lacks), ("SKS, dog", ())):
        assert captioned(tmp_path, text.encode()).notes == notes, text


UNUSABLE = [
    (b"", "a.txt is empty"),
    (b" \n\t\n", "a.txt is empty"),
    (b"\nsks dog", "a.txt has an empty first line"),
    (
        b"sks dog caf\xe9",
        "a.txt is not UTF-8: byte 11 is 0xe9: save it in your editor with the encoding UTF-8",
    ),
    (b"\xef\xbb\xbfsks \xff", "a.txt is not UTF-8: byte 7 is 0xff"),
    ("sks dog".encode("utf-16"), "a.txt is not UTF-8, but looks like UTF-16: byte 0 is 0xff"),
    (b"sks\0dog", "holds a control character (U+0000, character 4)"),
    (b"sks \x1b[31mdog", "holds a control character (U+001B, character 5)"),
    ("sks \u202edog".encode(), "holds a control character (U+202E"),
    (b"sks " * 20_000, "is too long for a caption: more than 65,536 bytes"),
]


def test_unusable_caption_is_named_with_reason(tmp_path: Path) -> None:
    def check(case: tuple[bytes, str]) -> None:
        data, reason = case
        with pytest.raises(DatasetError) as caught:
            captioned(tmp_path, data)
        assert reason in str(caught.value)

    check_each(UNUSABLE, check)


def test_joined_emoji_are_no_control_characters(tmp_path: Path) -> None:
    family = "sks \U0001f468\u200d\U0001f469"
    assert captioned(tmp_path, family.encode()).caption == family


def test_two_captions_must_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.caption").write_text("sks dog")
    assert captioned(tmp_path, b"sks dog\n").caption == "sks dog"
    with pytest.raises(DatasetError, match=r"captions that differ: a\.caption and a\.txt: keep one"):
        captioned(tmp_path, b"sks cat")


def test_caption_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    with pytest.raises(DatasetError, match=r"a\.txt is a folder"):
        scan(tmp_path, concept=DOG, resolution=32)


def test_bad_caption_can_be_skipped_with_its_picture(tmp_path: Path) -> None:
    captioned(tmp_path, b"sks dog")
    Image.new("RGB", (32, 32), "red").save(tmp_path / "b.png")
    (tmp_path / "b.txt").touch()
    dataset = scan(tmp_path, concept=DOG, resolution=32, skip_bad=True)
    assert [picture.path.name for picture in dataset.pictures] == ["a.png"]
    assert [bad.path.name for bad in dataset.rejected] == ["b.txt"]
