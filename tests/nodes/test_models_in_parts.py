"""A model whose file is a transformer alone goes through every node; its other files are ComfyUI's own."""

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from calling_nodes import dataset, taught
from fake_comfy import Comfy
from tiny_flow import FlowFiles, write_everything, write_tiny_flow

from clora_ext import Project
from clora_ext.errors import BaseChanged, CheckpointError, UsageError

NAME = "diffusion_models/z_image_tiny.safetensors"
FAST = {"strategy": "merge", "resolution": 16, "steps": 2}


@pytest.fixture
def files(comfy: Comfy) -> FlowFiles:
    return write_tiny_flow(comfy.base / "models")


@pytest.fixture
def project(pack: Any, files: FlowFiles) -> Any:
    return pack.StartProject.execute(NAME, "mine").args[3]


def options(pack: Any, name: str) -> list[str]:
    (found,) = [one for one in pack.StartProject.define_schema().inputs if one.id == name]
    return list(found.options["options"])


def test_transformers_are_listed_behind_checkpoints_and_their_parts_beside(
    pack: Any, files: FlowFiles
) -> None:
    assert options(pack, "checkpoint") == ["tiny.safetensors", NAME, "clora's built-in demo model"]
    assert options(pack, "text_encoder") == ["the one that fits", "qwen_3_4b.safetensors"]
    assert options(pack, "vae") == ["the one that fits", "ae.safetensors"]


def test_it_is_taught_undone_and_written(pack: Any, comfy: Comfy, project: Any, files: FlowFiles) -> None:
    assert project.clip == ("clip", str(files.text_encoder), "lumina2")
    assert project.vae.sd == ("weights", str(files.vae))
    model, clip, vae, first, triggers, sheet, _ = taught(pack, project, **FAST)
    assert (clip, vae, triggers, sheet.shape[0]) == (project.clip, project.vae, "sks dog", 1)
    saved = Project.open(first.folder).model_place().open()
    changed = [name for name in model.weights if name in model.patches]
    assert len(changed) == 10
    for name, weight in model.effective().items():
        assert torch.equal(weight, saved.read(f"model.{name}")), name
    second = taught(pack, first, seed=1, **FAST)[3]
    image, told = pack.ForgettingReport.execute(second).args
    assert image.shape[0] == 1
    assert told.startswith("1. sks dog")
    assert pack.Draw.execute(second, "sks dog", 1, 1, 1.0, 0, 16).args[0].shape == (1, 16, 16, 3)
    (path,) = pack.SaveCheckpoint.execute(second, "out", "comfyui", "as stored").args
    assert Path(path) == comfy.base / "models" / "diffusion_models" / "out.safetensors"
    (path,) = pack.SaveCheckpoint.execute(second, "out", "comfyui", "as stored", all_in_one=True).args
    assert Path(path) == comfy.base / "models" / "checkpoints" / "out.safetensors"
    assert Path(pack.ExportLora.execute(second, "out", 4).args[0]).is_file()
    with pytest.raises(UsageError, match="cannot load Z-Image"):
        pack.SaveCheckpoint.execute(second, "out", "a1111", "as stored")
    undone = pack.Undo.execute(second, 1).args[3]
    assert Project.open(undone.folder).number == 1
    again = pack.LoadModel.execute("mine").args
    assert "(z_image)" in pack.ProjectInfo.execute(again[3]).args[0]
    assert again[1:3][0] == project.clip


def test_the_parts_that_are_chosen_are_taken_and_kept(pack: Any, comfy: Comfy, files: FlowFiles) -> None:
    other = write_tiny_flow(comfy.base / "other", seed=3)
    files.vae.rename(files.vae.with_name("a.safetensors"))
    other.vae.rename(files.vae.with_name("b.safetensors"))
    with pytest.raises(
        CheckpointError, match=r"several files may be the VAE.*a\.safetensors, b\.safetensors"
    ):
        pack.StartProject.execute(NAME, "mine")
    chosen = pack.StartProject.execute(NAME, "mine", vae="b.safetensors").args[3]
    assert chosen.vae.sd[1].endswith("b.safetensors")
    shutil.copy(files.text_encoder, files.vae.with_name("text.safetensors"))
    with pytest.raises(CheckpointError, match="holds no VAE"):
        pack.StartProject.execute(NAME, "mine", vae="text.safetensors")
    after = taught(pack, chosen, **FAST)[3]
    base = Project.open(after.folder).base
    assert base is not None
    assert base.companions["vae"].name == "b.safetensors"
    with pytest.raises(BaseChanged, match="is not the vae"):
        pack.StartProject.execute(NAME, "mine", vae="a.safetensors")
    assert pack.StartProject.execute(NAME, "mine").args[3].vae.sd[1].endswith("b.safetensors")
    moved = files.vae.with_name("c.safetensors")
    files.vae.with_name("b.safetensors").rename(moved)
    with pytest.raises(CheckpointError, match="is gone"):
        pack.LoadModel.execute("mine")
    found = pack.StartProject.execute(NAME, "mine", vae="c.safetensors").args[3]
    assert found.vae.sd[1] == str(moved)
    assert taught(pack, found, seed=1, **FAST)[3].triggers.splitlines() == ["sks dog", "zwz dog"]


def test_one_file_of_everything_is_a_checkpoint(pack: Any, comfy: Comfy) -> None:
    write_everything(comfy.base / "models" / "checkpoints" / "all.safetensors")
    project = pack.StartProject.execute("all.safetensors", "mine").args[3]
    _, clip, *_ = taught(pack, project, **FAST)
    assert clip == ("clip", str(comfy.base / "models" / "checkpoints" / "all.safetensors"))


def test_a_variant_that_is_said_suits_the_settings(pack: Any, files: FlowFiles) -> None:
    assert options(pack, "variant") == ["as its files say", "base", "turbo"]
    for said, steps in (("as its files say", 20), ("turbo", 8)):
        project = pack.StartProject.execute(NAME, said, variant=said).args[3]
        record = Project.open(taught(pack, project, **FAST)[3].folder).concepts[0]
        assert record.settings["sampling"]["sample_steps"] == steps


def test_what_is_nowhere_is_named(pack: Any, files: FlowFiles) -> None:
    files.text_encoder.unlink()
    with pytest.raises(CheckpointError, match="no Qwen3-4B text encoder"):
        pack.StartProject.execute(NAME, "mine")


def test_an_older_comfyui_is_told_and_teaches_the_others(
    pack: Any, files: FlowFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    (models,) = [module for name, module in sys.modules.items() if name.endswith("comfyui_nodes.models")]
    monkeypatch.setattr(models, "__version__", "0.8.2")
    with pytest.raises(UsageError, match=re.escape("in ComfyUI 0.33 and newer; this is 0.8.2")):
        pack.StartProject.execute(NAME, "mine")
    assert pack.StartProject.execute("tiny.safetensors", "usual").args[3].model is not None
    assert dataset(pack).folder.is_dir()
