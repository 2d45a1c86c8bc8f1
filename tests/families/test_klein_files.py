"""Flux.2 klein: known by names and shapes among all others, with the configuration that is published."""

from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each
from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel
from published_files import hollow_file, published_file, published_shapes
from safetensors.torch import load_file, save_file
from tiny_flow import modules, write_everything, write_tiny_flow

from clora_ext import families
from clora_ext.config.settings import TargetSet
from clora_ext.errors import CheckpointError
from clora_ext.families.place import find_place
from clora_ext.families.variant import tell_variant
from clora_ext.formats.checkpoint import Checkpoint, content_hash
from clora_ext.formats.composed import open_model
from clora_ext.formats.flow_keys import FLOW_PREFIX, flux2_table, flux2_vae_table
from clora_ext.formats.models import model_header

# Name of the text encoder's file, its golden list, and what the transformer's configuration differs in.
SIZES: dict[str, tuple[str, str, dict[str, int]]] = {
    "flux2_klein_4b": (
        "qwen_3_4b", "qwen3_4b",
        {"num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24, "joint_attention_dim": 7680},
    ),
    "flux2_klein_9b": (
        "qwen_3_8b", "qwen3_8b",
        {"num_layers": 8, "num_single_layers": 24, "num_attention_heads": 32, "joint_attention_dim": 12288},
    ),
}  # fmt: skip


def published(folder: Path, name: str) -> Path:
    """All files of a published model, as ComfyUI keeps them, without their weights."""
    file, golden, _ = SIZES[name]
    published_file(folder / "text_encoders" / f"{file}.safetensors", golden)
    published_file(folder / "vae" / "flux2-vae.safetensors", "flux2_vae", dtype="F32")
    return published_file(folder / "diffusion_models" / f"{name}.safetensors", name)


def configuration(name: str) -> dict[str, Any]:
    """diffusers' own, plain."""
    with torch.device("meta"):
        found = dict(Flux2Transformer2DModel(guidance_embeds=False, **SIZES[name][2]).config)  # type: ignore[arg-type]
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}
    return {key: value for key, value in plain.items() if not key.startswith("_")}


def test_a_published_file_is_klein_whatever_its_names(tmp_path: Path) -> None:
    prefixes = [("", ""), ("", FLOW_PREFIX), ("", "model."), ("_diffusers", "")]
    cases = [(name, *case) for name in SIZES for case in prefixes]

    def check(case: tuple[str, str, str]) -> None:
        name, layout, prefix = case
        header = model_header(published_file(tmp_path / "x.safetensors", name + layout, prefix=prefix))
        assert [one for one in families.names() if families.load(one).matches(header)] == [name]
        assert families.detect(header, tmp_path).architecture(header) == f"flux-2-klein-{name[-2:]}"
        assert {key.removeprefix(FLOW_PREFIX): info.shape for key, info in header.tensors.items()} == (
            published_shapes(name)
        )

    check_each(cases, check)


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


@pytest.mark.parametrize("name", SIZES)
def test_shapes_tell_the_published_configuration(name: str, tmp_path: Path) -> None:
    found = find_place(published(tmp_path, name), {})
    family: Any = families.detect(found.header(), found.path)
    config = family.config(found.header(), found.path)
    assert config["transformer"] == configuration(name)
    text = config["text_encoder"]
    assert (text["num_hidden_layers"], 3 * text["hidden_size"]) == (36, SIZES[name][2]["joint_attention_dim"])
    with torch.device("meta"):
        wanted = dict(AutoencoderKLFlux2().config)
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in wanted.items()}
    told = {"decoder_block_out_channels": None, **config["vae"]}
    assert told == {key: value for key, value in plain.items() if not key.startswith("_")}
    assert family.size_multiple(found.header()) == 16
    family.check_loading(found.header(), found.path)


def test_every_tensor_has_one_place_and_every_parameter_one_tensor() -> None:
    def check(case: tuple[str, str, Any]) -> None:
        original, diffusers, table = case
        shapes, ours = published_shapes(original), published_shapes(diffusers)
        held: dict[str, int] = {}
        for name, shape in ours.items():
            place = table.place(name)
            stored = shapes[place.tensor.removeprefix(table.prefix)]
            if not stored:
                held[place.tensor] = 0
                continue
            height = stored[0] // place.part[1]
            flat = stored[:2] if stored[2:] == (1, 1) and len(shape) == 2 else stored
            assert (height, *flat[1:]) == shape
            held[place.tensor] = held.get(place.tensor, 0) + height
        assert held == {table.prefix + name: shape[0] if shape else 0 for name, shape in shapes.items()}

    with torch.device("meta"):
        vae = flux2_vae_table(AutoencoderKLFlux2().config)
    check_each(
        [
            *((name, f"{name}_diffusers", flux2_table(configuration(name))) for name in SIZES),
            ("flux2_vae", "flux2_vae_diffusers", vae),
        ],
        check,
    )


# As the transformer's authors and diffusers name the same parameter; of one tensor the queries come first.
BY_HAND = {
    "transformer_blocks.4.attn.to_q.weight": ("double_blocks.4.img_attn.qkv.weight", (0, 3)),
    "transformer_blocks.4.attn.to_k.weight": ("double_blocks.4.img_attn.qkv.weight", (1, 3)),
    "transformer_blocks.4.attn.add_v_proj.weight": ("double_blocks.4.txt_attn.qkv.weight", (2, 3)),
    "transformer_blocks.4.attn.to_out.0.weight": ("double_blocks.4.img_attn.proj.weight", (0, 1)),
    "transformer_blocks.4.attn.to_add_out.weight": ("double_blocks.4.txt_attn.proj.weight", (0, 1)),
    "transformer_blocks.4.attn.norm_q.weight": ("double_blocks.4.img_attn.norm.query_norm.scale", (0, 1)),
    "transformer_blocks.4.attn.norm_added_k.weight": ("double_blocks.4.txt_attn.norm.key_norm.scale", (0, 1)),
    "transformer_blocks.4.ff.linear_in.weight": ("double_blocks.4.img_mlp.0.weight", (0, 1)),
    "transformer_blocks.4.ff_context.linear_out.weight": ("double_blocks.4.txt_mlp.2.weight", (0, 1)),
    "single_transformer_blocks.19.attn.to_qkv_mlp_proj.weight": ("single_blocks.19.linear1.weight", (0, 1)),
    "single_transformer_blocks.19.attn.to_out.weight": ("single_blocks.19.linear2.weight", (0, 1)),
    "single_transformer_blocks.19.attn.norm_k.weight": ("single_blocks.19.norm.key_norm.scale", (0, 1)),
    "x_embedder.weight": ("img_in.weight", (0, 1)),
    "context_embedder.weight": ("txt_in.weight", (0, 1)),
    "proj_out.weight": ("final_layer.linear.weight", (0, 1)),
    "norm_out.linear.weight": ("final_layer.adaLN_modulation.1.weight", (0, 1)),
    "time_guidance_embed.timestep_embedder.linear_2.weight": ("time_in.out_layer.weight", (0, 1)),
    "single_stream_modulation.linear.weight": ("single_stream_modulation.lin.weight", (0, 1)),
}


def test_parameters_stand_where_the_authors_put_them() -> None:
    table = flux2_table(configuration("flux2_klein_4b"))
    places = {name: table.place(name) for name in BY_HAND}
    assert {n: (one.tensor.removeprefix(FLOW_PREFIX), one.part) for n, one in places.items()} == BY_HAND
    assert [name for name, one in places.items() if one.swapped] == ["norm_out.linear.weight"]


def test_relatives_are_refused_by_name(tmp_path: Path) -> None:
    klein = published_shapes("flux2_klein_4b")
    edits = {**klein, "img_in.weight": (3072, 260)}
    cases: list[tuple[str, dict[str, tuple[int, ...]], str]] = [
        (name, published_shapes(name), words)
        for name, words in (("flux2_dev", r"Flux\.2 dev"), ("flux1_dev", "Flux 1"), ("chroma", "Flux 1"))
    ]
    cases.append(("edits", edits, "edits pictures"))

    def check(case: tuple[str, dict[str, tuple[int, ...]], str]) -> None:
        file = hollow_file(tmp_path / f"{case[0]}.safetensors", case[1])
        with pytest.raises(CheckpointError, match=case[2]):
            families.detect(model_header(file), file)

    check_each(cases, check)
    published_file(tmp_path / "x.safetensors", "flux2_klein_4b", dtype="F8_E4M3")
    with pytest.raises(CheckpointError, match="8 bits"):
        find_place(tmp_path / "x.safetensors", {})


def test_what_is_taught(tmp_path: Path) -> None:
    family = families.load("flux2_klein_4b")
    header = model_header(published_file(tmp_path / "x.safetensors", "flux2_klein_4b"))
    counts: dict[TargetSet, int] = {"attention": 5 * 8 + 20 * 2, "transformer": 5 * 12 + 20 * 2}
    for chosen, count in counts.items():
        found = family.targets(header, chosen, text_encoders=False)
        assert len(found) == count
        assert all("transformer_blocks." in target.module for target in found)
    keys = next(one for one in family.modules(header) if one.module == "transformer_blocks.3.attn.add_k_proj")
    assert (keys.rows, keys.shape, keys.original) == (
        (3072, 6144),
        (3072, 3072),
        "double_blocks.3.txt_attn.qkv",
    )
    assert len(family.modules(header)) == 109
    norms = {one.original for one in family.parameters(header) if one.layout == "vector"}
    assert "double_blocks.0.img_attn.norm.query_norm" in norms


def test_companions_of_other_models_do_not_fit(tmp_path: Path) -> None:
    klein = published(tmp_path, "flux2_klein_9b")
    published_file(tmp_path / "text_encoders" / "qwen_3_4b.safetensors", "qwen3_4b")
    published_file(tmp_path / "vae" / "ae.safetensors", "flux1_vae", dtype="F32")
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


def test_a_name_that_says_distilled_is_believed_and_advised() -> None:
    names = ("flux-2-klein-4b", "flux-2-klein-base-4b", "Flux2_Klein_9B_kv", "my_model")
    family = families.load("flux2_klein_4b")
    told = [
        tell_variant(family.title, family.variants, Path(f"{name}.safetensors"), {}, None) for name in names
    ]
    found = [one for one in told if one is not None]
    assert [one.variant.name for one in found] == ["distilled", "base", "kv", "base"]
    assert [bool(one.source) for one in found] == [True, True, True, False]
    assert "klein base" in found[0].note
    assert found[0].variant.suggested == {"sample_steps": 4, "guidance": 1.0}


@pytest.mark.parametrize("shard", [None, "200KB"])
def test_a_folder_is_the_single_file_tensor_for_tensor(shard: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name, module in modules(kind="flux2_klein_4b").items():
        large = {} if shard is None or name == "vae" else {"max_shard_size": shard}
        module.save_pretrained(folder / name, **large)  # type: ignore[operator]
    (folder / "model_index.json").write_text('{"_class_name": "Flux2KleinPipeline"}', encoding="utf-8")
    single = Checkpoint(
        write_everything(tmp_path / "x.safetensors", dtype=torch.float32, kind="flux2_klein_4b")
    )
    whole = open_model(folder)
    assert families.detect(whole.header, folder).name == "flux2_klein_4b"
    assert all(torch.equal(whole.read(name), single.read(name)) for name in single.names)
    assert content_hash(whole) == content_hash(single)
    families.load("flux2_klein_4b").check_loading(whole.header, folder)
    (folder / "model_index.json").write_text('{"_class_name": "Flux2KleinKVPipeline"}', encoding="utf-8")
    with pytest.raises(CheckpointError, match="Flux2KleinKVPipeline"):
        open_model(folder)
