"""Anima (and models made from it): Cosmos Predict2 taught anime, which reads with Qwen3-0.6B.

Between the two stands a network that is asked about each of T5's tokens of the caption; it is published among
the transformer's tensors. The configuration is read from the shapes in the header and from ``anima.json``.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clora_ext.adapters.sites import Target
from clora_ext.config.settings import TargetSet
from clora_ext.errors import CheckpointError
from clora_ext.formats.flow_keys import CONDITIONER_PREFIX, anima_conditioner_table, anima_table

from .family_data import family_data
from .flow.kinds import QWEN3_06B, ConditionerKind, Config, TransformerKind
from .flow.layout import FlowLayout
from .flow.shapes import conditioner_config
from .flow.vae_kind import QWEN_IMAGE
from .model import Conditioning
from .shapes import Shapes

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .flow.modular_folder import ModularParts

__all__ = ["FAMILY"]

_FIX = "use an Anima checkpoint"
_MOST = 1 << 16  # no width of such a model comes near
_MARKS = (
    "blocks.0.mlp.layer1.weight",
    "x_embedder.proj.1.weight",
    "llm_adapter.blocks.0.cross_attn.q_proj.weight",
)
_ROTATED = 6  # of a head, a third turns with each side, in pairs; what is left over with time
_LARGEST = 1024  # latents along a side: what is computed needs no bound

# What tells the time and what stands between text and transformer stay as they are: so do the programs that
# train Anima.
_ATTENTION = re.compile(r"transformer_blocks\.\d+\.attn[12]\.(?:to_[qkv]|to_out\.0)")
_MLP = re.compile(r"transformer_blocks\.\d+\.ff\.net\.(?:0\.proj|2)")
_PICTURE = re.compile(r"(transformer_blocks\.\d+\.attn1)\.to_[qkv]")
_CAPTION = re.compile(r"transformer_blocks\.\d+\.attn2\.to_[kv]")


def _configure(shapes: Shapes, data: Config) -> dict[str, Any]:
    """diffusers' configuration of a CosmosTransformer3DModel.

    Raises:
        CheckpointError: the tensors are not those of such a model.
    """
    width, head = (
        shapes.side("x_embedder.proj.1.weight", 0),
        shapes.side("blocks.0.self_attn.q_norm.weight", 0),
    )
    if not 0 < width <= _MOST or not head or width % head or head % 2 or head < 2 * _ROTATED:
        raise CheckpointError(f"heads of {head} do not fit its width {width}", fix=_FIX)
    read = shapes.side("x_embedder.proj.1.weight", 1) // data["patch"] ** 2 - 1  # one says what is no picture
    painted = shapes.side("final_layer.linear.weight", 0) // data["patch"] ** 2
    if read != painted:
        message = f"its transformer reads {read} channels and paints {painted}: it edits pictures"
        raise CheckpointError(message, fix=_FIX)
    return {
        **data["transformer"],
        "in_channels": read,
        "out_channels": painted,
        "num_attention_heads": width // head,
        "attention_head_dim": head,
        "num_layers": shapes.series("blocks.{}.mlp.layer1.weight"),
        "mlp_ratio": shapes.side("blocks.0.mlp.layer1.weight", 0) / width,
        "text_embed_dim": shapes.side("blocks.0.cross_attn.k_proj.weight", 1),
        "adaln_lora_dim": shapes.side("blocks.0.adaln_modulation_mlp.1.weight", 0),
    }


def _width(config: Mapping[str, Any]) -> int:
    return int(config["num_attention_heads"] * config["attention_head_dim"])


def _taught(target: Target, chosen: TargetSet) -> bool:
    """Attention and, for the whole transformer, the MLPs."""
    in_attention = _ATTENTION.fullmatch(target.module) is not None
    return in_attention or (chosen == "transformer" and _MLP.fullmatch(target.module) is not None)


def _read_by(module: str) -> str:
    """Queries, keys and values of the picture read the same; all blocks read the same text.

    >>> _read_by("transformer_blocks.3.attn1.to_k"), _read_by("transformer_blocks.3.attn2.to_k")
    ('transformer_blocks.3.attn1', 'encoder_hidden_states')
    >>> _read_by("transformer_blocks.3.attn2.to_q")
    ''
    """
    if _CAPTION.fullmatch(module):
        return "encoder_hidden_states"
    found = _PICTURE.fullmatch(module)
    return found[1] if found else ""


def _build(config: Mapping[str, Any]) -> "nn.Module":
    """What says where no picture is becomes a channel.

    diffusers would append it with torchvision, which nothing else needs.
    """
    from diffusers import CosmosTransformer3DModel

    own = {"in_channels": config["in_channels"] + 1, "concat_padding_mask": False}
    sides = {"max_size": [config["max_size"][0], _LARGEST, _LARGEST]}
    found: nn.Module = CosmosTransformer3DModel.from_config({**config, **own, **sides})
    return found


def _build_conditioner(config: Mapping[str, Any]) -> "nn.Module":
    """With the numbers of its positions, which no file holds: they are computed where there is memory."""
    import torch

    try:
        from diffusers import AnimaTextConditioner
    except ImportError as error:
        message = "Anima needs a diffusers that knows its text conditioner"
        raise CheckpointError(message, fix="pip install 'diffusers>=0.39'") from error
    found: Any = AnimaTextConditioner.from_config(dict(config))
    with torch.device("cpu"):
        found.rotary_emb = type(found.rotary_emb)(config["model_dim"] // config["num_attention_heads"])
    return found  # type: ignore[no-any-return]


def _velocity(network: Any, latents: "Tensor", times: "Tensor", condition: Conditioning) -> "Tensor":  # noqa: ANN401 - diffusers'
    """The transformer sees zeros behind a text: it was trained on as many states of each."""
    import torch

    states = condition["states"]
    missing = int(family_data("anima")["text"]["longest"]) - states.shape[1]
    film = torch.cat([latents, torch.zeros_like(latents[:, :1])], dim=1).unsqueeze(2)  # all of it is picture
    found: Tensor = network(
        hidden_states=film,
        timestep=times.to(latents.dtype),
        encoder_hidden_states=torch.nn.functional.pad(states, (0, 0, 0, missing)),
        return_dict=False,
    )[0]
    return found.squeeze(2)


def _pipeline(**parts: Any) -> "ModularParts":  # noqa: ANN401 - of several libraries
    """The transformer's configuration as it is published."""
    from .flow.modular_folder import ModularParts

    data, network = family_data("anima")["transformer"], parts["transformer"]
    published = {name: data[name] for name in ("max_size", "concat_padding_mask")}
    network.register_to_config(in_channels=network.config["in_channels"] - 1, **published)
    return ModularParts(parts, "AnimaModularPipeline", "AnimaAutoBlocks")


_TRANSFORMER = TransformerKind(
    marks=_MARKS,
    fits=lambda header: True,
    configure=_configure,
    width=_width,
    depths=("num_layers",),
    reads="text_embed_dim",
    table=anima_table,
    taught=_taught,
    read_by=_read_by,
    build=_build,
    velocity=_velocity,
    pipeline=_pipeline,
)

_CONDITIONER = ConditionerKind(
    prefix=CONDITIONER_PREFIX,
    configure=conditioner_config,
    table=anima_conditioner_table,
    build=_build_conditioner,
    reads="source_dim",
    gives="target_dim",
)

FAMILY = FlowLayout("anima", _TRANSFORMER, QWEN3_06B, QWEN_IMAGE, _CONDITIONER)
