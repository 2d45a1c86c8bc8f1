"""sd-scripts' buckets: numbers of its version 0.11.1 beside clora's."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from clora_ext.data.kohya_buckets import KohyaBuckets
from clora_ext.errors import UsageError

HERE = Path(__file__).parent
LISTS: list[dict[str, Any]] = json.loads((HERE / "kohya_bucket_lists.json").read_text(encoding="utf-8"))
with (HERE / "kohya_bucket_choice.csv").open(encoding="utf-8", newline="") as _file:
    CHOICES = list(csv.DictReader(_file))


def pair(text: str) -> tuple[int, int]:
    """Two numbers of a table."""
    first, second = text.replace("x", ",").split(",")
    return int(first), int(second)


@pytest.mark.parametrize("case", LISTS, ids=lambda case: "-".join(map(str, case["resolution"])))
def test_the_buckets_are_sd_scripts(case: dict[str, Any]) -> None:
    buckets = KohyaBuckets(case["min"], case["max"], case["step"])
    resolution = (case["resolution"][0], case["resolution"][1])
    if "error" in case:
        with pytest.raises(UsageError, match=r"(above|below) the resolution"):
            buckets.sizes(resolution)
        return
    found = buckets.sizes(resolution)
    assert [list(size) for size in found] == case["buckets"]
    assert len(found) == case["count"]


def test_the_choices_are_sd_scripts() -> None:
    assert len(CHOICES) == 576
    failed = 0
    for row in CHOICES:
        buckets = KohyaBuckets(
            int(row["min"]), int(row["max"]), int(row["step"]), no_upscale=row["no_upscale"] == "True"
        )
        picture, resolution = pair(row["picture"]), pair(row["resolution"])
        if row["note"].startswith("FAILS"):
            failed += 1
            with pytest.raises(UsageError, match="fits no bucket"):
                buckets.cut(picture, resolution)
            continue
        cut = buckets.cut(picture, resolution)
        assert cut.size == pair(row["bucket"]), row
        scaled, (left, top) = pair(row["resized"]), pair(row["trim_left_top"])
        across, down = scaled[0] / picture[0], scaled[1] / picture[1]
        assert cut.box == pytest.approx(
            (left / across, top / down, (left + cut.size[0]) / across, (top + cut.size[1]) / down)
        ), row
        told = [float(number) for number in row["crop_ltrb"].split(",")]
        assert list(cut.corner) == told[:2], row
        assert cut.mirrored_corner[0] == pytest.approx(float(row["flipped_crop_left"]), abs=1e-3), row
    assert failed
