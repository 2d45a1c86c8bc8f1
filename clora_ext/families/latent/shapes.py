"""Configurations read from the shapes in a checkpoint's header: whatever depth and width it has.

What shapes cannot tell (heads, the noise schedule, the latents' scale) comes from the family's own data.
Needs no torch.
"""

from collections.abc import Mapping
from itertools import count
from typing import Any

from clora_ext.errors import CheckpointError
from clora_ext.families.shapes import Shapes, autoencoder_levels
from clora_ext.formats.header import Header

__all__ = ["clip_config", "open_clip_config", "unet_config", "vae_config"]

_HEAD = 64
_FIX = "use a checkpoint in Stable Diffusion's original layout"


def unet_config(header: Header, prefix: str, heads: int | None) -> dict[str, Any]:
    """diffusers' configuration of a UNet2DConditionModel.

    Args:
        header: of the checkpoint.
        prefix: where the UNet's tensors stand.
        heads: of every attention layer; None: as many as make 64 features each.

    Raises:
        CheckpointError: tensors are missing.
    """
    shapes = Shapes(header, prefix)
    levels = _levels(shapes)
    widths = [blocks[0][0] for blocks in levels]
    depths = [blocks[0][1] for blocks in levels]
    down = ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths]
    middle = shapes.series("middle_block.1.transformer_blocks.{}.norm1.weight")
    first = next((index for index, depth in enumerate(depths) if depth), None)
    if first is None:
        raise CheckpointError("the UNet has no cross-attention", fix=_FIX)
    place = 1 + sum(len(blocks) for blocks in levels[:first]) + first
    block = f"input_blocks.{place}.1"
    config: dict[str, Any] = {
        "in_channels": shapes.side("input_blocks.0.0.weight", 1),
        "out_channels": shapes.side("out.2.weight", 0),
        "block_out_channels": widths,
        "layers_per_block": len(levels[0]),
        "down_block_types": down,
        "up_block_types": [kind.replace("Down", "Up") for kind in reversed(down)],
        # The middle block's depth is read from the last entry, where the last level has no attention too.
        "transformer_layers_per_block": [*(depth or 1 for depth in depths[:-1]), depths[-1] or middle],
        "cross_attention_dim": shapes.side(f"{block}.transformer_blocks.0.attn2.to_k.weight", 1),
        "use_linear_projection": shapes.dimensions(f"{block}.proj_in.weight") == 2,  # noqa: PLR2004
        # diffusers' name for the number of heads (its issue 2011).
        "attention_head_dim": heads or [max(1, width // _HEAD) for width in widths],
    }
    if "label_emb.0.0.weight" in shapes:
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": shapes.side("label_emb.0.0.weight", 1),
        }
    return config


def _levels(shapes: Shapes) -> list[list[tuple[int, int]]]:
    """(width, transformer depth) of every block on the way down, by resolution."""
    levels: list[list[tuple[int, int]]] = [[]]
    for number in count(1):
        block = f"input_blocks.{number}"
        if f"{block}.0.op.weight" in shapes:
            levels.append([])
        elif f"{block}.0.in_layers.2.weight" in shapes:
            depth = shapes.series(block + ".1.transformer_blocks.{}.norm1.weight")
            levels[-1].append((shapes.side(f"{block}.0.in_layers.2.weight", 0), depth))
        else:
            break
    if any(len(set(blocks)) != 1 or len(blocks) != len(levels[0]) for blocks in levels):
        raise CheckpointError("the UNet's blocks are not regular: this layout is not known", fix=_FIX)
    return levels


def vae_config(header: Header, prefix: str, scaling_factor: float) -> dict[str, Any]:
    """diffusers' configuration of an AutoencoderKL.

    Args:
        header: of the checkpoint.
        prefix: where the VAE's tensors stand.
        scaling_factor: latents are multiplied by it.

    Raises:
        CheckpointError: tensors are missing.
    """
    shapes = Shapes(header, prefix)
    return {
        **autoencoder_levels(shapes),
        "latent_channels": shapes.side("post_quant_conv.weight", 1),
        "scaling_factor": scaling_factor,
    }


def clip_config(header: Header, prefix: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """transformers' configuration of a text encoder in CLIPTextModel's own layout.

    Args:
        header: of the checkpoint.
        prefix: where its tensors stand.
        known: what shapes do not tell: the activation and the special tokens.

    Raises:
        CheckpointError: tensors are missing.
    """
    shapes = Shapes(header, f"{prefix}text_model.")
    width = shapes.side("embeddings.token_embedding.weight", 1)
    return {
        **known,
        "vocab_size": shapes.side("embeddings.token_embedding.weight", 0),
        "hidden_size": width,
        "intermediate_size": shapes.side("encoder.layers.0.mlp.fc1.weight", 0),
        "num_hidden_layers": shapes.series("encoder.layers.{}.mlp.fc1.weight"),
        "num_attention_heads": max(1, width // _HEAD),
        "max_position_embeddings": shapes.side("embeddings.position_embedding.weight", 0),
        "projection_dim": width,
    }


def open_clip_config(header: Header, prefix: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """transformers' configuration of a text encoder in open_clip's layout; see :func:`clip_config`."""
    shapes = Shapes(header, prefix)
    width = shapes.side("token_embedding.weight", 1)
    return {
        **known,
        "vocab_size": shapes.side("token_embedding.weight", 0),
        "hidden_size": width,
        "intermediate_size": shapes.side("transformer.resblocks.0.mlp.c_fc.weight", 0),
        "num_hidden_layers": shapes.series("transformer.resblocks.{}.mlp.c_fc.weight"),
        "num_attention_heads": max(1, width // _HEAD),
        "max_position_embeddings": shapes.side("positional_embedding", 0),
        "projection_dim": shapes.side("text_projection", 1),
    }
