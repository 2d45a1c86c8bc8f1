"""Masks: found beside pictures, in a folder, in their transparency; checked; cut as the picture is."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clora_ext.config.settings import MaskSettings
from clora_ext.data import Concept, Subset, covering, load_mask, load_pixels, scan_subset
from clora_ext.errors import DatasetError

DOG = Concept("sks", "dog")
MASKED = MaskSettings(masked_loss=True)
ALPHA = MaskSettings(alpha_mask=True)


def photo(path: Path, size: tuple[int, int] = (40, 20), seed: int = 0) -> Path:
    """A picture of noise."""
    path.parent.mkdir(exist_ok=True, parents=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def left_half(path: Path, size: tuple[int, int] = (40, 20)) -> Path:
    """A mask that is white on its left half."""
    path.parent.mkdir(exist_ok=True, parents=True)
    values = np.zeros((size[1], size[0]), dtype=np.uint8)
    values[:, : size[0] // 2] = 255
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize("name", ["a-masklabel.png", "a_mask.png", "a.png-mask.png", "a MASKS.webp"])
def test_a_mask_beside_a_picture_is_its_own(tmp_path: Path, name: str) -> None:
    photo(tmp_path / "a.png")
    photo(tmp_path / "b.png", seed=1)
    left_half(tmp_path / name)
    dataset = scan_subset(Subset(tmp_path, masks=MASKED), concept=DOG, resolution=16)
    first, second = dataset.pictures
    assert first.mask is not None
    assert first.mask.path.name == name
    assert second.mask is None
    assert "1 of 2 pictures without a mask: all of them counts" in dataset.notes
    assert not any("left out" in note for note in dataset.notes)
    plain = scan_subset(Subset(tmp_path), concept=DOG, resolution=16)
    assert any(f"left out, since they belong to other pictures: {name}" in note for note in plain.notes)
    assert plain.fingerprint != dataset.fingerprint


def test_conditions_and_depth_maps_are_no_masks(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    left_half(tmp_path / "a_depth.png")
    left_half(tmp_path / "a-condlabel.png")
    with pytest.raises(DatasetError, match=r"no picture in .* has a mask"):
        scan_subset(Subset(tmp_path, masks=MASKED), concept=DOG, resolution=16)


def test_an_edited_mask_is_another_dataset(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    mask = left_half(tmp_path / "a_mask.png")
    asked = Subset(tmp_path, masks=MASKED)
    before = scan_subset(asked, concept=DOG, resolution=16)
    mask.write_bytes(left_half(tmp_path / "x" / "other.png", (80, 40)).read_bytes())
    assert scan_subset(asked, concept=DOG, resolution=16).fingerprint != before.fingerprint
    found = before.pictures[0].mask
    assert found is not None
    with pytest.raises(DatasetError, match="has changed since it was checked"):
        load_mask(found, covering(40, 20, 16, 16), (40, 20))


def test_a_folder_of_masks_has_one_for_every_picture(tmp_path: Path) -> None:
    photo(tmp_path / "img" / "a.png")
    photo(tmp_path / "img" / "b.png", seed=1)
    left_half(tmp_path / "masks" / "a.jpg")
    asked = Subset(tmp_path / "img", masks=MASKED, mask_folder=tmp_path / "masks")
    with pytest.raises(DatasetError, match=r"b.png has no mask in .*masks: put b.png there"):
        scan_subset(asked, concept=DOG, resolution=16)
    left_half(tmp_path / "masks" / "b.png")
    found = scan_subset(asked, concept=DOG, resolution=16)
    assert [one.mask.path.name for one in found.pictures if one.mask] == ["a.jpg", "b.png"]


def test_a_mask_of_another_shape_or_of_nothing_is_refused(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    mask = left_half(tmp_path / "a_mask.png", (20, 20))
    asked = Subset(tmp_path, masks=MASKED)
    with pytest.raises(DatasetError, match="a mask of another shape: 20 x 20 px for 40 x 20"):
        scan_subset(asked, concept=DOG, resolution=16)
    Image.new("L", (40, 20)).save(mask)
    with pytest.raises(DatasetError, match="black everywhere"):
        scan_subset(asked, concept=DOG, resolution=16)
    mask.write_bytes(b"\x89PNG broken")
    with pytest.raises(DatasetError, match=r"a.png has a mask, a_mask.png, that is"):
        scan_subset(asked, concept=DOG, resolution=16)


def test_a_mask_is_cut_as_its_picture_is_whatever_its_size(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    left_half(tmp_path / "a_mask.png", (80, 40))
    asked = Subset(tmp_path, masks=MASKED)
    picture = scan_subset(asked, concept=DOG, resolution=16).pictures[0]
    assert picture.mask is not None
    mask = load_mask(picture.mask, covering(40, 20, 16, 16), (40, 20))  # keeps the middle 20 columns
    assert mask.shape == (16, 16)
    assert mask[:, :7].min() == 1
    assert mask[:, 9:].max() == 0


def test_transparency_is_kept_apart_and_colours_stay(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png")
    with Image.open(path) as image:
        plain = np.asarray(image)
        alpha = Image.open(left_half(tmp_path / "x" / "alpha.png"))
        image.putalpha(alpha)
        image.save(path)
    photo(tmp_path / "b.png", seed=1)
    with pytest.raises(DatasetError, match="partly transparent"):
        scan_subset(Subset(tmp_path), concept=DOG, resolution=16)
    dataset = scan_subset(Subset(tmp_path, masks=ALPHA), concept=DOG, resolution=16)
    first, second = dataset.pictures
    assert first.mask is not None
    assert first.mask.is_alpha
    assert second.mask is None
    pixels = load_pixels(first, covering(40, 20, 40, 20), convert=False)
    assert ((pixels.permute(1, 2, 0).numpy() + 1) * 127.5).round() == pytest.approx(plain)
    mask = load_mask(first.mask, covering(40, 20, 40, 20), (40, 20))
    assert mask[:, :20].min() == 1
    assert mask[:, 20:].max() == 0


def test_masks_turn_with_the_camera(tmp_path: Path) -> None:
    """The picture lies on its side, its mask was saved upright."""
    path = tmp_path / "a.jpg"
    pixels = np.random.default_rng(0).integers(0, 255, (20, 40, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(path, exif=exif)
    left_half(tmp_path / "a_mask.png", (20, 40))
    picture = scan_subset(Subset(tmp_path, masks=MASKED), concept=DOG, resolution=16).pictures[0]
    assert (picture.width, picture.height) == (20, 40)
    assert picture.mask is not None
    mask = load_mask(picture.mask, covering(20, 40, 20, 40), (20, 40))
    assert mask[:, :10].min() == 1
    assert mask[:, 10:].max() == 0
