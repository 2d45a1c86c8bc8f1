"""Trainings whose pictures another VAE encodes, whatever its names; the model keeps its own."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from learned import Learned
from safetensors.torch import load_file, save_file
from small_runs import folder_of, with_settings, with_source

from clora_ext import Project, Request, add_concept, families, make_plan
from clora_ext.config.precision import pick_precision
from clora_ext.errors import CloraError, UsageError
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.composed import open_model
from clora_ext.formats.header import read_header

PREFIX = "first_stage_model."


@pytest.fixture
def whole(request_: Request, tmp_path: Path) -> Path:
    """A model with another VAE."""
    assert request_.base is not None
    tensors = load_file(request_.base)
    for name in tensors:
        if name.startswith(f"{PREFIX}encoder"):
            tensors[name] = tensors[name] * 1.1
    file = tmp_path / "whole.safetensors"
    save_file(tensors, file, dict(read_header(request_.base).metadata))
    return file


def stored(whole: Path, folder: Path) -> list[Path]:
    """The same VAE as a whole model has it, by the original names alone, and by diffusers' names."""
    tensors = {name.removeprefix(PREFIX): one for name, one in load_file(whole).items() if PREFIX in name}
    save_file(tensors, folder / "original.safetensors")
    checkpoint = open_model(whole)
    model = families.detect(checkpoint.header, checkpoint.path).load(checkpoint, pick_precision())
    state = {name: one.contiguous() for name, one in model.picture_encoder.state_dict().items()}
    save_file(state, folder / "diffusers.safetensors")
    assert set(state) != set(tensors)
    return [whole, folder / "original.safetensors", folder / "diffusers.safetensors"]


@pytest.mark.long
def test_whatever_its_names_it_encodes_and_is_not_folded(
    request_: Request, whole: Path, tmp_path: Path, learned: Learned
) -> None:
    own = learned(replace(request_, project=tmp_path / "own"))
    made = []
    for file in stored(whole, tmp_path):
        asked = with_source(replace(request_, project=tmp_path / f"by_{file.stem}"), vae=file)
        made.append(add_concept(asked))
    assert len({one.content_hash for one in made}) == 1
    assert made[0].content_hash != own.content_hash
    assert request_.base is not None
    base, taught = Checkpoint(request_.base), Checkpoint(made[0].checkpoint)
    for name in base.names:
        if name.startswith(PREFIX):
            assert torch.equal(base.read(name), taught.read(name))
    record = Project.open(tmp_path / "by_original").concepts[0]
    assert record.setting("vae") == "original.safetensors"
    with pytest.raises(UsageError, match=r"taught with another .*vae"):
        make_plan(with_settings(replace(request_, project=tmp_path / "by_original")))


def test_what_is_no_vae_for_the_model_is_refused_before_anything_starts(
    request_: Request, whole: Path, tmp_path: Path
) -> None:
    tensors = load_file(stored(whole, tmp_path)[1])
    less = {name: one for name, one in tensors.items() if "decoder.conv_out" not in name}
    save_file(less, tmp_path / "less.safetensors")
    name = "encoder.conv_in.weight"
    save_file(tensors | {name: tensors[name][:1].clone()}, tmp_path / "narrow.safetensors")
    save_file({"x.lora_up.weight": torch.ones(1)}, tmp_path / "lora.safetensors")
    refused = {
        tmp_path / "less.safetensors": "conv_out",
        tmp_path / "narrow.safetensors": "conv_in",
        tmp_path / "lora.safetensors": "holds no VAE",
        tmp_path / "missing.safetensors": "missing.safetensors",
        folder_of(request_): "",
    }
    for file, words in refused.items():
        with pytest.raises(CloraError) as caught:
            make_plan(with_source(request_, vae=file))
        assert words in caught.value.message
        assert str(file) in caught.value.message
        assert caught.value.fix
    assert not request_.project.exists()
