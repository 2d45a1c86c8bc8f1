"""On a processor a picture is encoded when the first step shows it, and the same is learned."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_runs import folder_of, pictures, stop_at, with_settings, with_source
from torch import Tensor

from clora_ext import Request, add_concept
from clora_ext.config.settings import MaskSettings
from clora_ext.data import Subset
from clora_ext.errors import Cancelled, DatasetError
from clora_ext.events import Event, Stage, TrainStep
from clora_ext.families.latent.model import LatentDiffusion
from clora_ext.runs import begin_training
from clora_ext.runs.encode import encode_pictures

PICTURES, STEPS = 5, 8


@pytest.fixture
def many(request_: Request, tmp_path: Path) -> Request:
    """One picture in a step, and not many steps more than pictures."""
    asked = with_source(request_, folder=pictures(tmp_path / "cat_images", count=PICTURES))
    return with_settings(asked, strategy="merge", batch_size=1, steps=STEPS, sheet="none")


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """All that the VAE was asked so far."""
    seen: list[Tensor] = []
    encode = LatentDiffusion.encode_images

    def counting(model: LatentDiffusion, pixels: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(pixels)
        return encode(model, pixels)

    monkeypatch.setattr(LatentDiffusion, "encode_images", counting)
    return seen


@pytest.mark.long
@pytest.mark.parametrize(
    "values",
    [{}, {"flip_aug": True}, {"gradient_accumulation_steps": 2}, {"validation_split": 0.2}],
    ids=lambda values: "-".join(values) or "plain",
)
def test_no_step_waits_for_pictures_of_others_and_the_same_is_learned(
    many: Request, encoded: list[Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: Any
) -> None:
    asked, by_step = with_settings(many, **values), []

    def count(event: Event) -> None:
        if isinstance(event, TrainStep):
            by_step.append(len(encoded))

    made = add_concept(asked, count).content_hash
    each, apart = values.get("gradient_accumulation_steps", 1), int("validation_split" in values)
    assert by_step[0] == each + apart
    assert all(after - before <= each for before, after in pairwise(by_step))
    shown = 2 * PICTURES if "flip_aug" in values else PICTURES
    assert PICTURES <= len(encoded) <= shown
    assert len({pixels.numpy().tobytes() for pixels in encoded}) == len(encoded)  # none twice

    def before(*arguments: Any, **rest: Any) -> Any:
        return encode_pictures(*arguments, **{**rest, "at_once": True})

    monkeypatch.setattr(begin_training, "encode_pictures", before)
    encoded.clear()
    by_step.clear()
    assert add_concept(replace(asked, project=tmp_path / "at once"), count).content_hash == made
    assert set(by_step) == {shown}


@pytest.mark.long
def test_a_stopped_run_encodes_what_it_shows_from_there_and_learns_the_same(
    many: Request, encoded: list[Tensor], tmp_path: Path
) -> None:
    made = add_concept(many).content_hash
    stopped = replace(many, project=tmp_path / "stopped")
    encoded.clear()
    with pytest.raises(Cancelled):
        add_concept(stopped, stop_at(2))
    assert len(encoded) == 2
    assert add_concept(stopped).content_hash == made


def test_the_time_of_a_step_is_without_what_is_encoded_once(
    many: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, seconds = [0.0], []
    encode = LatentDiffusion.encode_images

    def slowly(model: LatentDiffusion, pixels: Tensor) -> tuple[Tensor, Tensor]:
        clock[0] += 1000
        return encode(model, pixels)

    def note(event: Event) -> None:
        if isinstance(event, TrainStep):
            seconds.append(event.seconds)

    monkeypatch.setattr(LatentDiffusion, "encode_images", slowly)
    monkeypatch.setattr("clora_ext.training.loop.time.monotonic", lambda: clock[0])
    add_concept(many, note)
    assert seconds == [0.0] * STEPS


def test_a_mask_that_counts_nowhere_is_refused_before_the_first_step(request_: Request) -> None:
    folder = folder_of(request_)
    with Image.open(folder / "2.png") as picture:
        nearly = np.zeros(picture.size[::-1], dtype=np.uint8)
    nearly[:, 0] = 255  # a long picture's sides are cut off
    Image.fromarray(nearly).save(folder / "2-masklabel.png")
    masked = Subset(folder, masks=MaskSettings(masked_loss=True))
    asked = with_settings(with_source(request_, subsets=(masked,)), batch_size=1, resolution=24)
    stages = []

    def note(event: Event) -> None:
        if isinstance(event, Stage):
            stages.append(event.name)

    with pytest.raises(DatasetError, match="counts nowhere"):
        add_concept(asked, note)
    assert stages[-1] == "encode"
