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
    "flow_vae_table",
    "qwen3_table",
    "z_image_table",
]

FLOW_PREFIX = "model.diffusion_model."
"""Where the transformer's tensors stand; a transformer alone may be published without."""

FLOW_VAE_PREFIX = "vae."
"""Where the VAE's tensors stand in a file of everything."""

QWEN3_4B_PREFIX = "text_encoders.qwen3_4b.transformer."
"""Where Qwen3-4B's stand."""

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


def qwen3_table(prefix: str) -> KeyTable:
    """Pairs of a Qwen3Model, which every layout keeps as transformers' Qwen3ForCausalLM does."""
    parts = ("embed_tokens", "layers", "norm")
    return KeyTable("text_encoder", prefix, tuple((part, f"model.{part}") for part in parts))


def flow_vae_table(config: Mapping[str, Any]) -> KeyTable:
    """Pairs of an AutoencoderKL: those of Stable Diffusion, under another prefix."""
    return replace(vae_table(config), prefix=FLOW_VAE_PREFIX)
