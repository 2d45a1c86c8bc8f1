"""The transformer of Flux.2 klein, in either size: blocks for picture and text apart, then for both.

Importing this file imports no torch.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clora_ext.adapters.sites import Target
from clora_ext.config.settings import TargetSet
from clora_ext.errors import CheckpointError
from clora_ext.families.model import Conditioning
from clora_ext.families.shapes import Shapes
from clora_ext.formats.flow_keys import FLOW_PREFIX, flux2_table
from clora_ext.formats.header import Header

from .kinds import Config, TransformerKind

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from torch import Tensor, nn

__all__ = ["FLUX_2_KLEIN", "FLUX_2_KLEIN_9B"]

_FIX = "use a Flux.2 klein checkpoint"
_MOST = 1 << 16  # no width of such a model comes near
_AXES = 4  # of positions: time, height, width, place in the text
_MARKS = ("double_stream_modulation_img.lin.weight", "double_blocks.0.img_attn.qkv.weight", "img_in.weight")
_GUIDANCE = "guidance_in.in_layer.weight"  # of Flux.2 dev
_TEXT = "txt_in.weight"
_WIDER = 12288  # what the larger one reads: three layers of Qwen3-8B

# In the single blocks one matrix gives queries, keys, values and the MLP, and another takes what they give.
_ATTENTION = re.compile(
    r"transformer_blocks\.\d+\.attn\.(?:to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)"
    r"|single_transformer_blocks\.\d+\.attn\.(?:to_qkv_mlp_proj|to_out)"
)
_MLP = re.compile(r"transformer_blocks\.\d+\.ff(?:_context)?\.linear_(?:in|out)")
_PICTURE = re.compile(r"(transformer_blocks\.\d+\.attn)\.to_[qkv]")
_CAPTION = re.compile(r"(transformer_blocks\.\d+\.attn)\.add_[qkv]_proj")


def _configure(shapes: Shapes, data: Config) -> dict[str, Any]:
    """diffusers' configuration of a Flux2Transformer2DModel.

    Raises:
        CheckpointError: the tensors are not those of such a model.
    """
    width, head = shapes.side("img_in.weight", 0), shapes.side("single_blocks.0.norm.query_norm.scale", 0)
    channels, inner = shapes.side("img_in.weight", 1), shapes.side("double_blocks.0.img_mlp.2.weight", 1)
    if not 0 < width <= _MOST or not head or width % head or head % (2 * _AXES):
        raise CheckpointError(f"heads of {head} do not fit its width {width}", fix=_FIX)
    given = shapes.side("final_layer.linear.weight", 0)
    if given != channels:
        message = f"its transformer reads {channels} channels and paints {given}: it edits pictures"
        raise CheckpointError(message, fix=_FIX)
    return {
        **data["transformer"],
        "in_channels": channels,
        "num_layers": shapes.series("double_blocks.{}.img_attn.qkv.weight"),
        "num_single_layers": shapes.series("single_blocks.{}.linear1.weight"),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": shapes.side(_TEXT, 1),
        "timestep_guidance_channels": shapes.side("time_in.in_layer.weight", 1),
        "mlp_ratio": inner / width,
        "axes_dims_rope": [head // _AXES] * _AXES,
    }


def _width(config: Mapping[str, Any]) -> int:
    return int(config["num_attention_heads"] * config["attention_head_dim"])


def _taught(target: Target, chosen: TargetSet) -> bool:
    """What attends and, for the whole transformer, the MLPs that are matrices of their own."""
    attends = _ATTENTION.fullmatch(target.module) is not None
    return attends or (chosen == "transformer" and _MLP.fullmatch(target.module) is not None)


def _read_by(module: str) -> str:
    """Queries, keys and values read the same: those of the picture, and those of the text.

    >>> _read_by("transformer_blocks.3.attn.to_k"), _read_by("transformer_blocks.3.attn.add_k_proj")
    ('transformer_blocks.3.attn', 'transformer_blocks.3.attn.text')
    """
    if found := _PICTURE.fullmatch(module):
        return found[1]
    found = _CAPTION.fullmatch(module)
    return f"{found[1]}.text" if found else ""


def _is_larger(header: Header) -> bool:
    """By what it reads: nothing else tells a small model of either."""
    return header.tensors[FLOW_PREFIX + _TEXT].shape[-1:] == (_WIDER,)


def _is_klein(header: Header) -> bool:
    """Klein takes no guidance as a number."""
    return FLOW_PREFIX + _TEXT in header.tensors and FLOW_PREFIX + _GUIDANCE not in header.tensors


def _build(config: Mapping[str, Any]) -> "nn.Module":
    from diffusers import Flux2Transformer2DModel

    found: nn.Module = Flux2Transformer2DModel.from_config(dict(config))
    return found


def _velocity(network: Any, latents: "Tensor", times: "Tensor", condition: Conditioning) -> "Tensor":  # noqa: ANN401 - diffusers'
    """Places of the picture and of the text have positions (time, height, width, place in the text)."""
    import torch

    _, _, height, width = latents.shape
    states = condition["states"]
    sides = [torch.arange(count, device=latents.device) for count in (1, height, width, states.shape[1])]
    first = sides[0]
    found = network(
        hidden_states=latents.flatten(2).transpose(1, 2),
        encoder_hidden_states=states,
        timestep=times.to(latents.dtype),
        img_ids=torch.cartesian_prod(first, sides[1], sides[2], first),
        txt_ids=torch.cartesian_prod(first, first, first, sides[3]),
        guidance=None,
        return_dict=False,
    )[0]
    answer: Tensor = found.transpose(1, 2).unflatten(2, (height, width))
    return answer


def _pipeline(text_encoder: Any, **parts: Any) -> "DiffusionPipeline":  # noqa: ANN401 - of several libraries
    """The language model with a head, as it is published: the table of its tokens."""
    import torch
    from diffusers import Flux2KleinPipeline
    from transformers import Qwen3ForCausalLM

    text_encoder.config.tie_word_embeddings = True
    with torch.device("meta"):
        whole = Qwen3ForCausalLM(text_encoder.config)
    whole.model = text_encoder
    whole.lm_head.weight = text_encoder.embed_tokens.weight
    parts["vae"].bn.num_batches_tracked = torch.tensor(0)  # diffusers does not load a file without it
    return Flux2KleinPipeline(text_encoder=whole.eval(), **parts)


def _klein(*, larger: bool) -> TransformerKind:
    return TransformerKind(
        marks=_MARKS,
        fits=lambda header: _is_klein(header) and _is_larger(header) == larger,
        configure=_configure,
        width=_width,
        depths=("num_layers", "num_single_layers"),
        reads="joint_attention_dim",
        table=flux2_table,
        taught=_taught,
        read_by=_read_by,
        build=_build,
        velocity=_velocity,
        pipeline=_pipeline,
    )


FLUX_2_KLEIN = _klein(larger=False)
"""That reads with Qwen3-4B."""

FLUX_2_KLEIN_9B = _klein(larger=True)
"""That reads with Qwen3-8B."""
