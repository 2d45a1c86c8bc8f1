"""Names of tensors in Krea 2's transformer: its authors' layout against diffusers' module. Needs no torch."""

from collections.abc import Mapping
from typing import Any

from .flow_keys import FLOW_PREFIX
from .keys import KeyTable

__all__ = ["krea2_table"]

_KREA2_BLOCK = {
    "norm1.weight": "prenorm.scale",
    "norm2.weight": "postnorm.scale",
    "attn.to_q": "attn.wq",
    "attn.to_k": "attn.wk",
    "attn.to_v": "attn.wv",
    "attn.to_gate": "attn.gate",
    "attn.to_out.0": "attn.wo",
    "attn.norm_q.weight": "attn.qknorm.qnorm.scale",
    "attn.norm_k.weight": "attn.qknorm.knorm.scale",
    "ff.gate": "mlp.gate",
    "ff.up": "mlp.up",
    "ff.down": "mlp.down",
}
_KREA2_OTHERS = {
    "img_in": "first",
    "time_embed.linear_1": "tmlp.0",
    "time_embed.linear_2": "tmlp.2",
    "time_mod_proj": "tproj.1",
    "text_fusion.projector": "txtfusion.projector",
    "txt_in.norm.weight": "txtmlp.0.scale",
    "txt_in.linear_1": "txtmlp.1",
    "txt_in.linear_2": "txtmlp.3",
    "final_layer.scale_shift_table": "last.modulation.lin",
    "final_layer.norm.weight": "last.norm.scale",
    "final_layer.linear": "last.linear",
}
_KREA2_STACKS = {
    "num_layerwise_text_blocks": ("text_fusion.layerwise_blocks", "txtfusion.layerwise_blocks"),
    "num_refiner_text_blocks": ("text_fusion.refiner_blocks", "txtfusion.refiner_blocks"),
    "num_layers": ("transformer_blocks", "blocks"),
}


def krea2_table(config: Mapping[str, Any]) -> KeyTable:
    """Pairs of a Krea2Transformer2DModel with this configuration; nothing is fused.

    The tables of what a block adds to all blocks' modulation are one row in the authors' layout.
    """
    pairs, flat = list(_KREA2_OTHERS.items()), set()
    for count, stacks in _KREA2_STACKS.items():
        for index in range(config[count]):
            ours, original = (f"{stack}.{index}" for stack in stacks)
            pairs += [(f"{ours}.{a}", f"{original}.{b}") for a, b in _KREA2_BLOCK.items()]
            if count == "num_layers":
                pairs.append((f"{ours}.scale_shift_table", f"{original}.mod.lin"))
                flat.add(f"{original}.mod.lin")
    return KeyTable("transformer", FLOW_PREFIX, tuple(pairs), flat=frozenset(flat))
