"""Small transformers of flow matching whose training steps are counted, tensor by tensor."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    CosmosTransformer3DModel,
    Flux2Transformer2DModel,
    Krea2Transformer2DModel,
    ZImageTransformer2DModel,
)
from torch import Tensor, nn

from clora_ext.families.flow.norms import widen_norms

HEAD = 64


@dataclass(frozen=True)
class Counted:
    """A family's transformer.

    Attributes:
        name: of the family.
        width: of the transformer.
        depths: blocks of each of its stacks.
        place: pixels along a side of one of its tokens.
        side: of the latents.
        channels: of those.
        caption: tokens of the text.
        make: the transformer.
        answer: its answer for latents (c, h, w), and of what that is the prediction.
        taught: names of the layers that are taught.
    """

    name: str
    width: int
    depths: Sequence[int]
    place: int
    side: int
    channels: int
    caption: int
    make: Callable[["Counted"], nn.Module]
    answer: Callable[[Any, Tensor, int], tuple[Tensor, Tensor]]
    taught: Mapping[str, str]


def _z_image(counted: Counted) -> nn.Module:
    found: nn.Module = ZImageTransformer2DModel(
        in_channels=counted.channels, dim=counted.width, n_layers=counted.depths[0], n_refiner_layers=2,
        n_heads=counted.width // HEAD, n_kv_heads=counted.width // HEAD, cap_feat_dim=64,
        axes_dims=[16, 24, 24],
    )  # fmt: skip
    return found


def _z_image_answer(network: Any, latents: Tensor, caption: int) -> tuple[Tensor, Tensor]:
    frame = latents.unsqueeze(1)
    answer = network([frame], torch.full((1,), 0.5), [torch.randn(caption, 64)], return_dict=False)[0]
    return answer[0], frame


def _klein(counted: Counted) -> nn.Module:
    found: nn.Module = Flux2Transformer2DModel(
        in_channels=counted.channels, num_layers=counted.depths[0], num_single_layers=counted.depths[1],
        attention_head_dim=HEAD, num_attention_heads=counted.width // HEAD, joint_attention_dim=96,
        axes_dims_rope=(16,) * 4, guidance_embeds=False,
    )  # fmt: skip
    return found


def _klein_answer(network: Any, latents: Tensor, caption: int) -> tuple[Tensor, Tensor]:
    first, side, words = (torch.arange(count) for count in (1, latents.shape[-1], caption))
    places = latents.flatten(1).T[None]
    answer = network(
        hidden_states=places, encoder_hidden_states=torch.randn(1, caption, 96),
        timestep=torch.full((1,), 0.5), img_ids=torch.cartesian_prod(first, side, side, first),
        txt_ids=torch.cartesian_prod(first, first, first, words), guidance=None, return_dict=False,
    )[0]  # fmt: skip
    return answer, places


def _anima(counted: Counted) -> nn.Module:
    found: nn.Module = CosmosTransformer3DModel(
        in_channels=counted.channels + 1, out_channels=counted.channels, attention_head_dim=HEAD,
        num_attention_heads=counted.width // HEAD, num_layers=counted.depths[0], text_embed_dim=64,
        adaln_lora_dim=16, extra_pos_embed_type=None, concat_padding_mask=False,
    )  # fmt: skip
    return found


def _anima_answer(network: Any, latents: Tensor, caption: int) -> tuple[Tensor, Tensor]:
    film = torch.cat([latents, torch.zeros_like(latents[:1])])[None, :, None]
    answer = network(
        hidden_states=film, timestep=torch.full((1,), 0.5),
        encoder_hidden_states=torch.randn(1, caption, 64), return_dict=False,
    )[0]  # fmt: skip
    return answer[0, :, 0], latents


def _krea2(counted: Counted) -> nn.Module:
    heads = counted.width // HEAD
    found: nn.Module = Krea2Transformer2DModel(
        in_channels=4 * counted.channels, num_layers=counted.depths[0], attention_head_dim=HEAD,
        num_attention_heads=heads, num_key_value_heads=heads // 2,
        intermediate_size=8 * counted.width // 3,
        timestep_embed_dim=32, text_hidden_dim=32, text_num_attention_heads=2, text_num_key_value_heads=2,
        text_intermediate_size=64, num_layerwise_text_blocks=1, num_refiner_text_blocks=1,
        axes_dims_rope=(16, 24, 24),
    )  # fmt: skip
    widen_norms(found)
    return found


def _krea2_answer(network: Any, latents: Tensor, caption: int) -> tuple[Tensor, Tensor]:
    places = torch.nn.functional.pixel_unshuffle(latents, 2)
    sides = [torch.arange(count) for count in (1, *places.shape[1:])]
    flat = places.flatten(1).T[None]
    answer = network(
        hidden_states=flat, encoder_hidden_states=torch.randn(1, caption, 12, 32),
        timestep=torch.full((1,), 0.5), return_dict=False,
        position_ids=torch.cat([torch.zeros(caption, 3, dtype=torch.long), torch.cartesian_prod(*sides)]),
    )[0]  # fmt: skip
    return answer, flat


_Z_ATTENTION = r"layers\.\d+\.attention\.(to_q|to_k|to_v|to_out\.0)"
_KLEIN_ATTENTION = r".*attn\.(to_[qkv]|add_[qkv]_proj|to_out(\.0)?|to_add_out|to_qkv_mlp_proj)"
_KREA_ATTENTION = r"transformer_blocks\.\d+\.attn\.(to_[qkv]|to_gate|to_out\.0)"
_ANIMA_ATTENTION = r"transformer_blocks\.\d+\.attn[12]\.(to_[qkv]|to_out\.0)"

COUNTED = (
    Counted(
        "z_image", 128, [3], 4, 32, 16, 32, _z_image, _z_image_answer,
        {"attention": _Z_ATTENTION, "transformer": rf"{_Z_ATTENTION}|layers\.\d+\.feed_forward\.w[123]"},
    ),
    Counted(
        "flux2_klein_4b", 128, [2, 1], 16, 16, 16, 32, _klein, _klein_answer,
        {
            "attention": _KLEIN_ATTENTION,
            "transformer": rf"{_KLEIN_ATTENTION}|.*ff(_context)?\.linear_(in|out)",
        },
    ),
    Counted(
        "anima", 128, [2], 16, 32, 16, 32, _anima, _anima_answer,
        {"attention": _ANIMA_ATTENTION, "transformer": rf"{_ANIMA_ATTENTION}|.*\.ff\.net\.(0\.proj|2)"},
    ),
    Counted(
        "krea2", 128, [1], 16, 24, 4, 32, _krea2, _krea2_answer,
        {
            "attention": _KREA_ATTENTION,
            "transformer": rf"{_KREA_ATTENTION}|transformer_blocks\.\d+\.ff\.(gate|up|down)",
        },
    ),
)  # fmt: skip
