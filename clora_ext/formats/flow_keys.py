"""Names of tensors in models of flow matching: ComfyUI's layout against diffusers' and transformers' modules.

Their transformers are published alone; where a text encoder and a VAE lie in the same file, they stand under
the prefixes below. Needs no torch.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .keys import KeyTable, vae_table

__all__ = [
    "FLOW_PREFIX",
    "FLOW_VAE_PREFIX",
    "QWEN3_4B_PREFIX",
    "QWEN3_8B_PREFIX",
    "flow_vae_table",
    "flux2_table",
    "flux2_vae_table",
    "qwen3_table",
    "z_image_table",
]

FLOW_PREFIX = "model.diffusion_model."
"""Where the transformer's tensors stand; a transformer alone may be published without."""

FLOW_VAE_PREFIX = "vae."
"""Where the VAE's tensors stand in a file of everything."""

QWEN3_4B_PREFIX = "text_encoders.qwen3_4b.transformer."
"""Where Qwen3-4B's stand."""

QWEN3_8B_PREFIX = "text_encoders.qwen3_8b.transformer."
"""Where Qwen3-8B's stand."""

_Z_IMAGE_BLOCK = {
    "attention.norm_q": "attention.q_norm",
    "attention.norm_k": "attention.k_norm",
    "attention.to_out.0": "attention.out",
    **{
        name: name
        for name in (
            "feed_forward",
            "attention_norm1",
            "attention_norm2",
            "ffn_norm1",
            "ffn_norm2",
            "adaLN_modulation",
        )
    },
}
_Z_IMAGE_OTHERS = ("t_embedder", "cap_embedder", "x_pad_token", "cap_pad_token")

_FLUX2_DOUBLE = {
    "attn.norm_q.weight": "img_attn.norm.query_norm.scale",
    "attn.norm_k.weight": "img_attn.norm.key_norm.scale",
    "attn.norm_added_q.weight": "txt_attn.norm.query_norm.scale",
    "attn.norm_added_k.weight": "txt_attn.norm.key_norm.scale",
    "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj",
    "ff.linear_in": "img_mlp.0",
    "ff.linear_out": "img_mlp.2",
    "ff_context.linear_in": "txt_mlp.0",
    "ff_context.linear_out": "txt_mlp.2",
}
_FLUX2_FUSED = {
    "img_attn.qkv.weight": ("to_q", "to_k", "to_v"),
    "txt_attn.qkv.weight": ("add_q_proj", "add_k_proj", "add_v_proj"),
}
_FLUX2_SINGLE = {
    "attn.norm_q.weight": "norm.query_norm.scale",
    "attn.norm_k.weight": "norm.key_norm.scale",
    "attn.to_qkv_mlp_proj": "linear1",
    "attn.to_out": "linear2",
}
_FLUX2_OTHERS = {
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    "time_guidance_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_guidance_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "double_stream_modulation_img.linear": "double_stream_modulation_img.lin",
    "double_stream_modulation_txt.linear": "double_stream_modulation_txt.lin",
    "single_stream_modulation.linear": "single_stream_modulation.lin",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
    "proj_out": "final_layer.linear",
}
# The authors give the shift before the scale, diffusers behind it.
_FLUX2_SWAPPED = frozenset({"final_layer.adaLN_modulation.1.weight"})


def z_image_table(config: Mapping[str, Any]) -> KeyTable:
    """Pairs of a ZImageTransformer2DModel with this configuration; its queries, keys and values are one."""
    blocks = [f"layers.{index}" for index in range(config["n_layers"])]
    for kind in ("noise", "context"):
        blocks += [f"{kind}_refiner.{index}" for index in range(config["n_refiner_layers"])]
    pairs = [("all_x_embedder.2-1", "x_embedder"), ("all_final_layer.2-1", "final_layer")]
    pairs += [(name, name) for name in _Z_IMAGE_OTHERS]
    fused = {}
    for block in blocks:
        pairs += [(f"{block}.{ours}", f"{block}.{original}") for ours, original in _Z_IMAGE_BLOCK.items()]
        parts = tuple(f"{block}.attention.to_{part}.weight" for part in "qkv")
        fused[f"{block}.attention.qkv.weight"] = parts
    return KeyTable("transformer", FLOW_PREFIX, tuple(pairs), fused)


def flux2_table(config: Mapping[str, Any]) -> KeyTable:
    """Pairs of a Flux2Transformer2DModel with this configuration.

    Queries, keys and values are one in the double blocks; in the single ones, they and the MLP are in either
    layout.
    """
    pairs, fused = list(_FLUX2_OTHERS.items()), {}
    for index in range(config["num_layers"]):
        ours, original = f"transformer_blocks.{index}", f"double_blocks.{index}"
        pairs += [(f"{ours}.{a}", f"{original}.{b}") for a, b in _FLUX2_DOUBLE.items()]
        for tensor, parts in _FLUX2_FUSED.items():
            fused[f"{original}.{tensor}"] = tuple(f"{ours}.attn.{part}.weight" for part in parts)
    for index in range(config["num_single_layers"]):
        ours, original = f"single_transformer_blocks.{index}", f"single_blocks.{index}"
        pairs += [(f"{ours}.{a}", f"{original}.{b}") for a, b in _FLUX2_SINGLE.items()]
    return KeyTable("transformer", FLOW_PREFIX, tuple(pairs), fused, swapped=_FLUX2_SWAPPED)


def qwen3_table(prefix: str) -> KeyTable:
    """Pairs of a Qwen3Model, which every layout keeps as transformers' Qwen3ForCausalLM does."""
    parts = ("embed_tokens", "layers", "norm")
    return KeyTable("text_encoder", prefix, tuple((part, f"model.{part}") for part in parts))


def flow_vae_table(config: Mapping[str, Any]) -> KeyTable:
    """Pairs of an AutoencoderKL: those of Stable Diffusion, under another prefix."""
    return replace(vae_table(config), prefix=FLOW_VAE_PREFIX)


def flux2_vae_table(config: Mapping[str, Any]) -> KeyTable:
    """Pairs of an AutoencoderKLFlux2: a norm's statistics, and convolutions that belong to either half."""
    table = flow_vae_table(config)
    own = {
        "quant_conv": "encoder.quant_conv",
        "post_quant_conv": "decoder.post_quant_conv",
        "bn": "bn",
    }
    pairs = [pair for pair in table.pairs if pair[0] not in own]
    return replace(table, pairs=(*own.items(), *pairs))
