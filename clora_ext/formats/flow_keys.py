"""Names of tensors in models of flow matching: ComfyUI's layout against diffusers' and transformers' modules.

Their transformers are published alone; where a text encoder and a VAE lie in the same file, they stand under
the prefixes below. Needs no torch.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .keys import KeyTable, vae_table

__all__ = [
    "CONDITIONER_PREFIX",
    "FLOW_PREFIX",
    "FLOW_VAE_PREFIX",
    "QWEN3VL_4B_PREFIX",
    "QWEN3_06B_PREFIX",
    "QWEN3_4B_PREFIX",
    "QWEN3_8B_PREFIX",
    "anima_conditioner_table",
    "anima_table",
    "flow_vae_table",
    "flux2_table",
    "flux2_vae_table",
    "qwen3_table",
    "qwen_image_vae_table",
    "z_image_table",
]

FLOW_PREFIX = "model.diffusion_model."
"""Where the transformer's tensors stand; a transformer alone may be published without."""

FLOW_VAE_PREFIX = "vae."
"""Where the VAE's tensors stand in a file of everything."""

QWEN3_06B_PREFIX = "text_encoders.qwen3_06b.transformer."
"""Where Qwen3-0.6B's stand."""

QWEN3_4B_PREFIX = "text_encoders.qwen3_4b.transformer."
"""Where Qwen3-4B's stand."""

QWEN3_8B_PREFIX = "text_encoders.qwen3_8b.transformer."
"""Where Qwen3-8B's stand."""

QWEN3VL_4B_PREFIX = "text_encoders.qwen3vl_4b.transformer."
"""Where Qwen3-VL-4B's stand; of its two halves the one that reads words is used."""

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


_CONDITIONER = "llm_adapter."

CONDITIONER_PREFIX = FLOW_PREFIX + _CONDITIONER
"""Where the network stands that reads for Anima's transformer, among the transformer's own tensors."""

_ANIMA_ATTENTION = {
    "to_q": "q_proj",
    "to_k": "k_proj",
    "to_v": "v_proj",
    "to_out.0": "output_proj",
    "norm_q": "q_norm",
    "norm_k": "k_norm",
}
_ANIMA_BLOCK = {
    **{f"attn1.{ours}": f"self_attn.{original}" for ours, original in _ANIMA_ATTENTION.items()},
    **{f"attn2.{ours}": f"cross_attn.{original}" for ours, original in _ANIMA_ATTENTION.items()},
    "ff.net.0.proj": "mlp.layer1",
    "ff.net.2": "mlp.layer2",
    **{
        f"norm{number}.linear_{layer}": f"adaln_modulation_{part}.{layer}"
        for number, part in enumerate(("self_attn", "cross_attn", "mlp"), 1)
        for layer in (1, 2)
    },
}
_ANIMA_OTHERS = {
    "patch_embed.proj": "x_embedder.proj.1",
    "time_embed.t_embedder": "t_embedder.1",
    "time_embed.norm": "t_embedding_norm",
    "norm_out.linear_1": "final_layer.adaln_modulation.1",
    "norm_out.linear_2": "final_layer.adaln_modulation.2",
    "proj_out": "final_layer.linear",
}

_SIGHT = "visual."  # what a language model that sees pictures, too, does that with

_WAN_BLOCK = {
    "norm1": "residual.0",
    "conv1": "residual.2",
    "norm2": "residual.3",
    "conv2": "residual.6",
    "conv_shortcut": "shortcut",
}
_WAN_RESAMPLED = ("resample", "time_conv")
_WAN_SIDE = {
    "conv_in": "conv1",
    **{f"mid_block.resnets.0.{ours}": f"middle.0.{original}" for ours, original in _WAN_BLOCK.items()},
    "mid_block.attentions.0": "middle.1",
    **{f"mid_block.resnets.1.{ours}": f"middle.2.{original}" for ours, original in _WAN_BLOCK.items()},
    "norm_out": "head.0",
    "conv_out": "head.2",
}


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


def anima_table(config: Mapping[str, Any]) -> KeyTable:
    """Pairs of a CosmosTransformer3DModel with this configuration; nothing is fused."""
    pairs = list(_ANIMA_OTHERS.items())
    for index in range(config["num_layers"]):
        ours, original = f"transformer_blocks.{index}", f"blocks.{index}"
        pairs += [(f"{ours}.{a}", f"{original}.{b}") for a, b in _ANIMA_BLOCK.items()]
    return KeyTable("transformer", FLOW_PREFIX, tuple(pairs), apart=(_CONDITIONER,))


def anima_conditioner_table() -> KeyTable:
    """Pairs of an AnimaTextConditioner, whose names are the same in either layout."""
    parts = ("embed", "in_proj", "blocks", "out_proj", "norm")
    return KeyTable("text_conditioner", CONDITIONER_PREFIX, tuple((part, part) for part in parts))


def qwen3_table(prefix: str) -> KeyTable:
    """Pairs of a Qwen3Model, which every layout keeps as transformers' Qwen3ForCausalLM does.

    What Qwen3-VL sees with stands beside it.
    """
    parts = ("embed_tokens", "layers", "norm")
    pairs = tuple((part, f"model.{part}") for part in parts)
    return KeyTable("text_encoder", prefix, pairs, apart=(_SIGHT,))


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


def qwen_image_vae_table(config: Mapping[str, Any]) -> KeyTable:
    """Pairs of an AutoencoderKLQwenImage, whose authors (Wan's) number its blocks without levels.

    Args:
        config: ``dim_mult`` has a number for each level, ``num_res_blocks`` is that of blocks in each.
    """
    levels, blocks = len(config["dim_mult"]), int(config["num_res_blocks"])
    pairs = [("quant_conv", "conv1"), ("post_quant_conv", "conv2")]
    for side in ("encoder", "decoder"):
        pairs += [(f"{side}.{ours}", f"{side}.{original}") for ours, original in _WAN_SIDE.items()]
    last = levels - 1
    for level in range(levels):
        down, up = level * (blocks + 1), level * (blocks + 2)
        for block in range(blocks):
            pairs += _wan_block(f"encoder.down_blocks.{down + block}", f"encoder.downsamples.{down + block}")
        for block in range(blocks + 1):
            ours = f"decoder.up_blocks.{level}.resnets.{block}"
            pairs += _wan_block(ours, f"decoder.upsamples.{up + block}")
        if level < last:
            resampled = (
                (f"encoder.down_blocks.{down + blocks}", f"encoder.downsamples.{down + blocks}"),
                (f"decoder.up_blocks.{level}.upsamplers.0", f"decoder.upsamples.{up + blocks + 1}"),
            )
            pairs += [(f"{a}.{part}", f"{b}.{part}") for a, b in resampled for part in _WAN_RESAMPLED]
    return KeyTable("vae", FLOW_VAE_PREFIX, tuple(pairs))


def _wan_block(ours: str, original: str) -> list[tuple[str, str]]:
    """Pairs of a residual block."""
    return [(f"{ours}.{a}", f"{original}.{b}") for a, b in _WAN_BLOCK.items()]
