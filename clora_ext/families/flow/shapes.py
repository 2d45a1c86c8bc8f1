"""Configurations of a language model and a VAE, read from the shapes in a header. Needs no torch.

What shapes cannot tell comes from the family's own data.
"""

from collections.abc import Mapping
from typing import Any

from clora_ext.errors import CheckpointError
from clora_ext.families.shapes import Shapes, autoencoder_levels
from clora_ext.formats.header import Header

__all__ = [
    "conditioner_config",
    "flow_vae_config",
    "flux2_vae_config",
    "qwen3_config",
    "qwen_image_vae_config",
]

_FIX = "use the file that is published with the model"


def qwen3_config(header: Header, prefix: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """transformers' configuration of a Qwen3Model.

    Args:
        header: of everything.
        prefix: where its tensors stand.
        known: what shapes do not tell.

    Raises:
        CheckpointError: tensors are missing.
    """
    shapes = Shapes(header, f"{prefix}model.")
    head = shapes.side("layers.0.self_attn.q_norm.weight", 0)
    queries, keys = (shapes.side(f"layers.0.self_attn.{part}_proj.weight", 0) for part in "qk")
    if not head or queries % head or keys % head:
        raise CheckpointError(f"heads of {head} do not fit {queries} queries and {keys} keys", fix=_FIX)
    return {
        **known,
        "vocab_size": shapes.side("embed_tokens.weight", 0),
        "hidden_size": shapes.side("embed_tokens.weight", 1),
        "intermediate_size": shapes.side("layers.0.mlp.gate_proj.weight", 0),
        "num_hidden_layers": shapes.series("layers.{}.mlp.gate_proj.weight"),
        "num_attention_heads": queries // head,
        "num_key_value_heads": keys // head,
        "head_dim": head,
    }


def flow_vae_config(header: Header, prefix: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """diffusers' configuration of an AutoencoderKL without convolutions between its halves.

    Args:
        header: of everything.
        prefix: where its tensors stand.
        known: how its latents are scaled and shifted.

    Raises:
        CheckpointError: tensors are missing.
    """
    shapes = Shapes(header, prefix)
    if "encoder.down.0.block.0.conv1.weight" not in shapes:
        raise CheckpointError("its VAE has no blocks", fix=_FIX)
    return {
        **known,
        **autoencoder_levels(shapes),
        "latent_channels": shapes.side("decoder.conv_in.weight", 1),
        "use_quant_conv": False,
        "use_post_quant_conv": False,
    }


def flux2_vae_config(header: Header, prefix: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """diffusers' configuration of an AutoencoderKLFlux2, whose decoder may be narrower than its encoder.

    Args:
        header: of everything.
        prefix: where its tensors stand.
        known: what shapes do not tell.

    Raises:
        CheckpointError: tensors are missing.
    """
    shapes = Shapes(header, prefix)
    config = flow_vae_config(header, prefix, known)
    widths = config["block_out_channels"]
    decoder = [shapes.side(f"decoder.up.{block}.block.0.conv2.weight", 0) for block in range(len(widths))]
    channels = config["latent_channels"]
    if shapes.side("bn.running_mean", 0) != 4 * channels:
        raise CheckpointError(f"the statistics of its VAE are not of {channels} channels", fix=_FIX)
    narrower = (
        {} if decoder == widths else {"decoder_block_out_channels": decoder}
    )  # diffusers 0.37 knows none
    return {
        **config,
        **narrower,
        "use_quant_conv": "encoder.quant_conv.weight" in shapes,
        "use_post_quant_conv": "decoder.post_quant_conv.weight" in shapes,
    }


def qwen_image_vae_config(header: Header, prefix: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """diffusers' configuration of an AutoencoderKLQwenImage, in its authors' layout (Wan's).

    Args:
        header: of everything.
        prefix: where its tensors stand.
        known: how its latents are scaled and shifted.

    Raises:
        CheckpointError: tensors are missing.
    """
    shapes = Shapes(header, prefix)
    first = shapes.side("encoder.conv1.weight", 0)
    blocks = shapes.series("encoder.downsamples.{}.residual.2.weight")
    widths = [
        shapes.side(f"encoder.downsamples.{number}.residual.2.weight", 0)
        for number in _first_blocks(shapes, blocks)
    ]
    channels = shapes.side("decoder.conv1.weight", 1)
    if not first or not blocks or any(width % first for width in widths):
        raise CheckpointError(f"the blocks of its VAE are not multiples of {first} channels", fix=_FIX)
    if len(known["latents_mean"]) != channels:
        message = f"its VAE has {channels} channels, and scales of {len(known['latents_mean'])} are known"
        raise CheckpointError(message, fix=_FIX)
    return {
        **known,
        "base_dim": first,
        "z_dim": channels,
        "dim_mult": [width // first for width in widths],
        "num_res_blocks": blocks,
        "attn_scales": [],
        "temperal_downsample": [
            f"encoder.downsamples.{number}.time_conv.weight" in shapes
            for number in range(blocks, (len(widths) - 1) * (blocks + 1), blocks + 1)
        ],
        "input_channels": shapes.side("encoder.conv1.weight", 1),
    }


def _first_blocks(shapes: Shapes, blocks: int) -> list[int]:
    """The numbers of the first block of each level; what makes pictures smaller stands behind the last."""
    found = [0]
    while f"encoder.downsamples.{found[-1] + blocks + 1}.residual.2.weight" in shapes:
        found.append(found[-1] + blocks + 1)
    return found


def conditioner_config(header: Header, prefix: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """diffusers' configuration of an AnimaTextConditioner.

    Args:
        header: of everything.
        prefix: where its tensors stand.
        known: what shapes do not tell.

    Raises:
        CheckpointError: tensors are missing, or its heads do not fit.
    """
    shapes = Shapes(header, prefix)
    head = shapes.side("blocks.0.cross_attn.q_norm.weight", 0)
    width = shapes.side("blocks.0.cross_attn.q_proj.weight", 0)
    if not head or width % head:
        raise CheckpointError(
            f"heads of {head} do not fit the width {width} of its text conditioner", fix=_FIX
        )
    return {
        **known,
        "source_dim": shapes.side("blocks.0.cross_attn.k_proj.weight", 1),
        "target_dim": shapes.side("embed.weight", 1),
        "model_dim": width,
        "num_layers": shapes.series("blocks.{}.cross_attn.q_proj.weight"),
        "num_attention_heads": width // head,
        "mlp_ratio": shapes.side("blocks.0.mlp.0.weight", 0) / width,
        "target_vocab_size": shapes.side("embed.weight", 0),
        "use_self_attention": "blocks.0.self_attn.q_proj.weight" in shapes,
        "use_layer_norm": "blocks.0.norm_mlp.bias" in shapes,
    }
