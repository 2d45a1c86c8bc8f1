"""A folder becomes a dataset: layouts, captions, duplicates, rotation, identity."""

import hashlib
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from cases import check_each, empty_folder
from PIL import Image, ImageOps

from clora_ext.data import Concept, Subset, covering, load_pixels, scan, scan_subset
from clora_ext.data.subset import INTERPOLATIONS
from clora_ext.errors import DatasetError

DOG = Concept("sks", "dog")


def paint(path: Path, seed: int = 0, size: tuple[int, int] = (48, 32)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)).save(path)
    return path


def refusal(folder: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        scan(folder, concept=DOG, resolution=32)
    return str(caught.value)


def test_flat_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for seed, name in enumerate(("c.PNG", "a.jpg", "b.WebP", "d.bmp", "e.jpeg", "f.JFIF")):
        paint(tmp_path / name, seed)
    (tmp_path / ".hidden.png").write_bytes(b"no picture")
    (tmp_path / "old.gif").write_bytes(b"not looked at")
    dataset = scan(tmp_path, concept=DOG, resolution=32)
    assert [picture.path.name for picture in dataset.pictures] == [
        "a.jpg",
        "b.WebP",
        "c.PNG",
        "d.bmp",
        "e.jpeg",
        "f.JFIF",
    ]
    assert dataset.notes == (
        f"left out in {tmp_path.name}, since they cannot be read here: 1 x GIF; save as JPEG or PNG",
    )
    first = dataset.pictures[0]
    assert (first.width, first.height, first.mode, first.repeats) == (48, 32, "RGB", 1)
    assert (first.caption, first.caption_from) == ("a photo of sks dog", "default")
    assert first.bytes == first.path.stat().st_size
    assert first.sha256 == hashlib.sha256(first.path.read_bytes()).hexdigest()


def test_kohya_folder_gives_repeats_and_words(tmp_path: Path) -> None:
    paint(tmp_path / "10_sks dog" / "a.png")
    picture = scan(tmp_path / "10_sks dog", concept=DOG, resolution=32).pictures[0]
    assert (picture.repeats, picture.caption, picture.caption_from) == (
        10,
        "a photo of sks dog",
        "folder name",
    )


def test_parent_of_kohya_folders_is_read_with_each_ones_repeats(tmp_path: Path) -> None:
    paint(tmp_path / "3_sks dog sitting" / "a.png", 1)
    paint(tmp_path / "10_dog" / "a.png", 2)
    paint(tmp_path / "sketches" / "a.png", 3)
    dataset = scan(tmp_path, concept=DOG, resolution=32)
    assert [(picture.repeats, picture.caption) for picture in dataset.pictures] == [
        (10, "a photo of sks dog"),
        (3, "a photo of sks dog sitting"),
    ]
    assert dataset.notes == (
        "not read, since its name has no repeats (as in 10_sks dog): sketches (1 image)",
    )


def test_parent_of_ordinary_folders_says_which_to_name(tmp_path: Path) -> None:
    for name in ("dog", "cat", "cup"):
        paint(tmp_path / name / "a.png")
    assert "cat (1 image), cup (1 image), dog (1 image)\nname one of them" in refusal(tmp_path)


def test_pictures_beside_kohya_folders_are_ambiguous(tmp_path: Path) -> None:
    paint(tmp_path / "a.png")
    paint(tmp_path / "10_sks dog" / "a.png")
    assert "holds both pictures and kohya folders (10_sks dog)" in refusal(tmp_path)


def test_pictures_in_folders_below_are_not_left_out_silently(tmp_path: Path) -> None:
    paint(tmp_path / "a.png")
    paint(tmp_path / "more" / "b.png")
    notes = scan(tmp_path, concept=DOG, resolution=32).notes
    assert notes == ("not read, since folders are not searched: more (1 image)",)


def test_impossible_repeats_are_refused(tmp_path: Path) -> None:
    for name in ("0_sks dog", "99999_sks dog"):
        folder = empty_folder(tmp_path)
        paint(folder / name / "a.png")
        assert "repeats\nrename the folder" in refusal(folder), name


def test_path_that_is_no_folder_of_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dogs").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    assert "there is no folder" in refusal(tmp_path / "dgos")
    assert "did you mean" in refusal(tmp_path / "dgos")
    assert "is a file, not a folder" in refusal(tmp_path / "file")
    assert "folder" in refusal(tmp_path / "loop")
    assert "dogs is empty" in refusal(tmp_path / "dogs")
    assert "longlong" in refusal(tmp_path / ("long" * 100))
    (tmp_path / "dogs" / "a.mp4").touch()
    assert "holds no images, but other files: a.mp4" in refusal(tmp_path / "dogs")


def test_folder_that_may_not_be_listed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert "may not be read (permission denied)" in refusal(tmp_path)


def test_hostile_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    paint(tmp_path / "a.png")
    for name in (b"\x1b[2J.png", b"new\nline.png", b"not utf8 \xff.png", "\u202egnp.png".encode()):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"")
    message = refusal(tmp_path)
    assert all(line.isprintable() for line in message.split("\n"))
    assert message.count("is empty") == 4


def test_camera_rotation_is_applied_to_size_and_pixels(tmp_path: Path) -> None:
    corners = np.zeros((32, 48, 3), np.uint8)
    corners[:16, :24], corners[:16, 24:], corners[16:, :24] = (255, 0, 0), (0, 255, 0), (0, 0, 255)

    def check(case: tuple[str, int]) -> None:
        suffix, orientation = case
        folder = empty_folder(tmp_path)
        image = Image.fromarray(corners)
        exif = image.getexif()
        exif[0x0112] = orientation
        image.save(folder / f"a.{suffix}", exif=exif, **({"lossless": True} if suffix == "webp" else {}))
        picture = scan(folder, concept=DOG, resolution=16).pictures[0]
        assert picture.notes == (("rotated by EXIF",) if orientation > 1 else ())
        with Image.open(picture.path) as stored:
            expected = ImageOps.exif_transpose(stored).convert("RGB")
        assert (picture.width, picture.height) == expected.size
        pixels = load_pixels(
            picture, covering(picture.width, picture.height, picture.width, picture.height), convert=False
        )
        assert np.array_equal(((pixels.permute(1, 2, 0) + 1) * 127.5).round().numpy(), np.asarray(expected))

    check_each(product(["jpg", "png", "webp"], range(1, 9)), check)


def test_photo_of_a_phone_held_upright_is_turned_upright(tmp_path: Path) -> None:
    camera = Image.new("RGB", (48, 32), "black")
    camera.paste("white", (0, 0, 16, 32))  # a phone held upright stores the sky on the left
    exif = camera.getexif()
    exif[0x0112] = 6
    camera.save(tmp_path / "a.png", exif=exif)
    picture = scan(tmp_path, concept=DOG, resolution=16).pictures[0]
    assert (picture.width, picture.height) == (32, 48)
    pixels = load_pixels(picture, covering(picture.width, picture.height, 32, 48), convert=False)
    assert pixels[:, :16].min() == 1
    assert pixels[:, 16:].max() == -1


def test_damaged_exif_does_not_cost_the_picture(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert len(scan(tmp_path, concept=DOG, resolution=32).pictures) == 1


def test_duplicate_is_kept_once_and_named_on_both_sides(tmp_path: Path) -> None:
    paint(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "b.txt").write_text("sks dog asleep")
    dataset = scan(tmp_path, concept=DOG, resolution=32)
    assert [picture.path.name for picture in dataset.pictures] == ["a.png"]
    assert dataset.pictures[0].notes == ("b.png is a duplicate",)
    assert dataset.notes == ("b.png is a duplicate of a.png: left out, with its different caption",)


def test_small_and_long_pictures_are_noted(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", size=(400, 100))
    assert scan(tmp_path, concept=DOG, resolution=512).pictures[0].notes == (
        "smaller than 512 px: will be enlarged",
        "longer than 2:1: 50% will be cropped away",
    )


def test_fingerprint_depends_on_content_and_not_on_names(tmp_path: Path) -> None:
    paint(tmp_path / "1_sks dog" / "a.png", 0)
    paint(tmp_path / "1_sks dog" / "b.png", 1)
    before = scan(tmp_path / "1_sks dog", concept=DOG, resolution=32).fingerprint
    (tmp_path / "1_sks dog" / "a.png").rename(tmp_path / "1_sks dog" / "z.png")
    (tmp_path / "1_sks dog").rename(tmp_path / "plain")
    assert scan(tmp_path / "plain", concept=DOG, resolution=64).fingerprint == before
    (tmp_path / "plain").rename(tmp_path / "2_sks dog")
    repeated = scan(tmp_path / "2_sks dog", concept=DOG, resolution=32).fingerprint
    (tmp_path / "2_sks dog" / "b.txt").write_text("sks dog asleep")
    captioned = scan(tmp_path / "2_sks dog", concept=DOG, resolution=32).fingerprint
    assert len({before, repeated, captioned}) == 3


def test_picture_changed_during_the_run_is_refused(tmp_path: Path) -> None:
    def check(change: str) -> None:
        path = paint(empty_folder(tmp_path) / "a.png")
        picture = scan(path.parent, concept=DOG, resolution=32).pictures[0]
        path.unlink()
        if change == "edit":
            paint(path, 1)
        elif change == "pipe":
            os.mkfifo(path)
        with pytest.raises(DatasetError, match=r"a\.png (has changed|does not exist|is a pipe)"):
            load_pixels(picture, covering(picture.width, picture.height, 32, 32), convert=False)

    check_each(["edit", "remove", "pipe"], check)


def test_pixels_cover_the_bucket_and_are_cropped_about_the_centre(tmp_path: Path) -> None:
    image = Image.new("RGB", (64, 32), "black")
    image.paste("white", (16, 0, 48, 32))
    image.save(tmp_path / "a.png")
    picture = scan(tmp_path, concept=DOG, resolution=32).pictures[0]
    pixels = load_pixels(picture, covering(picture.width, picture.height, 16, 16), convert=False)
    assert pixels.shape == (3, 16, 16)
    assert str(pixels.dtype) == "torch.float32"
    assert pixels.min() > 0.5  # nothing of the black sides but the filter's overshoot
    assert load_pixels(picture, covering(picture.width, picture.height, 24, 40), convert=False).shape == (
        3,
        40,
        24,
    )


def test_scanning_does_not_import_torch(tmp_path: Path) -> None:
    paint(tmp_path / "a.png")
    code = (
        "import sys; from pathlib import Path; from clora_ext.data import Concept, scan\n"
        f"scan(Path({str(tmp_path)!r}), concept=Concept('sks', 'dog'), resolution=32)\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_pictures_that_are_too_small_are_left_out_by_area_and_named(tmp_path: Path) -> None:
    for number, size in enumerate([(64, 64), (32, 128), (100, 100)]):
        Image.new("RGB", size, (number, 0, 0)).save(tmp_path / f"{number}.png")
    found = scan_subset(Subset(tmp_path, skipped=(64, 64)), concept=DOG, resolution=32)
    assert [picture.path.name for picture in found.pictures] == ["2.png"]
    assert "left out, with no more pixels than 64 x 64: 0.png, 1.png" in found.notes
    with pytest.raises(DatasetError, match="has more pixels than 200 x 200"):
        scan_subset(Subset(tmp_path, skipped=(200, 200)), concept=DOG, resolution=32)


def test_pictures_are_resized_as_asked(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = {}
    for name in INTERPOLATIONS:
        picture = scan_subset(Subset(tmp_path, interpolation=name), concept=DOG, resolution=16).pictures[0]
        found[name] = load_pixels(picture, covering(64, 64, 16, 16), convert=False).numpy().tobytes()
    assert len(set(found.values())) == 5
    mean = pixels.reshape(16, 4, 16, 4, 3).mean((1, 3))
    area = np.frombuffer(found["area"], dtype=np.float32).reshape(3, 16, 16).transpose(1, 2, 0)
    assert np.abs((area + 1) * 127.5 - mean).max() < 1.01  # it may be rounded twice
