"""A model whose file is a transformer alone goes through every node; its other files are ComfyUI's own."""

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from calling_nodes import dataset, same, taught
from fake_comfy import Comfy
from safetensors.torch import save_file
from tiny_flow import FlowFiles, modules, write_everything, write_tiny_flow

from clora_ext import Project
from clora_ext.errors import BaseChanged, CheckpointError, UsageError

NAME = "diffusion_models/z_image_tiny.safetensors"
KLEIN = "diffusion_models/flux_klein_base_tiny.safetensors"
ANIMA = "diffusion_models/anima_base_tiny.safetensors"
KREA = "diffusion_models/krea2_raw_tiny.safetensors"
FAST = {"strategy": "merge", "resolution": 16, "steps": 2}


@pytest.fixture
def files(comfy: Comfy) -> FlowFiles:
    return write_tiny_flow(comfy.base / "models")


def options(pack: Any, name: str) -> list[str]:
    (found,) = [one for one in pack.StartProject.define_schema().inputs if one.id == name]
    return list(found.options["options"])


def test_transformers_are_listed_behind_checkpoints_and_their_parts_beside(
    pack: Any, files: FlowFiles
) -> None:
    assert options(pack, "checkpoint") == ["tiny.safetensors", NAME, "clora's built-in demo model"]
    assert options(pack, "text_encoder") == ["the one that fits", "qwen_3_4b.safetensors"]
    assert options(pack, "vae") == ["the one that fits", "ae.safetensors"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "name", "title", "clip_type", "layers"),
    [
        ("z_image", NAME, "Z-Image", "lumina2", 10),
        ("flux2_klein_4b", KLEIN, "Flux.2 klein 4B", "flux2", 20),
        pytest.param("anima", ANIMA, "Anima", "stable_diffusion", 20, marks=pytest.mark.slow),
        pytest.param("krea2", KREA, "Krea 2", "krea2", 16, marks=pytest.mark.slow),
    ],
)
def test_it_is_taught_undone_and_written(
    pack: Any, comfy: Comfy, kind: str, name: str, title: str, clip_type: str, layers: int
) -> None:
    files = write_tiny_flow(comfy.base / "models", kind=kind)
    project = pack.StartProject.execute(name, "mine").args[3]
    assert project.clip == ("clip", str(files.text_encoder), clip_type)
    assert project.vae.sd == ("weights", str(files.vae))
    model, clip, vae, first, triggers, sheet, _ = taught(pack, project, **FAST)
    assert (clip, vae, triggers, sheet.shape[0]) == (project.clip, project.vae, "sks dog", 1)
    saved = Project.open(first.folder).model_place().open()
    changed = [tensor for tensor in model.weights if tensor in model.patches]
    assert len(changed) == layers
    for tensor, weight in model.effective().items():
        assert torch.equal(weight, saved.read(f"model.{tensor}")), tensor
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
    with pytest.raises(UsageError, match=f"cannot load {re.escape(title)}"):
        pack.SaveCheckpoint.execute(second, "out", "a1111", "as stored")
    undone = pack.Undo.execute(second, 1).args[3]
    assert Project.open(undone.folder).number == 1
    again = pack.LoadModel.execute("mine").args
    assert f"({kind})" in pack.ProjectInfo.execute(again[3]).args[0]
    assert again[1:3][0] == project.clip


def test_a_language_model_that_sees_pictures_is_loaded_as_the_text_encoder_of_krea_2(
    pack: Any, comfy: Comfy
) -> None:
    files = write_tiny_flow(comfy.base / "models", kind="krea2")
    project = pack.StartProject.execute(KREA, "mine", variant="raw").args[3]
    assert project.clip == ("clip", str(files.text_encoder), "krea2")
    assert project.vae.sd == ("weights", str(files.vae))


@pytest.mark.long
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


@pytest.mark.long
def test_a_klein_by_diffusers_names_is_taught_as_by_its_authors(pack: Any, comfy: Comfy) -> None:
    files = write_tiny_flow(comfy.base / "models", kind="flux2_klein_4b")
    state = modules(kind="flux2_klein_4b")["transformer"].bfloat16().state_dict()
    save_file(state, files.transformer.with_name("flux_klein_base_other.safetensors"))
    models = []
    for name in ("tiny", "other"):
        listed = f"diffusion_models/flux_klein_base_{name}.safetensors"
        project = pack.StartProject.execute(listed, name).args[3]
        models.append(taught(pack, project, **FAST)[0])
    assert len(models[1].patches) == 20
    assert same(models[0].effective(), models[1].effective())


@pytest.mark.long
def test_a_variant_that_is_said_suits_the_settings(pack: Any, files: FlowFiles) -> None:
    write_tiny_flow(files.transformer.parents[1], kind="flux2_klein_4b")
    known = ["aesthetic", "base", "distilled", "kv", "raw", "turbo"]
    assert options(pack, "variant") == ["as its files say", *known]
    cases = [
        (NAME, "as its files say", 20), (NAME, "turbo", 8), (KLEIN, "as its files say", 20),
        (KLEIN, "distilled", 4),
    ]  # fmt: skip
    for number, (name, said, steps) in enumerate(cases):
        project = pack.StartProject.execute(name, f"mine {number}", variant=said).args[3]
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
