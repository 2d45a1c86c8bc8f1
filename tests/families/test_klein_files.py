"""What is read of Flux.2 klein's files alone: names that ComfyUI writes, and parts of its other size."""

from pathlib import Path
from typing import Any

import pytest
from published_files import hollow_file, published_file, published_shapes
from safetensors.torch import load_file, save_file
from tiny_flow import modules, write_tiny_flow

from clora_ext import families
from clora_ext.errors import CheckpointError
from clora_ext.families.place import find_place
from clora_ext.formats.composed import open_model
from clora_ext.formats.flow_keys import FLOW_PREFIX
from clora_ext.formats.models import model_header


def test_names_of_norms_that_comfyui_writes_are_read(tmp_path: Path) -> None:
    """In the transformer, and in the VAE the convolutions between the halves."""
    shapes = {FLOW_PREFIX + name: shape for name, shape in published_shapes("flux2_klein_4b").items()}
    shapes |= {f"vae.{name}": shape for name, shape in published_shapes("flux2_vae").items()}
    parts = [(".scale", ".weight"), ("vae.encoder.quant", "vae.quant"), ("vae.decoder.post", "vae.post")]
    renamed = dict(shapes)
    for ours, theirs in parts:
        renamed = {name.replace(ours, theirs): shape for name, shape in renamed.items()}
    header = model_header(hollow_file(tmp_path / "x.safetensors", renamed))
    assert set(renamed) != set(shapes)
    assert {name: info.shape for name, info in header.tensors.items()} == shapes


def test_norms_are_vectors_that_a_lora_may_change(tmp_path: Path) -> None:
    header = model_header(published_file(tmp_path / "x.safetensors", "flux2_klein_4b"))
    parameters = families.load("flux2_klein_4b").parameters(header)
    norms = {one.original for one in parameters if one.layout == "vector"}
    assert "double_blocks.0.img_attn.norm.query_norm" in norms


def test_companions_of_other_models_do_not_fit(tmp_path: Path) -> None:
    klein = published_file(tmp_path / "diffusion_models" / "klein.safetensors", "flux2_klein_9b")
    for name in ("qwen_3_4b", "qwen_3_8b"):
        published_file(tmp_path / "text_encoders" / f"{name}.safetensors", name.replace("n_", "n", 1))
    for name, golden in (("flux2-vae", "flux2_vae"), ("ae", "flux1_vae")):
        published_file(tmp_path / "vae" / f"{name}.safetensors", golden, dtype="F32")
    found = find_place(klein, {}).companions
    assert {name: file.name for name, file in found.items()} == {
        "text_encoder": "qwen_3_8b.safetensors",
        "vae": "flux2-vae.safetensors",
    }
    wrong = {"text_encoder": "qwen_3_4b.safetensors", "vae": "ae.safetensors"}
    words = {"text_encoder": "reads text of width 12288", "vae": "running_mean"}
    for component, name in wrong.items():
        folder = "vae" if component == "vae" else "text_encoders"
        with pytest.raises(CheckpointError, match=words[component]):
            find_place(klein, {component: tmp_path / folder / name})


def test_a_vae_is_read_by_diffusers_names_and_without_a_count(tmp_path: Path) -> None:
    files = write_tiny_flow(tmp_path, kind="flux2_klein_4b")
    wanted = find_place(files.transformer, {}).header()
    module: Any = modules(kind="flux2_klein_4b")["vae"]
    module.save_pretrained(tmp_path / "folder")
    other = tmp_path / "folder" / "diffusion_pytorch_model.safetensors"
    assert find_place(files.transformer, {"vae": other}).header().tensors.keys() == wanted.tensors.keys()
    stored = load_file(files.vae)
    del stored["bn.num_batches_tracked"]
    save_file(stored, files.vae)
    place = find_place(files.transformer, {})
    families.load("flux2_klein_4b").check_loading(place.header(), place.path)


def test_a_folder_of_the_klein_that_edits_is_refused(tmp_path: Path) -> None:
    modules(kind="flux2_klein_4b")["vae"].save_pretrained(tmp_path / "vae")  # type: ignore[operator]
    (tmp_path / "model_index.json").write_text('{"_class_name": "Flux2KleinKVPipeline"}', encoding="utf-8")
    with pytest.raises(CheckpointError, match="Flux2KleinKVPipeline"):
        open_model(tmp_path)
