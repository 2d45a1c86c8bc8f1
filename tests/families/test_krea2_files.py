"""Krea 2: known by names and shapes among all others, with the configuration that is published."""

from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each
from diffusers import AutoencoderKLQwenImage, Krea2Transformer2DModel
from published_files import hollow_file, published_file, published_shapes
from tiny_flow import modules, write_everything, write_tiny_flow

from clora_ext import families
from clora_ext.config.settings import TargetSet
from clora_ext.errors import CheckpointError
from clora_ext.families.place import find_place
from clora_ext.families.variant import tell_variant
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.composed import open_model
from clora_ext.formats.flow_keys import FLOW_PREFIX, QWEN3VL_4B_PREFIX, krea2_table
from clora_ext.formats.models import model_header

FAMILY: Any = families.load("krea2")


def published(folder: Path) -> Path:
    """All files of the published model, as ComfyUI keeps them, without their weights."""
    published_file(folder / "text_encoders" / "qwen3vl_4b_bf16.safetensors", "qwen3vl_4b")
    published_file(folder / "vae" / "qwen_image_vae.safetensors", "qwen_image_vae")
    return published_file(folder / "diffusion_models" / "krea2_raw.safetensors", "krea2")


def plain(config: Any) -> dict[str, Any]:
    """A configuration of diffusers without what is its own."""
    found = {key: list(value) if isinstance(value, tuple) else value for key, value in config.items()}
    return {key: value for key, value in found.items() if not key.startswith("_")}


def test_a_published_file_is_krea_2_whatever_its_names(tmp_path: Path) -> None:
    def check(case: tuple[str, str]) -> None:
        layout, prefix = case
        header = model_header(published_file(tmp_path / "x.safetensors", "krea2" + layout, prefix=prefix))
        assert [one for one in families.names() if families.load(one).matches(header)] == ["krea2"]
        assert families.detect(header, tmp_path).architecture(header) == "krea-2"
        assert {key.removeprefix(FLOW_PREFIX): info.shape for key, info in header.tensors.items()} == (
            published_shapes("krea2")
        )

    check_each([("", ""), ("", FLOW_PREFIX), ("", "model."), ("_diffusers", "")], check)


def test_shapes_tell_the_published_configuration(tmp_path: Path) -> None:
    found = find_place(published(tmp_path), {})
    assert {name: file.name for name, file in found.companions.items()} == {
        "text_encoder": "qwen3vl_4b_bf16.safetensors", "vae": "qwen_image_vae.safetensors",
    }  # fmt: skip
    config = FAMILY.config(found.header(), found.path)
    with torch.device("meta"):
        wanted = plain(Krea2Transformer2DModel().config)
        vae = plain(AutoencoderKLQwenImage().config)
    assert config["transformer"] == wanted
    assert {key: vae[key] for key in config["vae"]} == config["vae"]
    text = config["text_encoder"]
    assert (text["num_hidden_layers"], text["hidden_size"], text["num_attention_heads"]) == (36, 2560, 32)
    assert FAMILY.size_multiple(found.header()) == 16
    FAMILY.check_loading(found.header(), found.path)


def test_every_tensor_is_one_parameter() -> None:
    with torch.device("meta"):
        table = krea2_table(Krea2Transformer2DModel().config)
    shapes, held = published_shapes("krea2"), {}
    for name, shape in published_shapes("krea2_diffusers").items():
        place = table.place(name)
        stored = shapes[place.tensor.removeprefix(FLOW_PREFIX)]
        assert stored == ((shape[0] * shape[1],) if place.flat else shape)
        assert table.to_diffusers(place.tensor) == name
        held[place.tensor.removeprefix(FLOW_PREFIX)] = name
    assert set(held) == set(shapes)


# As the transformer's authors and diffusers name the same parameter.
BY_HAND = {
    "transformer_blocks.27.attn.to_q.weight": "blocks.27.attn.wq.weight",
    "transformer_blocks.27.attn.to_k.weight": "blocks.27.attn.wk.weight",
    "transformer_blocks.27.attn.to_v.weight": "blocks.27.attn.wv.weight",
    "transformer_blocks.27.attn.to_gate.weight": "blocks.27.attn.gate.weight",
    "transformer_blocks.27.attn.to_out.0.weight": "blocks.27.attn.wo.weight",
    "transformer_blocks.0.attn.norm_k.weight": "blocks.0.attn.qknorm.knorm.scale",
    "transformer_blocks.0.ff.gate.weight": "blocks.0.mlp.gate.weight",
    "transformer_blocks.0.ff.up.weight": "blocks.0.mlp.up.weight",
    "transformer_blocks.0.norm2.weight": "blocks.0.postnorm.scale",
    "transformer_blocks.0.scale_shift_table": "blocks.0.mod.lin",
    "text_fusion.layerwise_blocks.1.ff.down.weight": "txtfusion.layerwise_blocks.1.mlp.down.weight",
    "text_fusion.refiner_blocks.0.norm1.weight": "txtfusion.refiner_blocks.0.prenorm.scale",
    "text_fusion.projector.weight": "txtfusion.projector.weight",
    "txt_in.norm.weight": "txtmlp.0.scale",
    "txt_in.linear_2.bias": "txtmlp.3.bias",
    "img_in.weight": "first.weight",
    "time_embed.linear_2.weight": "tmlp.2.weight",
    "time_mod_proj.bias": "tproj.1.bias",
    "final_layer.scale_shift_table": "last.modulation.lin",
    "final_layer.linear.weight": "last.linear.weight",
}


def test_parameters_stand_where_the_authors_put_them() -> None:
    with torch.device("meta"):
        table = krea2_table(Krea2Transformer2DModel().config)
    assert {name: table.place(name).tensor.removeprefix(FLOW_PREFIX) for name in BY_HAND} == BY_HAND
    assert [name for name in BY_HAND if table.place(name).flat] == ["transformer_blocks.0.scale_shift_table"]


def test_what_it_does_not_read_is_refused(tmp_path: Path) -> None:
    shapes = published_shapes("krea2")
    cases: list[tuple[dict[str, tuple[int, ...]], str]] = [
        ({"first.weight": (6144, 128)}, "edits pictures"),
        ({"blocks.0.attn.wk.weight": (1000, 6144)}, "1000 rows of keys"),
    ]

    def check(case: tuple[dict[str, tuple[int, ...]], str]) -> None:
        file = hollow_file(tmp_path / "x.safetensors", {**shapes, **case[0]})
        with pytest.raises(CheckpointError, match=case[1]):
            families.detect(model_header(file), file)

    check_each(cases, check)
    published_file(tmp_path / "x.safetensors", "krea2", dtype="F8_E4M3")
    with pytest.raises(CheckpointError, match="8 bits"):
        find_place(tmp_path / "x.safetensors", {})


def test_what_is_taught(tmp_path: Path) -> None:
    header = model_header(published_file(tmp_path / "x.safetensors", "krea2"))
    counts: dict[TargetSet, int] = {"attention": 28 * 5, "transformer": 28 * 8}
    for chosen, count in counts.items():
        found = FAMILY.targets(header, chosen, text_encoders=False)
        assert len(found) == count
        assert all(target.module.startswith("transformer_blocks.") for target in found)
    assert len(FAMILY.modules(header)) == 264
    keys = next(one for one in FAMILY.modules(header) if one.module == "transformer_blocks.3.attn.to_k")
    assert (keys.shape, keys.original) == ((1536, 6144), "blocks.3.attn.wk")


def test_a_language_model_of_the_same_shapes_that_sees_nothing_is_passed_over(tmp_path: Path) -> None:
    """Z-Image's has been taught other things; what tells them apart is what one sees pictures with."""
    krea = published(tmp_path)
    other = published_file(tmp_path / "text_encoders" / "qwen_3_4b.safetensors", "qwen3_4b")
    assert find_place(krea, {}).companions["text_encoder"].name == "qwen3vl_4b_bf16.safetensors"
    with pytest.raises(CheckpointError, match="sees no pictures"):
        find_place(krea, {"text_encoder": other})
    published_file(tmp_path / "vae" / "ae.safetensors", "flux1_vae", dtype="F32")
    with pytest.raises(CheckpointError, match=r"encoder\.conv1\.weight"):
        find_place(krea, {"vae": tmp_path / "vae" / "ae.safetensors"})


def test_what_it_sees_with_stands_beside_it_whatever_the_names(tmp_path: Path) -> None:
    files = write_tiny_flow(tmp_path, kind="krea2")
    found = {name for name in find_place(files.transformer, {}).header().tensors if "text_enc" in name}
    assert {name.removeprefix(QWEN3VL_4B_PREFIX).split(".")[0] for name in found} == {"model", "visual"}
    whole = write_everything(tmp_path / "x.safetensors", kind="krea2")
    assert found == {name for name in model_header(whole).tensors if "text_enc" in name}
    assert find_place(files.transformer, {"text_encoder": whole}).header().tensors.keys() == (
        model_header(whole).tensors.keys()
    )


def test_a_name_that_says_turbo_is_believed_and_advised() -> None:
    names = ("krea2_raw", "Krea-2-Turbo", "krea2_turbo_drawings", "my_model")
    told = [
        tell_variant(FAMILY.title, FAMILY.variants, Path(f"{name}.safetensors"), {}, None) for name in names
    ]
    found = [one for one in told if one is not None]
    assert [one.variant.name for one in found] == ["raw", "turbo", "turbo", "raw"]
    assert [bool(one.source) for one in found] == [True, True, True, False]
    assert "Krea 2 Raw" in found[1].note
    assert found[1].variant.suggested == {"sample_steps": 8, "guidance": 1.0}


def test_a_folder_is_the_single_file_tensor_for_tensor(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name, module in modules(kind="krea2").items():
        large = {"max_shard_size": "200KB"} if name == "transformer" else {}
        module.save_pretrained(folder / name, **large)  # type: ignore[operator]
    (folder / "model_index.json").write_text('{"_class_name": "Krea2Pipeline"}', encoding="utf-8")
    everything = Checkpoint(write_everything(tmp_path / "x.safetensors", dtype=torch.float32, kind="krea2"))
    read = [name for name in everything.names if f"{QWEN3VL_4B_PREFIX}visual." not in name]
    whole = open_model(folder)
    assert families.detect(whole.header, folder).name == "krea2"
    assert set(whole.names) == set(read)
    assert all(torch.equal(whole.read(name), everything.read(name)) for name in read)
    FAMILY.check_loading(whole.header, folder)
