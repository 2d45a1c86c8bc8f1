"""Krea 2 (Raw, Turbo and models made from them), which reads twelve layers of Qwen3-VL-4B at once.

The configuration is read from the shapes in the header and from ``krea2.json``.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clora_ext.adapters.sites import Target
from clora_ext.config.settings import TargetSet
from clora_ext.errors import CheckpointError
from clora_ext.formats.krea2_keys import krea2_table

from .flow.kinds import QWEN3VL_4B, Config, TransformerKind
from .flow.layout import FlowLayout
from .flow.vae_kind import QWEN_IMAGE
from .model import Conditioning
from .shapes import Shapes

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from torch import Tensor, nn

__all__ = ["FAMILY"]

_FIX = "use a Krea 2 checkpoint"
_MOST = 1 << 16  # no width of such a model comes near
_MARKS = ("txtfusion.projector.weight", "blocks.0.attn.wq.weight", "first.weight")
_LAYERS = "num_text_layers"
_PATCH = 2  # side of the square of latents that is one place of what the transformer sees
_SIXTEENTH = 6  # of each 16 numbers of a head, those that turn with each side
# What configurations of Qwen3 and of the half of Qwen3-VL that reads words both say; how fast positions turn
# has another name in earlier releases.
_READS = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "rms_norm_eps", "max_position_embeddings", "rope_parameters",
    "rope_theta",
)  # fmt: skip

# What tells the time and what fuses the text's layers stay as they are.
_ATTENTION = re.compile(r"transformer_blocks\.\d+\.attn\.(?:to_[qkv]|to_gate|to_out\.0)")
_MLP = re.compile(r"transformer_blocks\.\d+\.ff\.(?:gate|up|down)")
_SHARED = re.compile(r"(.+\.(?:attn|ff))\.(?:to_[qkv]|to_gate|gate|up)")


def _configure(shapes: Shapes, data: Config) -> dict[str, Any]:
    """diffusers' configuration of a Krea2Transformer2DModel.

    Raises:
        CheckpointError: the tensors are not those of such a model.
    """
    width = shapes.side("first.weight", 0)
    channels, painted = shapes.side("first.weight", 1), shapes.side("last.linear.weight", 0)
    head, heads, key_heads = _heads(shapes, "blocks.0", width)
    first = "txtfusion.layerwise_blocks.0"
    text = shapes.side(f"{first}.attn.wq.weight", 1)
    _, text_heads, text_key_heads = _heads(shapes, first, text)
    side = _SIXTEENTH * (head // 16)
    if not side:
        raise CheckpointError(f"heads of {head} have no places", fix=_FIX)
    if channels != painted:
        message = f"its transformer reads {channels} channels and paints {painted}: it edits pictures"
        raise CheckpointError(message, fix=_FIX)
    return {
        **data["transformer"],
        "in_channels": channels,
        "num_layers": shapes.series("blocks.{}.attn.wq.weight"),
        "attention_head_dim": head,
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "intermediate_size": shapes.side("blocks.0.mlp.gate.weight", 0),
        "timestep_embed_dim": shapes.side("tmlp.0.weight", 1),
        "text_hidden_dim": text,
        _LAYERS: shapes.side("txtfusion.projector.weight", 1),
        "text_num_attention_heads": text_heads,
        "text_num_key_value_heads": text_key_heads,
        "text_intermediate_size": shapes.side(f"{first}.mlp.gate.weight", 0),
        "num_layerwise_text_blocks": shapes.series("txtfusion.layerwise_blocks.{}.attn.wq.weight"),
        "num_refiner_text_blocks": shapes.series("txtfusion.refiner_blocks.{}.attn.wq.weight"),
        "axes_dims_rope": [head - 2 * side, side, side],
    }


def _heads(shapes: Shapes, block: str, width: int) -> tuple[int, int, int]:
    """How wide a block's heads are, how many ask, and how many are asked.

    Raises:
        CheckpointError: they do not fit its width.
    """
    head = shapes.side(f"{block}.attn.qknorm.qnorm.scale", 0)
    keys = shapes.side(f"{block}.attn.wk.weight", 0)
    if not 0 < width <= _MOST or not head or width % head or not keys or keys % head or width % keys:
        raise CheckpointError(
            f"heads of {head} and {keys} rows of keys do not fit the width {width}", fix=_FIX
        )
    return head, width // head, keys // head


def _taught(target: Target, chosen: TargetSet) -> bool:
    """Attention with its gate and, for the whole transformer, the MLPs."""
    in_attention = _ATTENTION.fullmatch(target.module) is not None
    return in_attention or (chosen == "transformer" and _MLP.fullmatch(target.module) is not None)


def _read_by(module: str) -> str:
    """Queries, keys, values and the gate read the same, and so do the two halves of a gated MLP.

    >>> _read_by("transformer_blocks.3.attn.to_gate"), _read_by("transformer_blocks.3.ff.up")
    ('transformer_blocks.3.attn', 'transformer_blocks.3.ff')
    >>> _read_by("transformer_blocks.3.ff.down")
    ''
    """
    found = _SHARED.fullmatch(module)
    return found[1] if found else ""


def _build(config: Mapping[str, Any]) -> "nn.Module":
    """With norms that compute in float32, in whichever dtype their weights are kept."""
    try:
        from diffusers import Krea2Transformer2DModel
    except ImportError as error:
        message = "Krea 2 needs a diffusers that knows its transformer"
        raise CheckpointError(message, fix="pip install 'diffusers>=0.39'") from error

    from .flow.norms import widen_norms

    found: nn.Module = Krea2Transformer2DModel.from_config(dict(config))
    widen_norms(found)
    return found


def _velocity(network: Any, latents: "Tensor", times: "Tensor", condition: Conditioning) -> "Tensor":  # noqa: ANN401 - diffusers'
    """Squares of latents have positions (0, height, width), every token of the text (0, 0, 0)."""
    import torch

    states, mask = condition["states"], condition["mask"]
    places = torch.nn.functional.pixel_unshuffle(latents, _PATCH)
    height, width = places.shape[2:]
    sides = [torch.arange(count, device=latents.device) for count in (1, height, width)]
    words = torch.zeros(states.shape[1], len(sides), dtype=torch.long, device=latents.device)
    found = network(
        hidden_states=places.flatten(2).transpose(1, 2),
        encoder_hidden_states=states.reshape(*states.shape[:2], network.config[_LAYERS], -1),
        timestep=times.to(latents.dtype),
        position_ids=torch.cat([words, torch.cartesian_prod(*sides)]),
        encoder_attention_mask=mask.bool() if len(states) > 1 else None,  # one text is all words
        return_dict=False,
    )[0]
    answer: Tensor = found.transpose(1, 2).unflatten(2, (height, width))
    return torch.nn.functional.pixel_shuffle(answer, _PATCH)


def _pipeline(text_encoder: Any, **parts: Any) -> "DiffusionPipeline":  # noqa: ANN401 - of several libraries
    """With the half of the language model that reads words, which is all that the pipeline asks."""
    import torch
    from diffusers import Krea2Pipeline
    from transformers import Qwen3VLTextConfig, Qwen3VLTextModel

    known = text_encoder.config.to_dict()
    config = Qwen3VLTextConfig(**{name: known[name] for name in _READS if name in known})
    with torch.device("meta"):
        half = Qwen3VLTextModel(config)
    half.load_state_dict(text_encoder.state_dict(), assign=True)
    return Krea2Pipeline(text_encoder=half.eval(), **parts)


_TRANSFORMER = TransformerKind(
    marks=_MARKS,
    fits=lambda header: True,
    configure=_configure,
    width=lambda config: int(config["attention_head_dim"] * config["num_attention_heads"]),
    depths=("num_layers",),
    reads="text_hidden_dim",
    table=krea2_table,
    taught=_taught,
    read_by=_read_by,
    build=_build,
    velocity=_velocity,
    pipeline=_pipeline,
    reads_layers=_LAYERS,
    patch=_PATCH,
)

FAMILY = FlowLayout("krea2", _TRANSFORMER, QWEN3VL_4B, QWEN_IMAGE)
