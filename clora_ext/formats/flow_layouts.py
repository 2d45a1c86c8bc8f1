"""How each kind of model of flow matching lies in files: its names, and its key tables. Needs no torch."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .flow_keys import (
    FLOW_PREFIX,
    QWEN3_06B_PREFIX,
    QWEN3_4B_PREFIX,
    QWEN3_8B_PREFIX,
    QWEN3VL_4B_PREFIX,
    anima_conditioner_table,
    anima_table,
    flow_vae_table,
    flux2_table,
    flux2_vae_table,
    qwen_image_vae_table,
    z_image_table,
)
from .keys import KeyTable
from .krea2_keys import krea2_table

__all__ = ["ANIMA", "FLOW_LAYOUTS", "FLUX2_KLEIN", "KREA_2", "Z_IMAGE", "FlowNames"]

_QWEN3_8B = 4096  # its width


@dataclass(frozen=True, slots=True)
class FlowNames:
    """How a kind of model is known by its names, and how they are translated.

    Attributes:
        pipeline: diffusers' class of the whole.
        original: names that the transformer's own layout has.
        diffusers: names that diffusers' layout has, and only that.
        stacks: a pattern of diffusers' name of each stack of blocks, by the configuration's name of how many
            there are.
        table: the transformer's key table, from these numbers.
        vae_table: the VAE's, from the numbers that ``vae_counts`` names.
        text_prefix: where the text encoder stands in a file of everything, from its width.
        renamed: how programs also call tensors of a file of everything, as patterns, and the usual name.
        vae_counts: the names, in the VAE's configuration, of what has a number for each of its levels, and of
            how many blocks a level has.
        beside: key tables of what stands among the transformer's tensors and has a folder of its own in
            diffusers' layout, by the folder's name.
        sees: whether its language model sees pictures, too; None: it may, and that half is not needed.
    """

    pipeline: str
    original: tuple[str, ...]
    diffusers: tuple[str, ...]
    stacks: Mapping[str, str]
    table: Callable[[Mapping[str, Any]], KeyTable]
    vae_table: Callable[[Mapping[str, Any]], KeyTable]
    text_prefix: Callable[[int], str]
    renamed: tuple[tuple[re.Pattern[str], str], ...] = ()
    vae_counts: tuple[str, str] = ("block_out_channels", "layers_per_block")
    beside: Mapping[str, Callable[[], KeyTable]] = field(default_factory=dict)
    sees: bool | None = False

    def table_of(self, names: Iterable[str]) -> KeyTable:
        """The key table of a transformer with diffusers' names, as deep as they say."""
        found = list(names)
        return self.table({count: _count(found, stack) for count, stack in self.stacks.items()})

    def usual(self, name: str) -> str:
        """A tensor of a file of everything by its usual name."""
        for pattern, usual in self.renamed:
            if pattern.match(name):
                return pattern.sub(usual, name)
        return name


def _count(names: Iterable[str], stack: str) -> int:
    """How many blocks of a stack the names are of, counted from 0."""
    block = re.compile(rf"{stack}\.(\d{{1,3}})\.")
    return max((int(found[1]) + 1 for name in names if (found := block.match(name))), default=0)


Z_IMAGE = FlowNames(
    pipeline="ZImagePipeline",
    original=("cap_embedder.1.weight", "x_embedder.weight"),
    diffusers=("cap_embedder.1.weight", "all_x_embedder.2-1.weight"),
    stacks={"n_layers": "layers", "n_refiner_layers": "noise_refiner"},
    table=z_image_table,
    vae_table=flow_vae_table,
    text_prefix=lambda width: QWEN3_4B_PREFIX,
)
"""Of Z-Image."""

FLUX2_KLEIN = FlowNames(
    pipeline="Flux2KleinPipeline",
    original=("double_stream_modulation_img.lin.weight", "img_in.weight"),
    diffusers=("double_stream_modulation_img.linear.weight", "x_embedder.weight"),
    stacks={"num_layers": "transformer_blocks", "num_single_layers": "single_transformer_blocks"},
    table=flux2_table,
    vae_table=flux2_vae_table,
    text_prefix=lambda width: QWEN3_8B_PREFIX if width == _QWEN3_8B else QWEN3_4B_PREFIX,
    # As ComfyUI saves what it has loaded.
    renamed=(
        (re.compile(rf"({re.escape(FLOW_PREFIX)}.+\.(?:query|key)_norm)\.weight$"), r"\1.scale"),
        (re.compile(r"vae\.(quant_conv\.)"), r"vae.encoder.\1"),
        (re.compile(r"vae\.(post_quant_conv\.)"), r"vae.decoder.\1"),
    ),
)
"""Of Flux.2 klein."""

ANIMA = FlowNames(
    pipeline="AnimaModularPipeline",
    original=("blocks.0.mlp.layer1.weight", "x_embedder.proj.1.weight"),
    diffusers=("transformer_blocks.0.norm1.linear_1.weight", "patch_embed.proj.weight"),
    stacks={"num_layers": "transformer_blocks"},
    table=anima_table,
    vae_table=qwen_image_vae_table,
    text_prefix=lambda width: QWEN3_06B_PREFIX,
    # As ComfyUI has a file of everything, of this kind of model.
    renamed=(
        (re.compile(r"cond_stage_model\.(qwen3_06b\.transformer\.)"), r"text_encoders.\1"),
        (re.compile(r"first_stage_model\."), "vae."),
    ),
    vae_counts=("dim_mult", "num_res_blocks"),
    beside={"text_conditioner": anima_conditioner_table},
)
"""Of Anima."""

KREA_2 = FlowNames(
    pipeline="Krea2Pipeline",
    original=("txtfusion.projector.weight", "first.weight"),
    diffusers=("text_fusion.projector.weight", "img_in.weight"),
    stacks={
        "num_layers": "transformer_blocks",
        "num_layerwise_text_blocks": r"text_fusion\.layerwise_blocks",
        "num_refiner_text_blocks": r"text_fusion\.refiner_blocks",
    },
    table=krea2_table,
    vae_table=qwen_image_vae_table,
    text_prefix=lambda width: QWEN3VL_4B_PREFIX,
    vae_counts=("dim_mult", "num_res_blocks"),
    sees=None,
)
"""Of Krea 2."""

FLOW_LAYOUTS = (Z_IMAGE, FLUX2_KLEIN, ANIMA, KREA_2)
"""All that are read."""
