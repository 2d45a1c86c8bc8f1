"""Which of a model's layers a concept is taught to."""

from collections.abc import Sequence

from clora_ext.adapters.sites import Target
from clora_ext.config.settings import TargetSet

__all__ = ["choose_targets"]

_ATTENTION = (".to_q", ".to_k", ".to_v", ".to_out.0")


def choose_targets(
    modules: Sequence[Target], chosen: TargetSet, *, text_encoders: bool
) -> tuple[Target, ...]:
    """The layers to teach.

    Args:
        modules: all layers of the model.
        chosen: which of the UNet's.
        text_encoders: whether attention and MLP of the text encoders are taught too.
    """
    return tuple(
        target
        for target in modules
        if (_in_unet(target, chosen) if target.component == "unet" else text_encoders and _in_text(target))
    )


def _in_unet(target: Target, chosen: TargetSet) -> bool:
    inside = "attentions." in target.module  # a transformer between the residual blocks
    if chosen == "attention":
        return inside and ".attn" in target.module and target.module.endswith(_ATTENTION)
    return inside


def _in_text(target: Target) -> bool:
    return ".self_attn." in target.module or ".mlp." in target.module
