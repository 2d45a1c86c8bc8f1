"""Pictures that are cut and coloured by chance, in every step anew."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_runs import stop_at, with_settings

from clora_ext import Request, add_concept
from clora_ext.data import covering, cut_out, varied_colours
from clora_ext.errors import Cancelled
from clora_ext.families.latent.model import LatentDiffusion

WAYS: list[dict[str, Any]] = [
    {"random_crop": True, "resolution": 24},
    {"color_aug": True},
    {"random_crop": True, "color_aug": True, "flip_aug": True, "shuffle_caption": True, "resolution": 24},
]


@pytest.mark.long
@pytest.mark.parametrize("values", WAYS, ids="-".join)
def test_a_run_that_is_stopped_sees_the_same_pictures(
    request_: Request, tmp_path: Path, values: dict[str, Any]
) -> None:
    wished = with_settings(request_, **values)
    straight = add_concept(wished).content_hash
    stopped = replace(wished, project=tmp_path / "stopped")
    with pytest.raises(Cancelled):
        add_concept(stopped, stop_at(3))
    assert add_concept(stopped).content_hash == straight
    still = {name: value for name, value in values.items() if name == "resolution"}
    plain = replace(with_settings(request_, **still), project=tmp_path / "plain")
    assert add_concept(plain).content_hash != straight


def test_a_cut_lies_anywhere_in_the_picture_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    middle = covering(100, 40, 20, 20)
    cuts = [middle.elsewhere(100, 40, Random(seed)) for seed in range(500)]
    lefts = [cut.box[0] for cut in cuts]
    assert min(lefts) < 3
    assert max(lefts) > 57
    assert all(0 <= cut.box[0] <= cut.box[2] - 40 + 1e-9 <= 60 + 1e-9 for cut in cuts)
    assert all(cut.box[3] - cut.box[1] == pytest.approx(40) for cut in cuts)
    assert all(cut.corner[0] == round(cut.box[0] / 2) for cut in cuts)
    assert all(cut.corner[0] + cut.mirrored_corner[0] == 30 for cut in cuts)
    ramp = Image.fromarray(np.tile(np.arange(100, dtype=np.uint8), (40, 1))).convert("RGB")
    brightness = {round(cut.box[0]): np.asarray(cut_out(ramp, cut)).mean() for cut in cuts}
    assert all(abs(mean - (left + 19.5)) < 1.5 for left, mean in brightness.items())


def test_colours_change_a_little_in_a_third_of_the_steps() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8))
    changed = [varied_colours(image, Random(seed)) for seed in range(600)]
    kinds = Counter("same" if one is image else "changed" for one in changed)
    assert 160 < kinds["changed"] < 240
    differences = [
        np.abs(np.asarray(one, dtype=int) - np.asarray(image, dtype=int)).mean() for one in changed
    ]
    assert 2 < max(differences) < 40


@pytest.mark.long
def test_only_what_changes_is_encoded_in_every_step(
    request_: Request, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []
    encode = LatentDiffusion.encode_images
    monkeypatch.setattr(
        LatentDiffusion, "encode_images", lambda model, pixels: asked.append(1) or encode(model, pixels)
    )
    add_concept(with_settings(request_, flip_aug=True))
    still = len(asked)
    add_concept(replace(with_settings(request_, color_aug=True), project=tmp_path / "moving"))
    steps, batch, pictures = 6, 2, 3
    assert pictures < still <= 2 * pictures  # as they are and mirrored, those that are shown so
    assert len(asked) - still == pictures + steps * batch  # as they are, to measure
