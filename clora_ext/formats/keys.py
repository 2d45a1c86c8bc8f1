"""Names of tensors: Stable Diffusion's original single-file layout against diffusers' modules.

The tables follow from a model's configuration (how many blocks, which of them attend), so any depth works.
Both directions come from one list of prefix pairs; a name that no pair covers is an error, never skipped.
Text encoders are named as transformers' CLIP models are, always with ``text_model.``. Needs no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from clora_ext.errors import CheckpointError

from .text import quoted

__all__ = [
    "SD1_TEXT_PREFIX",
    "SDXL_TEXT_2_PREFIX",
    "SDXL_TEXT_PREFIX",
    "UNET_PREFIX",
    "VAE_PREFIX",
    "KeyTable",
    "Place",
    "clip_table",
    "open_clip_table",
    "unet_table",
    "vae_table",
]

UNET_PREFIX = "model.diffusion_model."
"""Where the UNet's tensors stand in a checkpoint of Stable Diffusion 1 or XL."""

VAE_PREFIX = "first_stage_model."
"""Where the VAE's tensors stand in either."""

SD1_TEXT_PREFIX = "cond_stage_model.transformer."
"""Where Stable Diffusion 1's text encoder stands."""

SDXL_TEXT_PREFIX = "conditioner.embedders.0.transformer."
"""Where SDXL's first text encoder, CLIP-L, stands."""

SDXL_TEXT_2_PREFIX = "conditioner.embedders.1.model."
"""Where SDXL's second text encoder, open_clip's bigG, stands."""

_UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_VAE_RESNET = {name: name for name in ("norm1", "conv1", "norm2", "conv2")} | {
    "conv_shortcut": "nin_shortcut"
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_CLIP_PARTS = ("embeddings", "encoder", "final_layer_norm")
_OPEN_CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a parameter of a module stands in the original layout.

    Attributes:
        tensor: the checkpoint's name.
        part: (index, count): the parameter is the index-th of count equally high blocks of the tensor's
            rows; (0, 1): it is the whole tensor.
        transposed: whether rows and columns are exchanged.
        swapped: whether the lower half of its rows stands above the upper one there.
        flat: whether its rows stand behind one another there, in one.
    """

    tensor: str
    part: tuple[int, int] = (0, 1)
    transposed: bool = False
    swapped: bool = False
    flat: bool = False


@dataclass(frozen=True)
class KeyTable:
    """The names of one component, both ways.

    Attributes:
        component: ``unet``, ``vae``, ``text_encoder`` or ``text_encoder_2``.
        prefix: where the component's tensors stand in a checkpoint.
        pairs: (diffusers, original): each name begins with exactly one of the prefixes; the longest counts.
        fused: original tensors that hold several parameters below one another, with their names.
        transposed: original tensors with rows and columns exchanged.
        swapped: original tensors with the two halves of their rows exchanged.
        flat: original tensors whose rows stand behind one another, in one.
        apart: what names of another component begin with that stands below the same prefix.
    """

    component: str
    prefix: str
    pairs: tuple[tuple[str, str], ...]
    fused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    transposed: frozenset[str] = frozenset()
    swapped: frozenset[str] = frozenset()
    flat: frozenset[str] = frozenset()
    apart: tuple[str, ...] = ()

    def place(self, name: str) -> Place:
        """Where a parameter, by its diffusers name, stands.

        Raises:
            CheckpointError: no pair covers the name.
        """
        for tensor, parts in self.fused.items():
            if name in parts:
                return Place(self.prefix + tensor, (parts.index(name), len(parts)))
        tensor = self._translate(name, self._originals)
        return Place(
            self.prefix + tensor,
            transposed=tensor in self.transposed,
            swapped=tensor in self.swapped,
            flat=tensor in self.flat,
        )

    def to_original(self, name: str) -> str:
        """The checkpoint's tensor that holds a diffusers parameter.

        Raises:
            CheckpointError: no pair covers the name.
        """
        return self.place(name).tensor

    def parameters(self, name: str) -> tuple[str, ...]:
        """The diffusers parameters that a checkpoint's tensor holds, in the order of their rows.

        Raises:
            CheckpointError: no pair covers the name.
        """
        inner = name.removeprefix(self.prefix)
        return self.fused.get(inner) or (self.to_diffusers(name),)

    def to_diffusers(self, name: str) -> str:
        """The one diffusers parameter that a checkpoint's tensor stands for.

        Raises:
            CheckpointError: no pair covers the name, or the tensor holds several parameters.
        """
        return self._translate(name.removeprefix(self.prefix), self._ours)

    @cached_property
    def _originals(self) -> Mapping[str, str]:
        """The checkpoint's prefixes by ours; of two the first counts."""
        return dict(reversed(self.pairs))

    @cached_property
    def _ours(self) -> Mapping[str, str]:
        """Ours by the checkpoint's, likewise."""
        return {original: ours for ours, original in reversed(self.pairs)}

    def _translate(self, name: str, prefixes: Mapping[str, str]) -> str:
        source = name
        while source not in prefixes:
            source, dot, _ = source.rpartition(".")
            if not dot:
                message = f"{self.component}: no place is known for the tensor {quoted(name)}"
                raise CheckpointError(
                    message, fix="the checkpoint and its configuration do not belong together"
                )
        return prefixes[source] + name[len(source) :]


def _nested(ours: str, original: str, inner: Mapping[str, str]) -> list[tuple[str, str]]:
    """Pairs of a block's parts."""
    return [(f"{ours}.{a}", f"{original}.{b}") for a, b in inner.items()]


def unet_table(config: Mapping[str, Any]) -> KeyTable:
    """Pairs of a UNet2DConditionModel with this configuration."""
    layers = int(config["layers_per_block"])
    down = list(config["down_block_types"])
    up = list(config["up_block_types"])
    pairs = [
        ("conv_in", "input_blocks.0.0"),
        ("time_embedding.linear_1", "time_embed.0"),
        ("time_embedding.linear_2", "time_embed.2"),
        ("conv_norm_out", "out.0"),
        ("conv_out", "out.2"),
        *_nested("mid_block.resnets.0", "middle_block.0", _UNET_RESNET),
        ("mid_block.attentions.0", "middle_block.1"),
        *_nested("mid_block.resnets.1", "middle_block.2", _UNET_RESNET),
    ]
    place = 1
    for block, kind in enumerate(down):
        for layer in range(layers):
            pairs += _nested(f"down_blocks.{block}.resnets.{layer}", f"input_blocks.{place}.0", _UNET_RESNET)
            if "CrossAttn" in kind:
                pairs.append((f"down_blocks.{block}.attentions.{layer}", f"input_blocks.{place}.1"))
            place += 1
        if block < len(down) - 1:
            pairs.append((f"down_blocks.{block}.downsamplers.0.conv", f"input_blocks.{place}.0.op"))
            place += 1
    place = 0
    for block, kind in enumerate(up):
        for layer in range(layers + 1):
            pairs += _nested(f"up_blocks.{block}.resnets.{layer}", f"output_blocks.{place}.0", _UNET_RESNET)
            if "CrossAttn" in kind:
                pairs.append((f"up_blocks.{block}.attentions.{layer}", f"output_blocks.{place}.1"))
            if layer == layers and block < len(up) - 1:
                slot = 2 if "CrossAttn" in kind else 1
                pairs.append((f"up_blocks.{block}.upsamplers.0", f"output_blocks.{place}.{slot}"))
            place += 1
    if config.get("addition_embed_type") == "text_time":
        pairs += [("add_embedding.linear_1", "label_emb.0.0"), ("add_embedding.linear_2", "label_emb.0.2")]
    return KeyTable("unet", UNET_PREFIX, tuple(pairs))


def vae_table(config: Mapping[str, Any]) -> KeyTable:
    """Pairs of an AutoencoderKL with this configuration; the decoder's blocks count backwards."""
    blocks = len(config["block_out_channels"])
    layers = int(config["layers_per_block"])
    pairs = [("quant_conv", "quant_conv"), ("post_quant_conv", "post_quant_conv")]
    for side in ("encoder", "decoder"):
        pairs += [
            (f"{side}.conv_in", f"{side}.conv_in"),
            (f"{side}.conv_norm_out", f"{side}.norm_out"),
            (f"{side}.conv_out", f"{side}.conv_out"),
            *_nested(f"{side}.mid_block.resnets.0", f"{side}.mid.block_1", _VAE_RESNET),
            *_nested(f"{side}.mid_block.attentions.0", f"{side}.mid.attn_1", _VAE_ATTENTION),
            *_nested(f"{side}.mid_block.resnets.1", f"{side}.mid.block_2", _VAE_RESNET),
        ]
    for block in range(blocks):
        mirrored = blocks - 1 - block
        for layer in range(layers):
            ours, original = (
                f"encoder.down_blocks.{block}.resnets.{layer}",
                f"encoder.down.{block}.block.{layer}",
            )
            pairs += _nested(ours, original, _VAE_RESNET)
        for layer in range(layers + 1):
            ours, original = (
                f"decoder.up_blocks.{block}.resnets.{layer}",
                f"decoder.up.{mirrored}.block.{layer}",
            )
            pairs += _nested(ours, original, _VAE_RESNET)
        if block < blocks - 1:
            down = f"encoder.down_blocks.{block}.downsamplers.0.conv"
            pairs.append((down, f"encoder.down.{block}.downsample.conv"))
            up = f"decoder.up_blocks.{block}.upsamplers.0.conv"
            pairs.append((up, f"decoder.up.{mirrored}.upsample.conv"))
    return KeyTable("vae", VAE_PREFIX, tuple(pairs))


def clip_table(component: str, prefix: str) -> KeyTable:
    """Pairs of a text encoder that the original layout keeps as transformers' CLIPTextModel."""
    return KeyTable(component, prefix, tuple((f"text_model.{part}",) * 2 for part in _CLIP_PARTS))


def open_clip_table(component: str, prefix: str, layers: int) -> KeyTable:
    """Pairs of a text encoder of ``layers`` layers that the original layout keeps as open_clip does.

    Queries, keys and values are one tensor there, and the projection is stored transposed.
    """
    pairs = [
        ("text_model.embeddings.token_embedding", "token_embedding"),
        ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
        ("text_model.final_layer_norm", "ln_final"),
        ("text_projection.weight", "text_projection"),
    ]
    fused = {}
    for layer in range(layers):
        ours, original = f"text_model.encoder.layers.{layer}", f"transformer.resblocks.{layer}"
        pairs += _nested(ours, original, _OPEN_CLIP_LAYER)
        for kind in ("weight", "bias"):
            parts = tuple(f"{ours}.self_attn.{part}_proj.{kind}" for part in "qkv")
            fused[f"{original}.attn.in_proj_{kind}"] = parts
    return KeyTable(component, prefix, tuple(pairs), fused, frozenset({"text_projection"}))
