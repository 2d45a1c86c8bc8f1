"""Key tables against diffusers' own modules and converters."""

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from real_shapes import TINY_BIG
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from clora_ext.errors import CheckpointError
from clora_ext.formats.keys import Place, clip_table, open_clip_table, unet_table, vae_table

CROSS, PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"
UNETS = [
    ((32, 64), (CROSS, PLAIN), 1),
    ((32, 64, 64), (CROSS, CROSS, PLAIN), 1),
    ((32, 64, 64, 64), (CROSS, CROSS, CROSS, PLAIN), 2),
    ((32, 64), (PLAIN, CROSS), 3),
]


def unet(widths: tuple[int, ...], down: tuple[str, ...], layers: int) -> UNet2DConditionModel:
    with torch.device("meta"):
        return UNet2DConditionModel(
            block_out_channels=widths,
            down_block_types=down,
            up_block_types=tuple(kind.replace("Down", "Up") for kind in reversed(down)),
            layers_per_block=layers,
            cross_attention_dim=32,
            attention_head_dim=4,
        )


def vae(widths: tuple[int, ...], layers: int) -> AutoencoderKL:
    with torch.device("meta"):
        return AutoencoderKL(
            block_out_channels=widths,
            down_block_types=("DownEncoderBlock2D",) * len(widths),
            up_block_types=("UpDecoderBlock2D",) * len(widths),
            layers_per_block=layers,
        )


def test_unet_names_are_a_bijection_that_diffusers_converts_back() -> None:
    for shape in UNETS:
        module = unet(*shape)
        table = unet_table(module.config)
        state = module.state_dict()
        originals = {table.to_original(name): tensor for name, tensor in state.items()}
        assert len(originals) == len(state)
        assert [table.to_diffusers(name) for name in originals] == list(state)
        converted = convert_ldm_unet_checkpoint(dict(originals), dict(module.config))
        assert {n: t.shape for n, t in converted.items()} == {n: t.shape for n, t in state.items()}


def test_vae_names_are_a_bijection_that_diffusers_converts_back() -> None:
    for widths, layers in (((32, 64), 1), ((32, 64, 64), 1), ((32, 64, 64, 64), 2)):
        module = vae(widths, layers)
        table = vae_table(module.config)
        state = module.state_dict()
        originals = {table.to_original(name): tensor for name, tensor in state.items()}
        assert len(originals) == len(state)
        assert [table.to_diffusers(name) for name in originals] == list(state)
        converted = convert_ldm_vae_checkpoint(dict(originals), dict(module.config))
        assert converted.keys() == state.keys()


def test_text_names_always_say_text_model() -> None:
    table = clip_table("text_encoder", "cond_stage_model.transformer.")
    ours = "text_model.encoder.layers.0.mlp.fc1.weight"
    original = "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight"
    assert table.to_original(ours) == original
    assert table.to_diffusers(original) == ours


def test_open_clip_names_are_a_bijection_with_queries_keys_and_values_in_one() -> None:
    with torch.device("meta"):
        module = CLIPTextModelWithProjection(CLIPTextConfig(**TINY_BIG))
    table = open_clip_table("text_encoder_2", "conditioner.embedders.1.model.", 2)
    names = list(module.state_dict())
    places = {name: table.place(name) for name in names}
    assert len({(place.tensor, place.part) for place in places.values()}) == len(names)
    assert sorted(
        name for tensor in {p.tensor for p in places.values()} for name in table.parameters(tensor)
    ) == sorted(names)
    fused = "conditioner.embedders.1.model.transformer.resblocks.1.attn.in_proj_weight"
    assert places["text_model.encoder.layers.1.self_attn.k_proj.weight"] == Place(fused, (1, 3))
    assert places["text_projection.weight"].transposed
    with pytest.raises(CheckpointError, match="in_proj_weight"):
        table.to_diffusers(fused)


def test_unknown_names_are_refused() -> None:
    table = unet_table(unet(*UNETS[0]).config)
    with pytest.raises(CheckpointError, match="control_model"):
        table.to_original("control_model.0.weight")
    with pytest.raises(CheckpointError, match=r"input_blocks\.99"):
        table.to_diffusers("model.diffusion_model.input_blocks.99.0.weight")
