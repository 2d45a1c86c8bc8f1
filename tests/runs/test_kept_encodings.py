"""What encoders say, kept from run to run: nothing is asked twice, nothing old or broken is believed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from small_runs import folder_of, with_settings, with_source
from torch import Tensor

from clora_ext import Request, add_concept
from clora_ext.config.settings import MaskSettings
from clora_ext.data import Subset
from clora_ext.errors import StorageError, TrainingError
from clora_ext.families.latent.model import LatentDiffusion
from clora_ext.formats.header import read_header
from clora_ext.formats.tensor_cache import TensorCache


class Asked:
    """Counts how often encoders are asked for the training's pictures and captions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pictures: list[Tensor] = []
        self.captions: list[str] = []
        encode, condition = LatentDiffusion.encode_images, LatentDiffusion.condition

        def encode_images(model: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
            self.pictures.append(pixels)
            return encode(model, pixels)

        def conditions(model: Any, prompts: Any, cuts: Any) -> Any:
            self.captions += prompts
            return condition(model, prompts, cuts)

        monkeypatch.setattr(LatentDiffusion, "encode_images", encode_images)
        monkeypatch.setattr(LatentDiffusion, "condition", conditions)

    def by(self, request: Request) -> tuple[int, int, str]:
        """How many of each a run asks, and what it makes."""
        self.pictures, self.captions = [], []
        made = add_concept(request).content_hash
        return len(self.pictures), len(self.captions), made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


@pytest.fixture
def anew(request_: Request, tmp_path: Path) -> Callable[..., Request]:
    """The same pictures for another project, with the cache."""
    numbers = iter(range(100))

    def make(**settings: Any) -> Request:
        project = tmp_path / f"project{next(numbers)}"
        kept = with_source(replace(request_, project=project), cache_dir=tmp_path / "cache")
        return with_settings(kept, **settings)

    return make


@pytest.mark.long
def test_nothing_is_encoded_twice_and_the_model_is_the_same_bit_for_bit(
    asked: Asked, anew: Callable[..., Request]
) -> None:
    plain_pictures, plain_captions, plain = asked.by(with_source(anew(), cache_dir=None))
    first_pictures, first_captions, first = asked.by(anew())
    again_pictures, again_captions, again = asked.by(anew())
    assert plain == first == again
    assert (first_pictures, first_captions) == (plain_pictures, plain_captions)
    assert again_pictures == first_pictures - 3
    assert again_captions == first_captions - 3


@pytest.mark.long
def test_whatever_changes_is_asked_anew(
    asked: Asked, anew: Callable[..., Request], request_: Request
) -> None:
    folder = folder_of(request_)
    asked.by(anew())
    pictures, captions, _ = asked.by(anew())

    (folder / "0.txt").write_text("sks dog asleep", encoding="utf-8")
    assert asked.by(anew())[:2] == (pictures, captions + 1)
    with Image.open(folder / "1.png") as image:
        image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(folder / "1.png")
    assert asked.by(anew())[:2] == (pictures + 1, captions)
    assert asked.by(anew(clip_skip=2))[:2] == (pictures, captions + 3)
    assert asked.by(anew(flip_aug=True))[0] == pictures + 2  # in so few steps one is never shown mirrored
    assert asked.by(anew(resolution=48))[0] == pictures + 3


@pytest.mark.long
def test_another_vae_is_asked_anew(asked: Asked, anew: Callable[..., Request], tmp_path: Path) -> None:
    asked.by(anew())
    pictures, captions, _ = asked.by(anew())
    request = anew()
    assert request.base is not None
    tensors = load_file(request.base)
    name = next(name for name in tensors if "encoder.conv_in.weight" in name)
    tensors[name] += 0.01
    save_file(tensors, tmp_path / "other.safetensors", dict(read_header(request.base).metadata))
    found = asked.by(replace(request, base=tmp_path / "other.safetensors"))
    assert found[:2] == (pictures + 3, captions)


@pytest.mark.long
def test_a_mask_counts_as_it_is_now(anew: Callable[..., Request], request_: Request) -> None:
    folder = folder_of(request_)
    with Image.open(folder / "0.png") as image:
        size = image.size
    made = []
    for left in (0, 20):
        mask = Image.new("L", size, 255)
        mask.paste(0, (left, 0, left + 10, 40))
        mask.save(folder / "0-masklabel.png")
        subset = Subset(folder, masks=MaskSettings(masked_loss=True))
        made.append(add_concept(with_source(anew(masked_loss=True), subsets=(subset,))).content_hash)
    assert made[0] != made[1]


def test_what_is_damaged_is_computed_anew(tmp_path: Path) -> None:
    cache = TensorCache(tmp_path / "cache")
    value = {"x": torch.arange(4.0)}
    cache.get({"of": 1}, "it", lambda: value)
    (file,) = (tmp_path / "cache").rglob("*.safetensors")
    whole = file.read_bytes()
    for damaged in (b"", whole[:40], b"\0" * len(whole), whole[:-16] + b"\xff" * 16):
        file.write_bytes(damaged)
        found = cache.get({"of": 1}, "it", lambda: value)
        torch.testing.assert_close(found, value)
        assert file.read_bytes() == whole
    assert len(list((tmp_path / "cache").rglob("*"))) == 2  # no half file is left


def test_values_that_are_not_finite_are_not_kept(tmp_path: Path) -> None:
    cache = TensorCache(tmp_path / "cache")
    with pytest.raises(TrainingError, match="what the VAE gave is not finite"):
        cache.get({}, "what the VAE gave", lambda: {"x": torch.tensor([1.0, float("nan")])})
    assert not (tmp_path / "cache").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file", encoding="utf-8")
    with pytest.raises(StorageError, match="cache"):
        TensorCache(tmp_path / "cache").get({}, "it", lambda: {"x": torch.ones(1)})
