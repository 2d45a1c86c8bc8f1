"""Contact sheets: what lies on them, and what can be read back."""

import json
from pathlib import Path

import pytest
from cases import check_each
from PIL import Image, PngImagePlugin

from clora_ext.sampling.contact_sheet import (
    Row,
    SheetMetadata,
    grid,
    read_sample,
    read_sheet_metadata,
    sample_of,
    write_sheet,
)


def rows(*colours: str) -> list[Row]:
    return [Row(colour, [Image.new("RGB", (64, 64), colour)] * 3) for colour in colours]


def test_the_last_drawing_is_found(tmp_path: Path) -> None:
    file = tmp_path / "sheet.png"
    write_sheet(rows("lime", "blue"), 64, SheetMetadata("a prompt"), file)
    drawing = read_sample(file)
    assert drawing is not None
    assert drawing.getcolors() == [(128 * 128, (0, 0, 255))]


def test_of_many_losses_some_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "sheet.png"
    losses = tuple(float(step) for step in range(2500))
    write_sheet(rows("red", "lime"), 64, SheetMetadata("prompt", losses), file)
    metadata = read_sheet_metadata(file)
    assert metadata is not None
    assert metadata.losses == losses[::3]


NOT_METADATA = ["", "no json", "[]", "{}", '{"prompt": 1, "losses": ["x"]}', "[" * 100_000]


def test_text_that_is_not_metadata_of_a_sheet_is_ignored(tmp_path: Path) -> None:
    def check(text: str) -> None:
        file, chunks = tmp_path / "sheet.png", PngImagePlugin.PngInfo()
        chunks.add_text("clora", text)
        Image.new("RGB", (8, 8)).save(file, pnginfo=chunks)
        assert read_sheet_metadata(file) is None

    check_each(NOT_METADATA, check)


def test_what_is_no_sheet_has_no_drawing(tmp_path: Path) -> None:
    assert read_sample(tmp_path / "missing.png") is None
    (tmp_path / "text.png").write_text("no picture")
    assert read_sample(tmp_path / "text.png") is None
    assert read_sheet_metadata(tmp_path / "text.png") is None
    with pytest.raises(ValueError, match="not a contact sheet"):
        sample_of(Image.new("RGB", (100, 100)))


def test_metadata_of_a_sheet_is_plain_json(tmp_path: Path) -> None:
    write_sheet(rows("red", "lime"), 64, SheetMetadata("ein Hund 🐶", (0.5,)), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert json.loads(sheet.info["clora"]) == {"prompt": "ein Hund 🐶", "losses": [0.5]}


def test_a_grid_has_a_picture_where_there_is_one() -> None:
    red, blue = (Image.new("RGB", (64, 64), colour) for colour in ("red", "blue"))
    table = grid(["after 1", "after 2"], {"1 sks dog": [red, blue], "2 zwz fox": [None, blue]}, 64)
    cells = [(table.width - 1 - back, table.height - 9 - up) for up in (136, 0) for back in (144, 8)]
    assert [table.getpixel(cell) for cell in cells] == [(255, 0, 0), (0, 0, 255), (255,) * 3, (0, 0, 255)]


def test_a_grid_of_many_versions_has_small_pictures() -> None:
    picture = Image.new("RGB", (512, 512), "red")
    table = grid([f"after {i}" for i in range(40)], {"a row": [picture] * 40}, 512)
    assert table.width < 5000
