"""Which layers of a UNet and of CLIP text encoders a concept is taught to."""

import re

from clora_ext.adapters.sites import Target
from clora_ext.config.settings import TargetSet

__all__ = ["in_clip", "in_residual_block", "in_unet", "read_by"]

# The text's states go to every block; queries, keys and values of self-attention read one hidden state.
_TEXT = re.compile(r"\.attn2\.to_[kv]$")
_SELF_ATTENTION = re.compile(r"\.(attn1\.to_[qkv]|self_attn\.[qkv]_proj)$")

_RESIDUAL = re.compile(r"\.(resnets|downsamplers|upsamplers)\.")
_ATTENTION = (".to_q", ".to_k", ".to_v", ".to_out.0")


def in_unet(target: Target, chosen: TargetSet | None) -> bool:
    """Whether a layer of the UNet is among the chosen ones."""
    if chosen is None:
        return False
    inside = "attentions." in target.module  # a transformer between the residual blocks
    if chosen == "attention":
        return inside and ".attn" in target.module and target.module.endswith(_ATTENTION)
    return inside


def in_residual_block(target: Target) -> bool:
    """Whether a layer of the UNet belongs to a residual block or changes the size, like ``conv_dim``.

    These are all convolutions but the first and the last, and the layers that tell them the time.
    """
    return bool(_RESIDUAL.search(target.module))


def in_clip(target: Target) -> bool:
    """Whether a layer of a text encoder belongs to its attention or its MLP."""
    return ".self_attn." in target.module or ".mlp." in target.module


def read_by(module: str) -> str:
    """What a layer's input is called where other layers of its component read the same; empty: its own.

    >>> read_by("down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_k")
    'down_blocks.0.attentions.0.transformer_blocks.0.attn1'
    >>> read_by("mid_block.attentions.0.transformer_blocks.0.attn2.to_v")
    'encoder_hidden_states'
    """
    if _TEXT.search(module):
        return "encoder_hidden_states"
    return module.rpartition(".")[0] if _SELF_ATTENTION.search(module) else ""
