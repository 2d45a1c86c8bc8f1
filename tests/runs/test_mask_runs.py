"""Runs whose loss is weighed by masks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import folder_of, stop_at, with_settings

from clora_ext import Request, add_concept, make_plan
from clora_ext.errors import Cancelled


@pytest.fixture
def masked(request_: Request) -> Request:
    """Every picture has a mask, white on its left half."""
    for image in folder_of(request_).glob("*.png"):
        with Image.open(image) as picture:
            width, height = picture.size
        values = np.zeros((height, width), dtype=np.uint8)
        values[:, : width // 2] = 255
        Image.fromarray(values).save(image.with_name(f"{image.stem}_mask.png"))
    return with_settings(request_, masked_loss=True)


@pytest.mark.long
def test_a_masked_run_is_resumed_bit_for_bit_and_the_mask_counts(masked: Request, tmp_path: Path) -> None:
    straight = add_concept(masked).content_hash
    stopped = replace(masked, project=tmp_path / "stopped")
    with pytest.raises(Cancelled):
        add_concept(stopped, stop_at(3))
    assert add_concept(stopped).content_hash == straight
    ways = {
        "plain": {"masked_loss": False},
        "alike": {"normalize_masks": True},
        "mirrored": {"flip_aug": True},
    }
    found = {
        name: add_concept(replace(with_settings(masked, **values), project=tmp_path / name)).content_hash
        for name, values in ways.items()
    }
    assert len({straight, *found.values()}) == 4


def test_an_edited_mask_begins_anew(masked: Request) -> None:
    with pytest.raises(Cancelled):
        add_concept(masked, stop_at(3))
    assert make_plan(masked).resume_step == 3
    mask = next(folder_of(masked).glob("*_mask.png"))
    with Image.open(mask) as image:
        Image.new("L", image.size, 255).save(mask)
    assert make_plan(masked).resume_step == 0
