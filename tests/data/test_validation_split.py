"""Pictures that are held out: by content, none in both parts, whatever their names and folders."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clora_ext.data import Concept, Dataset, Subset, held_out_of, joined, scan_subset
from clora_ext.errors import DatasetError

DOG = Concept("sks", "dog")
with Path(__file__).with_name("kohya_validation_split.csv").open(encoding="utf-8", newline="") as _file:
    GOLDEN = list(csv.DictReader(_file))


def photos(folder: Path, count: int, first: int = 0) -> Path:
    """Different pictures."""
    folder.mkdir()
    for number in range(first, first + count):
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def scanned(*subsets: Subset) -> Dataset:
    """All folders."""
    return joined([scan_subset(subset, concept=DOG, resolution=16) for subset in subsets])


def contents(dataset: Dataset) -> tuple[set[str], set[str]]:
    """Of what is trained on, and of what is held out."""
    return {one.sha256 for one in dataset.pictures}, {one.sha256 for one in dataset.held_out}


def test_no_picture_is_in_both_parts_or_in_none(tmp_path: Path) -> None:
    """Of the numbers with which sd-scripts 0.11.1 puts some into both."""
    largest = max(int(row["pictures"]) for row in GOLDEN)
    everything = scanned(Subset(photos(tmp_path / "all", largest)))
    assert any(int(row["in_both"]) for row in GOLDEN)
    for row in GOLDEN:
        count, share = int(row["pictures"]), float(row["split"])
        if count < 2 or not share:
            continue
        some = Dataset(everything.root, everything.pictures[:count])
        trained, held_out = contents(held_out_of(some, share, seed=7))
        assert not trained & held_out
        assert len(trained | held_out) == count
        assert len(held_out) == min(count - 1, max(1, round(count * share)))


def test_names_and_folders_change_nothing(tmp_path: Path) -> None:
    first = photos(tmp_path / "first", 10)
    before = contents(held_out_of(scanned(Subset(first)), 0.3, 1))
    for number, file in enumerate(sorted(first.iterdir(), reverse=True)):
        file.rename(first / f"renamed {number}.png")
    assert contents(held_out_of(scanned(Subset(first)), 0.3, 1)) == before
    second = tmp_path / "second"
    second.mkdir()
    for file in first.iterdir():
        (second / file.name).write_bytes(file.read_bytes())
    both = held_out_of(scanned(Subset(first), Subset(second, resolution=32)), 0.3, 1)
    assert contents(both) == before
    assert len(both.held_out) == 6
    assert contents(held_out_of(scanned(Subset(first)), 0.3, 2)) != before


def test_a_regularisation_picture_that_is_held_out_is_not_trained_on_either(tmp_path: Path) -> None:
    first = photos(tmp_path / "first", 4)
    others = photos(tmp_path / "others", 4)  # the same pictures
    found = held_out_of(scanned(Subset(first), Subset(others, regularisation=True)), 0.5, 0)
    trained, held_out = contents(found)
    assert not trained & held_out
    assert len(held_out) == 2


def test_one_picture_cannot_be_held_out(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="held out of itself"):
        held_out_of(scanned(Subset(photos(tmp_path / "one", 1))), 0.5, 0)


def test_a_folder_may_hold_out_another_share_or_nothing(tmp_path: Path) -> None:
    first, second, third = (photos(tmp_path / str(number), 10, 10 * number) for number in range(3))
    found = held_out_of(
        scanned(
            Subset(first),
            Subset(second, validation_split=0.5, validation_seed=3),
            Subset(third, validation_split=0.0),
        ),
        0.2,
        0,
    )
    folders = [one.path.parent for one in found.held_out]
    assert [folders.count(folder) for folder in (first, second, third)] == [2, 5, 0]
    trained, held_out = contents(found)
    assert not trained & held_out
    whole = held_out_of(scanned(Subset(first), Subset(second, validation_split=1.0)), 0.0, 0)
    assert {one.path.parent for one in whole.held_out} == {second}
    assert len(whole.held_out) == 10
    assert {one.path.parent for one in whole.pictures} == {first}
    with pytest.raises(DatasetError, match="every picture is held out"):
        held_out_of(scanned(Subset(first, validation_split=1.0)), 0.0, 0)
    everything = scanned(*(Subset(first, validation_split=0.9, validation_seed=seed) for seed in range(4)))
    with pytest.raises(DatasetError, match="every picture is held out"):
        held_out_of(everything, 0.0, 0)
