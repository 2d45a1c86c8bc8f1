"""How pictures are cut, as a picture."""

from pathlib import Path

import pytest
from PIL import Image
from small_runs import folder_of, with_source

from clora_ext import Request, make_plan
from clora_ext.data import KohyaBuckets, Subset
from clora_ext.errors import UsageError
from clora_ext.runs.crop_sheet import write_crop_sheet


def test_what_is_kept_is_bright_and_what_is_cut_away_is_dim(request_: Request, tmp_path: Path) -> None:
    folder = folder_of(request_)
    for image in folder.glob("*.png"):
        image.unlink()
    Image.new("RGB", (400, 100), "white").save(folder / "wide.png")
    square = KohyaBuckets(smallest=32, largest=32, step=32)
    plan = make_plan(with_source(request_, subsets=(Subset(folder, buckets=square),)))
    assert plan.cuts[0].box == pytest.approx((150, 0, 250, 100))
    sheet = tmp_path / "new" / "cuts.png"
    assert write_crop_sheet(plan, sheet) == 1
    with Image.open(sheet) as image:
        row = [image.getpixel((8 + column, 8 + 120)) for column in range(240)]
    bright = [column for column, pixel in enumerate(row) if pixel == (255, 255, 255)]
    assert (bright[0], bright[-1]) == pytest.approx((92, 147), abs=3)  # within its frame
    assert row[10] == row[230] == (76, 76, 76)


def test_only_a_crop_sheet_is_written_over(request_: Request, tmp_path: Path) -> None:
    plan, sheet = make_plan(request_), tmp_path / "cuts.png"
    assert write_crop_sheet(plan, sheet) == write_crop_sheet(plan, sheet) == 3
    mine = folder_of(request_) / "0.png"
    before = mine.read_bytes()
    with pytest.raises(UsageError, match="exists and is no crop sheet"):
        write_crop_sheet(plan, mine)
    assert mine.read_bytes() == before
