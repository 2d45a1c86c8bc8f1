"""Z-Image (Base, Turbo and models made from them), a transformer of flow matching that reads with Qwen3-4B.

The configuration is read from the shapes in the header and from ``z_image.json``.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clora_ext.adapters.sites import Target
from clora_ext.config.settings import TargetSet
from clora_ext.errors import CheckpointError
from clora_ext.formats.flow_keys import z_image_table

from .flow.kinds import QWEN3_4B, Config, TransformerKind
from .flow.layout import FlowLayout
from .flow.vae_kind import FLUX_1
from .model import Conditioning
from .shapes import Shapes

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from torch import Tensor, nn

__all__ = ["FAMILY"]

_FIX = "use a Z-Image checkpoint"
_MOST = 1 << 16  # no width or count of such a model comes near
_MARKS = ("cap_embedder.1.weight", "cap_pad_token", "noise_refiner.0.attention.qkv.weight")

# The refiners and what tells the time stay as they are: so do the programs that train Z-Image.
_ATTENTION = re.compile(r"layers\.\d+\.attention\.(?:to_q|to_k|to_v|to_out\.0)")
_MLP = re.compile(r"layers\.\d+\.feed_forward\.w[123]")
_SHARED = re.compile(r"(.+\.(?:attention|feed_forward))\.(?:to_[qkv]|w[13])")


def _configure(shapes: Shapes, data: Config) -> dict[str, Any]:
    """diffusers' configuration of a ZImageTransformer2DModel.

    Raises:
        CheckpointError: the tensors are not those of such a model.
    """
    width, head = shapes.side("cap_embedder.1.weight", 0), shapes.side("layers.0.attention.q_norm.weight", 0)
    fused = shapes.side("layers.0.attention.qkv.weight", 0)
    axes = data["axes"]
    if not 0 < width <= _MOST or not head or width % head or fused != 3 * width or head % (2 * sum(axes)):
        raise CheckpointError(f"heads of {head} and {fused} rows do not fit its width {width}", fix=_FIX)
    return {
        **data["transformer"],
        "in_channels": shapes.side("x_embedder.weight", 1) // data["patch"] ** 2,
        "dim": width,
        "n_layers": shapes.series("layers.{}.attention.qkv.weight"),
        "n_refiner_layers": shapes.series("noise_refiner.{}.attention.qkv.weight"),
        "n_heads": width // head,
        "n_kv_heads": width // head,
        "cap_feat_dim": shapes.side("cap_embedder.1.weight", 1),
        "axes_dims": [head * axis // sum(axes) for axis in axes],
    }


def _taught(target: Target, chosen: TargetSet) -> bool:
    """Attention and, for the whole transformer, the MLPs of its main layers."""
    in_attention = _ATTENTION.fullmatch(target.module) is not None
    return in_attention or (chosen == "transformer" and _MLP.fullmatch(target.module) is not None)


def _read_by(module: str) -> str:
    """Queries, keys and values read the same, and so do the two halves of a gated MLP.

    >>> _read_by("layers.3.attention.to_k"), _read_by("layers.3.feed_forward.w2")
    ('layers.3.attention', '')
    """
    found = _SHARED.fullmatch(module)
    return found[1] if found else ""


def _build(config: Mapping[str, Any]) -> "nn.Module":
    from diffusers import ZImageTransformer2DModel

    found: nn.Module = ZImageTransformer2DModel.from_config(dict(config))
    return found


def _velocity(network: Any, latents: "Tensor", times: "Tensor", condition: Conditioning) -> "Tensor":  # noqa: ANN401 - diffusers'
    """The authors' network gives it with the other sign, and is told how much of the picture is there."""
    import torch

    from .flow.text import states_of

    frames = list(latents.unsqueeze(2).unbind())  # of a film of one picture
    found = network(frames, 1 - times, states_of(condition), return_dict=False)[0]
    return -torch.stack(found).squeeze(2)


def _pipeline(**parts: Any) -> "DiffusionPipeline":  # noqa: ANN401 - of several libraries
    from diffusers import ZImagePipeline

    return ZImagePipeline(**parts)


_TRANSFORMER = TransformerKind(
    marks=_MARKS,
    fits=lambda header: True,
    configure=_configure,
    width=lambda config: int(config["dim"]),
    depths=("n_layers",),
    reads="cap_feat_dim",
    table=z_image_table,
    taught=_taught,
    read_by=_read_by,
    build=_build,
    velocity=_velocity,
    pipeline=_pipeline,
)

FAMILY = FlowLayout("z_image", _TRANSFORMER, QWEN3_4B, FLUX_1)
