"""Which layers of a UNet and of CLIP text encoders a concept is taught to."""

from clora_ext.adapters.sites import Target
from clora_ext.config.settings import TargetSet

__all__ = ["in_clip", "in_unet"]

_ATTENTION = (".to_q", ".to_k", ".to_v", ".to_out.0")


def in_unet(target: Target, chosen: TargetSet) -> bool:
    """Whether a layer of the UNet is among the chosen ones."""
    inside = "attentions." in target.module  # a transformer between the residual blocks
    if chosen == "attention":
        return inside and ".attn" in target.module and target.module.endswith(_ATTENTION)
    return inside


def in_clip(target: Target) -> bool:
    """Whether a layer of a text encoder belongs to its attention or its MLP."""
    return ".self_attn." in target.module or ".mlp." in target.module
