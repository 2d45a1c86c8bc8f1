"""What lies beside pictures: captions find them, masks are none, and what is wrong with a folder is said."""

import unicodedata
import zipfile
from pathlib import Path

import pytest
from cases import check_each, empty_folder
from PIL import Image

from clora_ext.data import Concept, Dataset, scan
from clora_ext.errors import DatasetError

DOG = Concept("sks", "dog")
NFC, NFD = (unicodedata.normalize(form, "Café") for form in ("NFC", "NFD"))


def folder_of(parent: Path, *names: str) -> Path:
    """A folder with pictures that differ, captions that say their own name, and empty files."""
    folder = empty_folder(parent)
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in {".png", ".jpg", ".jfif", ".webp", ".bmp"}:
            kind = "JPEG" if path.suffix.lower() == ".jfif" else None
            Image.new("RGB", (32, 32), (9 * number, 0, 0)).save(path, kind)
        else:
            path.write_text(f"sks {name}" if path.suffix.lower() in {".txt", ".caption"} else "")
    return folder


def scanned(folder: Path, *, skip_bad: bool = False) -> Dataset:
    return scan(folder, concept=DOG, resolution=32, skip_bad=skip_bad)


def refusal(folder: Path) -> tuple[str, str]:
    with pytest.raises(DatasetError) as caught:
        scanned(folder)
    return str(caught.value).partition("\n")[0], caught.value.fix


CAPTIONED = {  # files: the caption of each picture
    ("a.png", "a.txt"): {"a.png": "a.txt"},
    ("a.png", "a.png.txt"): {"a.png": "a.png.txt"},
    ("a.PNG", "a.TXT"): {"a.PNG": "a.TXT"},
    ("a.png", "a.PNG.Txt"): {"a.png": "a.PNG.Txt"},
    ("a.JPG", "a.jpg.caption"): {"a.JPG": "a.jpg.caption"},
    (f"{NFC}.png", f"{NFD}.txt"): {f"{NFC}.png": f"{NFD}.txt"},
    (f"{NFD}.png", f"{NFC}.png.TXT"): {f"{NFD}.png": f"{NFC}.png.TXT"},
    ("a.jpg", "a.png", "a.txt"): {"a.jpg": "a.txt", "a.png": "a.txt"},
    ("a.jpg", "a.png", "a.jpg.txt", "a.png.txt"): {"a.jpg": "a.jpg.txt", "a.png": "a.png.txt"},
    ("a.jpg", "a.png", "a.png.txt", "a.txt"): {"a.jpg": "a.txt", "a.png": "a.png.txt"},
    ("a.png.jpg", "a.png", "a.png.txt"): {"a.png": "a.png.txt", "a.png.jpg": None},
    ("my.dog.png", "my.dog.txt"): {"my.dog.png": "my.dog.txt"},
    ("readme.png", "README.txt", "readme.txt"): {"readme.png": "readme.txt"},
    ("A.png", "a.png", "A.txt", "a.txt"): {"A.png": "A.txt", "a.png": "a.txt"},
}


def test_captions_find_their_pictures(tmp_path: Path) -> None:
    def check(names: tuple[str, ...]) -> None:
        dataset = scanned(folder_of(tmp_path, *names))
        found = {picture.path.name: picture for picture in dataset.pictures}
        for name, caption in CAPTIONED[names].items():
            expected = ("a photo of sks dog", "default") if caption is None else (f"sks {caption}", caption)
            assert (found[name].caption, found[name].caption_from) == expected
        assert len(found) == len(CAPTIONED[names])
        assert not [note for note in dataset.notes if "without a picture" in note]

    check_each(CAPTIONED, check)


def test_captions_of_one_picture_must_agree_by_either_name(tmp_path: Path) -> None:
    what, fix = refusal(folder_of(tmp_path, "b.png", "a.png", "a.png.txt", "a.txt"))
    assert "1 of 2 pictures" in what
    with pytest.raises(DatasetError, match=r"captions that differ: a\.png\.txt and a\.txt: keep one"):
        scanned(folder_of(tmp_path, "a.png", "a.png.txt", "a.txt"))
    assert "--skip-bad" in fix


def test_captions_of_no_picture_are_named_and_stop_the_run_if_no_other_is_there(tmp_path: Path) -> None:
    some = scanned(folder_of(tmp_path, "a.png", "b.png", "a.txt", "c.txt", "d.png.txt"))
    assert some.notes == ("captions without a picture of the same name: c.txt, d.png.txt",)
    folder = folder_of(tmp_path, "a.png", "b.png", "c.txt", "d.caption")
    for skip_bad in (False, True):
        with pytest.raises(
            DatasetError, match=r"no caption in .* has the name of a picture: c\.txt, d\.c"
        ) as e:
            scanned(folder, skip_bad=skip_bad)
        assert "a.txt or a.png.txt for a.png" in e.value.fix
    what, _ = refusal(folder_of(tmp_path, "5_sks dog/a.png", "5_sks dog/b.txt", "5_sks cat/a.png"))
    assert "no caption" in what
    kohya = scanned(
        folder_of(tmp_path, "5_sks dog/a.png", "5_sks dog/b.txt", "5_sks cat/a.png", "5_sks cat/a.txt")
    )
    assert kohya.notes[0] == "captions without a picture of the same name: b.txt"


def test_texts_that_are_no_captions_stop_nothing(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "a.png", "README.txt", "license.TXT", "prompts.txt")
    assert scanned(folder).notes == (f"ignored in {folder.name}: 3 x .txt",)


MASKS = {  # files: those that are pictures
    ("0.png", "0-masklabel.png"): ["0.png"],
    ("0.jpg", "0-condlabel.png", "0-masklabel.PNG"): ["0.jpg"],
    ("0.jpg", "0-MaskLabel.png"): ["0.jpg"],
    ("0.jpg", "1-masklabel.png"): ["0.jpg"],  # OneTrainer keeps the ending for itself
    ("0.jpg", "0_mask.png"): ["0.jpg"],
    ("0.jpg", "0-mask.jpg", "0.mask.png", "0_masks.png"): ["0.jpg"],
    ("0.jpg", "0.jpg_mask.png", "0.jpg-masklabel.png"): ["0.jpg"],
    ("0.jpg", "0-depth.png", "0_control.png", "0_cond.png", "0.conditioning.png"): ["0.jpg"],
    (f"{NFC}.png", f"{NFD}_mask.png"): [f"{NFC}.png"],
    ("dog_mask.png", "cat.png"): ["cat.png", "dog_mask.png"],  # a dog with a mask on: nothing is named dog
    ("unmasked.png", "mask.png"): ["mask.png", "unmasked.png"],
    ("0.png", "0-masklabel.png", "0-masklabel.txt", "0.txt"): ["0.png"],
}


def test_masks_are_never_trained_as_pictures(tmp_path: Path) -> None:
    def check(names: tuple[str, ...]) -> None:
        dataset = scanned(folder_of(tmp_path, *names))
        assert [picture.path.name for picture in dataset.pictures] == MASKS[names]
        pictures = [name for name in names if not name.endswith(".txt")]
        said = [note for note in dataset.notes if note.startswith("left out, since they belong to other")]
        left = set(pictures) - set(MASKS[names])
        assert bool(said) == bool(left)
        assert all(name in said[0] for name in left)

    check_each(MASKS, check)


def test_pictures_that_differ_in_the_ending_are_all_used_and_said(tmp_path: Path) -> None:
    dataset = scanned(folder_of(tmp_path, "a.png", "a.jpg", "b.png"))
    assert len(dataset.pictures) == 3
    assert dataset.notes == ("pictures of the same name but for its ending, all used: a.jpg, a.png",)


def test_folder_of_mostly_unreadable_pictures_is_refused(tmp_path: Path) -> None:
    names = ("a.png", "b.gif", "c.TIFF", "d.cr2", "e.psd")
    what, fix = refusal(folder_of(tmp_path, *names))
    assert what.endswith("cannot be read here: 1 x GIF, 1 x PSD, 1 x TIFF, 1 x camera raw of 5 pictures")
    assert fix == "save as JPEG or PNG; or leave them out with --skip-bad"
    assert len(scanned(folder_of(tmp_path, *names), skip_bad=True).pictures) == 1
    raw_and_jpeg = scanned(folder_of(tmp_path, "a.jpg", "a.cr2", "a.tif", "b.nef"))
    assert len(raw_and_jpeg.pictures) == 1
    assert "2 x camera raw" in raw_and_jpeg.notes[0]
    live = scanned(folder_of(tmp_path, "a.jpg", "b.mov", "c.mov"))  # films are no pictures
    assert live.notes[0].startswith("ignored in")


NOTHING = {  # files: what is said, what to do
    (): ("is empty", "name a folder with pictures; their names end in .png, .jpg"),
    ("a/b/c/d.png",): ("holds no images, nor do the folders in it", "name a folder"),
    ("a.txt", "b.txt"): ("holds captions, but no images: a.txt, b.txt", "name a folder"),
    ("a.txt", "b.mp4"): ("holds no images, but other files: b.mp4", "name a folder"),
    ("a-masklabel.png",): ("holds no pictures, but masks of pictures: a-masklabel.png", "name a folder"),
    ("a.gif", "b.gif"): ("holds no pictures that can be read here, but 2 x GIF", "save as JPEG or PNG"),
    ("5_sks dog/a.gif",): ("holds no pictures that can be read here, but 1 x GIF", "save as JPEG or PNG"),
    ("dogs.zip",): ("holds no images, but archives: dogs.zip", "unpack them, and name the folder"),
    ("dogs/a.png", "cats/b.png"): ("folders with images: cats (1 image), dogs (1 image)", "name one of them"),
    ("all/dogs/a.png",): ("folders with images: all/dogs (1 image)", "name one of them"),
    ("img/5_sks dog/a.png", "reg/1_dog/b.png", "log/x", "model/x"): (
        "is a project folder of kohya's; its pictures are in the folder img",
        "name that one: ",
    ),
    ("img/5_sks dog/a.png",): ("is a project folder of kohya's", "name that one: "),
    ("image/a.png", "reg/b.png"): ("is a project folder of kohya's", "name that one: "),
    ("images/a.png", "masks/a.png"): ("images (1 image), masks (1 image)", "name one of them"),
}


def test_folder_without_pictures_says_what_it_holds_and_what_to_do(tmp_path: Path) -> None:
    def check(names: tuple[str, ...]) -> None:
        said, to_do = NOTHING[names]
        folder = folder_of(tmp_path, *names)
        what, fix = refusal(folder)
        assert what.startswith(str(folder))
        assert said in what
        assert fix.startswith(to_do)

    check_each(NOTHING, check)
    project = folder_of(tmp_path, "img/5_sks dog/a.png", "reg/1_dog/b.png")
    assert len(scanned(Path(refusal(project)[1].removeprefix("name that one: "))).pictures) == 1


def test_archive_in_the_place_of_a_folder_is_called_one(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "dogs.zip", "w") as archive:
        archive.writestr("a.png", "")
    (tmp_path / "dogs.dataset").write_bytes((tmp_path / "dogs.zip").read_bytes())
    (tmp_path / "dogs.tar").touch()
    for name in ("dogs.zip", "dogs.dataset", "dogs.tar"):
        what, fix = refusal(tmp_path / name)
        assert what == f"{tmp_path / name} is an archive, not a folder of images"
        assert fix == "unpack it, and name the folder that comes out of it"


def test_kohya_folder_without_readable_pictures_is_noted(tmp_path: Path) -> None:
    notes = scanned(folder_of(tmp_path, "5_sks dog/a.png", "5_sks cat/b.gif", "5_sks cup/c.txt")).notes
    assert notes == ("no images in 5_sks cat, but 1 x GIF; save as JPEG or PNG", "no images in 5_sks cup")
