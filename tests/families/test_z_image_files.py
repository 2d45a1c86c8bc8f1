"""Z-Image: known by names and shapes among all others, with the configuration that is published."""

from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each
from diffusers import AutoencoderKL, ZImageTransformer2DModel
from published_files import hollow_file, published_file, published_shapes
from tiny_flow import write_tiny_flow

from clora_ext import families
from clora_ext.config.settings import TargetSet
from clora_ext.errors import CheckpointError, UsageError
from clora_ext.families.place import find_place
from clora_ext.families.variant import ToldVariant, tell_variant
from clora_ext.formats.flow_keys import FLOW_PREFIX, flow_vae_table, qwen3_table, z_image_table
from clora_ext.formats.header import Header, TensorInfo
from clora_ext.formats.models import model_header
from clora_ext.formats.prediction import say
from clora_ext.formats.statements import Statement

FAMILY = families.load("z_image")


def published(folder: Path) -> Path:
    """All files of the published model, as ComfyUI keeps them, without their weights."""
    published_file(folder / "text_encoders" / "qwen_3_4b.safetensors", "qwen3_4b")
    published_file(folder / "vae" / "ae.safetensors", "flux1_vae", dtype="F32")
    return published_file(folder / "diffusion_models" / "z_image_bf16.safetensors", "z_image")


def test_a_published_file_is_z_image_whatever_its_names(tmp_path: Path) -> None:
    cases = [("z_image", ""), ("z_image", FLOW_PREFIX), ("z_image", "model."), ("z_image_diffusers", "")]

    def check(case: tuple[str, str]) -> None:
        golden, prefix = case
        header = model_header(published_file(tmp_path / "x.safetensors", golden, prefix=prefix))
        assert [one for one in families.names() if families.load(one).matches(header)] == ["z_image"]
        assert families.detect(header, tmp_path).architecture(header) == "z-image"
        assert {name.removeprefix(FLOW_PREFIX) for name in header.tensors} == set(published_shapes("z_image"))

    check_each(cases, check)


def test_shapes_tell_the_published_configuration(tmp_path: Path) -> None:
    found = find_place(published(tmp_path), {})
    family: Any = families.detect(found.header(), found.path)
    config = family.config(found.header(), found.path)
    with torch.device("meta"):
        wanted = dict(ZImageTransformer2DModel().config)
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in wanted.items()}
    assert config["transformer"] == {key: value for key, value in plain.items() if not key.startswith("_")}
    assert config["text_encoder"] == {
        "vocab_size": 151936, "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "rms_norm_eps": 1e-6,
        "rope_theta": 1e6, "max_position_embeddings": 40960,
    }  # fmt: skip
    assert config["vae"]["block_out_channels"] == [128, 256, 512, 512]
    assert (config["vae"]["latent_channels"], config["vae"]["layers_per_block"]) == (16, 2)
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
            height = stored[0] // place.part[1]
            flat = stored[:2] if stored[2:] == (1, 1) and len(shape) == 2 else stored
            assert (height, *flat[1:]) == shape
            held[place.tensor] = held.get(place.tensor, 0) + height
        assert held == {table.prefix + name: shape[0] for name, shape in shapes.items()}

    with torch.device("meta"):
        transformer, vae = ZImageTransformer2DModel().config, vae_of_flux().config
    check_each(
        [
            ("z_image", "z_image_diffusers", z_image_table(transformer)),
            ("flux1_vae", "flux1_vae_diffusers", flow_vae_table(vae)),
        ],
        check,
    )
    names = {name.removeprefix("model.") for name in published_shapes("qwen3_4b")}
    assert {qwen3_table("").place(name).tensor for name in names} == set(published_shapes("qwen3_4b"))


# As the transformer's authors and diffusers name the same parameter; of one tensor the queries come first.
BY_HAND = {
    "layers.7.attention.to_q.weight": ("layers.7.attention.qkv.weight", (0, 3)),
    "layers.7.attention.to_k.weight": ("layers.7.attention.qkv.weight", (1, 3)),
    "layers.7.attention.to_v.weight": ("layers.7.attention.qkv.weight", (2, 3)),
    "layers.7.attention.to_out.0.weight": ("layers.7.attention.out.weight", (0, 1)),
    "layers.7.attention.norm_q.weight": ("layers.7.attention.q_norm.weight", (0, 1)),
    "layers.7.attention.norm_k.weight": ("layers.7.attention.k_norm.weight", (0, 1)),
    "layers.7.feed_forward.w1.weight": ("layers.7.feed_forward.w1.weight", (0, 1)),
    "layers.7.feed_forward.w3.weight": ("layers.7.feed_forward.w3.weight", (0, 1)),
    "layers.7.ffn_norm1.weight": ("layers.7.ffn_norm1.weight", (0, 1)),
    "layers.7.ffn_norm2.weight": ("layers.7.ffn_norm2.weight", (0, 1)),
    "layers.7.attention_norm2.weight": ("layers.7.attention_norm2.weight", (0, 1)),
    "layers.7.adaLN_modulation.0.bias": ("layers.7.adaLN_modulation.0.bias", (0, 1)),
    "context_refiner.1.attention.to_k.weight": ("context_refiner.1.attention.qkv.weight", (1, 3)),
    "noise_refiner.0.adaLN_modulation.0.weight": ("noise_refiner.0.adaLN_modulation.0.weight", (0, 1)),
    "all_x_embedder.2-1.bias": ("x_embedder.bias", (0, 1)),
    "all_final_layer.2-1.linear.weight": ("final_layer.linear.weight", (0, 1)),
    "all_final_layer.2-1.adaLN_modulation.1.weight": ("final_layer.adaLN_modulation.1.weight", (0, 1)),
    "cap_embedder.1.weight": ("cap_embedder.1.weight", (0, 1)),
    "t_embedder.mlp.2.weight": ("t_embedder.mlp.2.weight", (0, 1)),
    "x_pad_token": ("x_pad_token", (0, 1)),
}


def test_parameters_stand_where_the_authors_put_them() -> None:
    with torch.device("meta"):
        table = z_image_table(ZImageTransformer2DModel().config)
    places = {name: table.place(name) for name in BY_HAND}
    found = {name: (one.tensor.removeprefix(FLOW_PREFIX), one.part) for name, one in places.items()}
    assert found == BY_HAND


def vae_of_flux() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=16,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip


REFUSED = [
    ("flux1_dev", "Flux"),
    ("chroma", "Flux"),
    ("sd35_medium", "Stable Diffusion 3"),
    ("krea2", "Krea 2"),
    ("anima", "Anima"),
    ("qwen_image", "Qwen-Image"),
    ("qwen3_4b", "text encoder"),
    ("flux1_vae", "VAE"),
]


def test_relatives_are_refused_by_name(tmp_path: Path) -> None:
    def check(case: tuple[str, str]) -> None:
        golden, words = case
        header = model_header(published_file(tmp_path / "x.safetensors", golden))
        assert families.recognise(header) is None
        with pytest.raises(CheckpointError, match=words):
            families.detect(header, tmp_path)

    check_each(REFUSED, check)


def test_z_images_own_relatives_are_refused_by_name(tmp_path: Path) -> None:
    shapes = published_shapes("z_image")
    lumina = {name: shape for name, shape in shapes.items() if "pad_token" not in name}
    cases = [
        ({**shapes, "siglip_embedder.0.weight": (1152,)}, "Omni"),
        ({**shapes, "dec_net.cond_embed.weight": (8, 8)}, "pixels"),
        (lumina, "Lumina"),
    ]

    def check(case: tuple[dict[str, tuple[int, ...]], str]) -> None:
        with pytest.raises(CheckpointError, match=case[1]):
            find_then_detect(hollow_file(tmp_path / "x.safetensors", case[0]))

    check_each(cases, check)
    published_file(tmp_path / "x.safetensors", "z_image", dtype="F8_E4M3")
    with pytest.raises(CheckpointError, match="8 bits"):
        find_then_detect(tmp_path / "x.safetensors")


def find_then_detect(file: Path) -> None:
    header = find_place(file, {}).header()
    families.detect(header, file)


def test_a_statement_of_diffusion_does_not_fit() -> None:
    header = Header(
        {FLOW_PREFIX + n: TensorInfo("BF16", s, 0, 0) for n, s in published_shapes("z_image").items()}
    )
    assert FAMILY.prediction(header).kind == "flow"
    with pytest.raises(CheckpointError, match="predicts a flow"):
        families.detect(say(header, Statement("--prediction", "v")), Path("x"))


def test_what_is_taught(tmp_path: Path) -> None:
    header = model_header(published_file(tmp_path / "x.safetensors", "z_image"))
    counts: dict[TargetSet, int] = {"attention": 30 * 4, "transformer": 30 * 7}
    for chosen, count in counts.items():
        found = FAMILY.targets(header, chosen, text_encoders=False)
        assert len(found) == count
        assert all(target.module.startswith("layers.") for target in found)
    keys = next(one for one in FAMILY.modules(header) if one.module == "layers.3.attention.to_k")
    assert (keys.rows, keys.shape, keys.original) == ((3840, 7680), (3840, 3840), "layers.3.attention.qkv")
    assert len(FAMILY.modules(header)) == 276
    for asked in ({"text_encoders": True}, {"text_encoders": False, "convolutions": True}):
        with pytest.raises(UsageError):
            FAMILY.targets(header, "attention", **asked)


def test_a_model_that_lacks_a_part_says_which(tmp_path: Path) -> None:
    files = write_tiny_flow(tmp_path)
    header = model_header(files.transformer)
    with pytest.raises(CheckpointError, match="Qwen3-4B text encoder and VAE of Flux 1") as caught:
        FAMILY.check_loading(header, files.transformer)
    assert "--text-encoder-file FILE --vae-file FILE" in (caught.value.fix or "")


def told(name: str, metadata: dict[str, str] | None = None, said: str | None = None) -> ToldVariant:
    found = tell_variant(FAMILY.title, FAMILY.variants, Path(name), metadata or {}, said)
    assert found is not None
    return found


def test_a_name_that_says_turbo_is_believed_and_advised() -> None:
    names = ("z_image_turbo_bf16", "z-image-Turbo", "z_image_bf16", "z_image_de_turbo_v1", "Z-Image-DeTurbo")
    found = [told(f"{name}.safetensors") for name in names]
    assert [one.variant.name for one in found] == ["turbo", "turbo", "base", "base", "base"]
    assert "as its name z_image_turbo_bf16.safetensors says: teaching undoes" in found[0].note
    assert "clora export --lora" in found[0].note
    assert found[0].variant.suggested == {"sample_steps": 8, "guidance": 1.0}
    assert found[2].note == "taken for Base: nothing says which it is; if it is another, say --variant turbo"
    cached = told("models--Tongyi-MAI--Z-Image-Turbo/snapshots/0123/transformer")
    assert (cached.variant.name, told("z_image_base.safetensors").source) == (
        "turbo",
        "its name z_image_base.safetensors",
    )


def test_metadata_says_what_a_name_does_not_and_the_user_has_the_last_word() -> None:
    title = {"modelspec.title": "Z-Image Turbo"}
    assert told("x.safetensors", title).source == "modelspec.title (Z-Image Turbo)"
    assert told("x.safetensors", title).variant.name == "turbo"
    assert told("z_image_base.safetensors", title).variant.name == "base"
    assert told("base_turbo.safetensors").source == ""  # two words, neither counts
    mine = told("z_image_turbo.safetensors", title, "base")
    assert (mine.variant.name, mine.note) == ("base", "taken for Base, as --variant says")
    with pytest.raises(UsageError, match="Z-Image has no variant 'trubo'") as caught:
        told("x.safetensors", said="trubo")
    assert "turbo" in (caught.value.fix or "")
    sd1 = families.load("sd1")
    assert tell_variant(sd1.title, sd1.variants, Path("x_turbo.safetensors"), {}, None) is None
    with pytest.raises(UsageError, match="no variants"):
        tell_variant(sd1.title, sd1.variants, Path("x.safetensors"), {}, "turbo")


def test_what_a_project_has_recorded_counts_more_than_a_name() -> None:
    def asked(said: str | None, recorded: str | None) -> ToldVariant | None:
        named = Path("z_image_base.safetensors")
        return tell_variant(FAMILY.title, FAMILY.variants, named, {}, said, recorded)

    kept, corrected = asked(None, "turbo"), asked("base", "turbo")
    assert kept is not None
    assert (kept.variant.name, kept.source) == ("turbo", "the project")
    assert corrected is not None
    assert (corrected.variant.name, corrected.source) == ("base", "--variant")
    with pytest.raises(UsageError, match="no variant 'omni', which the project names") as caught:
        asked(None, "omni")
    assert "--variant" in (caught.value.fix or "")
