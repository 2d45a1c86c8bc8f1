"""Pictures in parts: how many are sampled at once is a matter of memory, not of what they show."""

from typing import Any

import numpy as np
import pytest
from tiny_flow import write_everything
from tiny_model import write_tiny_model

from clora_ext import families
from clora_ext.config.precision import pick_precision
from clora_ext.families import drawing
from clora_ext.formats.checkpoint import Checkpoint


@pytest.fixture(scope="module", params=["sd1", "z_image"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    file = tmp_path_factory.mktemp("base") / "tiny.safetensors"
    write = write_tiny_model if request.param == "sd1" else write_everything
    return families.load(request.param).load(Checkpoint(write(file)), pick_precision())


def draw(model: Any, told: list[tuple[int, int]]) -> np.ndarray:
    images = model.sample(
        "a dog", negative="", seeds=(5, 6, 7, 8, 9), steps=3, guidance=4.0, size=32,
        on_step=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    return np.stack([np.asarray(image, dtype=np.int16) for image in images])


def test_pictures_drawn_in_parts_are_those_drawn_together(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    together = draw(model, told)
    assert told == [(1, 3), (2, 3), (3, 3)]
    monkeypatch.setattr(drawing, "_PIXELS_AT_ONCE", 2 * 32 * 32)
    told.clear()
    parts = draw(model, told)
    assert told == [(step, 9) for step in range(1, 10)]
    assert np.abs(together - parts).max() <= 1
    assert np.abs(parts[0] - parts[1]).max() > 10
