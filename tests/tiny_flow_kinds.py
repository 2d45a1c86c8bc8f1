"""The families of flow matching in small: how their networks are made, under which names they are stored."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import (
    AnimaTextConditioner,
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    CosmosTransformer3DModel,
    Flux2Transformer2DModel,
    Krea2Transformer2DModel,
    ZImageTransformer2DModel,
)
from torch import nn

from clora_ext.formats.flow_keys import (
    QWEN3_06B_PREFIX,
    QWEN3_4B_PREFIX,
    QWEN3VL_4B_PREFIX,
    anima_conditioner_table,
    anima_table,
    flow_vae_table,
    flux2_table,
    flux2_vae_table,
    qwen_image_vae_table,
    z_image_table,
)
from clora_ext.formats.keys import KeyTable
from clora_ext.formats.krea2_keys import krea2_table

CHANNELS = 4  # of the VAE: fewer than published, so that the narrow transformer can tell all of them
ANIMA_CHANNELS = 16  # what is told of its latents beside the shapes is of so many
WIDTH, HEAD, TEXT = 32, 16, 24
_DOWN, _UP = ("DownEncoderBlock2D",) * 2, ("UpDecoderBlock2D",) * 2


@dataclass(frozen=True)
class Kind:
    """One of the families, in small.

    Attributes:
        transformer: makes it.
        vae: likewise.
        layers: of the language model.
        tables: of the two, from their configurations.
        files: names of the transformer's file and the VAE's.
        text: name of the language model's file, and where it stands in a file of everything.
        beside: makes what else stands in the transformer's file, by component, each with its table.
        sight: whether its language model sees pictures, too.
    """

    transformer: Callable[[], nn.Module]
    vae: Callable[[], nn.Module]
    layers: int
    tables: tuple[Callable[[Any], KeyTable], Callable[[Any], KeyTable]]
    files: tuple[str, str]
    text: tuple[str, str] = ("qwen_3_4b", QWEN3_4B_PREFIX)
    beside: dict[str, tuple[Callable[[], nn.Module], Callable[[], KeyTable]]] = field(default_factory=dict)
    sight: bool = False


def _z_image() -> nn.Module:
    found: nn.Module = ZImageTransformer2DModel(
        in_channels=CHANNELS, dim=WIDTH, n_layers=2, n_refiner_layers=1, n_heads=WIDTH // HEAD,
        n_kv_heads=WIDTH // HEAD, cap_feat_dim=TEXT, axes_dims=[4, 6, 6],
    )  # fmt: skip
    return found


def _flux1_vae() -> nn.Module:
    found: nn.Module = AutoencoderKL(
        block_out_channels=(32, 32), layers_per_block=1, latent_channels=CHANNELS,
        down_block_types=_DOWN, up_block_types=_UP,
        scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip
    return found


def _klein() -> nn.Module:
    found: nn.Module = Flux2Transformer2DModel(
        in_channels=4 * CHANNELS, num_layers=2, num_single_layers=2, attention_head_dim=HEAD,
        num_attention_heads=WIDTH // HEAD, joint_attention_dim=3 * TEXT, axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )  # fmt: skip
    return found


def _flux2_vae() -> nn.Module:
    found: Any = AutoencoderKLFlux2(
        block_out_channels=(32, 32), layers_per_block=1, latent_channels=CHANNELS,
        down_block_types=_DOWN, up_block_types=_UP,
    )  # fmt: skip
    nn.init.normal_(found.bn.running_mean)
    nn.init.uniform_(found.bn.running_var, 0.5, 2.0)
    return found  # type: ignore[no-any-return]


def _anima() -> nn.Module:
    found: nn.Module = CosmosTransformer3DModel(
        in_channels=ANIMA_CHANNELS, out_channels=ANIMA_CHANNELS, num_attention_heads=WIDTH // HEAD,
        attention_head_dim=HEAD, num_layers=2, text_embed_dim=WIDTH, adaln_lora_dim=8,
        rope_scale=(1.0, 4.0, 4.0), extra_pos_embed_type=None,
    )  # fmt: skip
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            if name.endswith(
                ("norm_q.weight", "norm_k.weight")
            ):  # else one in another's place is not noticed
                nn.init.uniform_(parameter, 0.5, 1.5)
            if ".linear_2." in name and "norm" in name:  # else its blocks are hardly heard
                parameter.mul_(4)
    return found


def _conditioner() -> nn.Module:
    found: nn.Module = AnimaTextConditioner(
        source_dim=TEXT, target_dim=WIDTH, model_dim=WIDTH, num_layers=2, num_attention_heads=2
    )
    return found


def _krea2() -> nn.Module:
    """As wide as what it paints has channels: else it could not tell all of them."""
    found: Any = Krea2Transformer2DModel(
        in_channels=4 * ANIMA_CHANNELS, num_layers=2, attention_head_dim=HEAD,
        num_attention_heads=2 * WIDTH // HEAD, num_key_value_heads=2, intermediate_size=4 * WIDTH,
        timestep_embed_dim=16, text_hidden_dim=TEXT, text_num_attention_heads=3,
        text_num_key_value_heads=3, text_intermediate_size=2 * TEXT, num_layerwise_text_blocks=1,
        num_refiner_text_blocks=1, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    for name, parameter in found.named_parameters():
        if name.endswith("scale_shift_table") or "norm" in name:
            nn.init.normal_(parameter, std=0.1 if "norm" in name else 1.0)
    return found  # type: ignore[no-any-return]


def _qwen_image_vae() -> nn.Module:
    found: nn.Module = AutoencoderKLQwenImage(
        base_dim=8, z_dim=ANIMA_CHANNELS, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[True]
    )
    return found


KINDS = {
    "z_image": Kind(
        _z_image, _flux1_vae, 3, (z_image_table, flow_vae_table), ("z_image_tiny", "ae")
    ),
    "flux2_klein_4b": Kind(
        _klein, _flux2_vae, 28, (flux2_table, flux2_vae_table), ("flux_klein_base_tiny", "flux2-vae")
    ),
    "anima": Kind(
        _anima, _qwen_image_vae, 3, (anima_table, qwen_image_vae_table),
        ("anima_base_tiny", "qwen_image_vae"),
        ("qwen_3_06b_base", QWEN3_06B_PREFIX),
        {"text_conditioner": (_conditioner, anima_conditioner_table)},
    ),
    "krea2": Kind(
        _krea2, _qwen_image_vae, 36, (krea2_table, qwen_image_vae_table),
        ("krea2_raw_tiny", "qwen_image_vae"),
        ("qwen3vl_4b", QWEN3VL_4B_PREFIX),
        sight=True,
    ),
}  # fmt: skip
