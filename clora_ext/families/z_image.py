"""Z-Image (Base, Turbo and models made from them), a transformer of flow matching that reads with Qwen3-4B.

The configuration is read from the shapes in the header and from ``z_image.json``.
"""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from clora_ext.adapters.sites import Target
from clora_ext.config.settings import TargetSet
from clora_ext.errors import CheckpointError
from clora_ext.formats.companion_files import flow_vae_pieces
from clora_ext.formats.flow_keys import (
    FLOW_PREFIX,
    FLOW_VAE_PREFIX,
    QWEN3_4B_PREFIX,
    flow_vae_table,
    qwen3_table,
    z_image_table,
)
from clora_ext.formats.header import Header
from clora_ext.formats.keys import KeyTable
from clora_ext.formats.language_model import language_model_pieces

from .companion import Companion
from .components import Component, components_by_name
from .flow.layout import Config, FlowLayout
from .flow.shapes import flow_vae_config, qwen3_config
from .latent.layout import family_data
from .latent.shapes import Shapes

__all__ = ["FAMILY"]

_NAME = "z_image"
_FIX = "use a Z-Image checkpoint"
_MOST = 1 << 16  # no width or count of such a model comes near
_COMPONENTS = components_by_name(
    (
        Component("text_encoder", QWEN3_4B_PREFIX, "text_encoder"),
        Component("vae", FLOW_VAE_PREFIX, "vae"),
        Component("transformer", FLOW_PREFIX, "denoiser"),
    )
)
_MARKS = ("cap_embedder.1.weight", "cap_pad_token", "noise_refiner.0.attention.qkv.weight")

# The refiners and what tells the time stay as they are: so do the programs that train Z-Image.
_ATTENTION = re.compile(r"layers\.\d+\.attention\.(?:to_q|to_k|to_v|to_out\.0)")
_MLP = re.compile(r"layers\.\d+\.feed_forward\.w[123]")
_SHARED = re.compile(r"(.+\.(?:attention|feed_forward))\.(?:to_[qkv]|w[13])")


def _config(header: Header, where: Path) -> Config:
    """The configuration.

    Raises:
        CheckpointError: the tensors are not those of such a model.
    """
    data = family_data(_NAME)
    try:
        config = {**data, "transformer": _transformer(header, data)}
        for part in ("text_encoder", "vae"):
            del config[part]
        if any(name.startswith(QWEN3_4B_PREFIX) for name in header.tensors):
            config["text_encoder"] = qwen3_config(header, QWEN3_4B_PREFIX, data["text_encoder"])
            _check_text(config)
        if any(name.startswith(FLOW_VAE_PREFIX) for name in header.tensors):
            config["vae"] = flow_vae_config(header, FLOW_VAE_PREFIX, data["vae"])
            _check_vae(config)
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {error.message}", fix=error.fix) from error
    return config


def _transformer(header: Header, data: Config) -> Config:
    """diffusers' configuration of a ZImageTransformer2DModel."""
    shapes = Shapes(header, FLOW_PREFIX)
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


def _check_text(config: Config) -> None:
    """The transformer must read what the language model gives."""
    needed, width = config["transformer"]["cap_feat_dim"], config["text_encoder"]["hidden_size"]
    if needed != width:
        message = f"its transformer reads text of width {needed}, the text encoder gives {width}"
        raise CheckpointError(message, fix="use Qwen3-4B, such as qwen_3_4b.safetensors")


def _check_vae(config: Config) -> None:
    """The transformer must paint what the VAE decodes."""
    needed, channels = config["transformer"]["in_channels"], config["vae"]["latent_channels"]
    if needed != channels:
        message = f"its transformer paints {needed} channels, the VAE decodes {channels}"
        raise CheckpointError(message, fix="use the VAE of Flux 1, such as ae.safetensors")


def _fits(model: Header, own: Header, file: Path) -> None:
    """Make sure that a companion fits a transformer; both are one header then.

    Raises:
        CheckpointError: it does not.
    """
    transformer = {name: info for name, info in model.tensors.items() if name.startswith(FLOW_PREFIX)}
    _config(Header({**transformer, **own.tensors}), file)


def _tables(config: Config) -> Mapping[str, KeyTable]:
    """The key tables of the components that are there."""
    found = {"transformer": z_image_table(config["transformer"])}
    if "text_encoder" in config:
        found["text_encoder"] = qwen3_table(QWEN3_4B_PREFIX)
    if "vae" in config:
        found["vae"] = flow_vae_table(config["vae"])
    return found


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


_COMPANIONS = {
    "text_encoder": Companion(
        component="text_encoder",
        title="Qwen3-4B text encoder",
        option="--text-encoder-file",
        folders=("text_encoders", "clip"),
        usual=("qwen_3_4b.safetensors",),
        read=partial(language_model_pieces, prefix=QWEN3_4B_PREFIX),
        check=_fits,
    ),
    "vae": Companion(
        component="vae",
        title="VAE of Flux 1",
        option="--vae-file",
        folders=("vae",),
        usual=("ae.safetensors",),
        read=flow_vae_pieces,
        check=_fits,
    ),
}

FAMILY = FlowLayout(_NAME, _COMPONENTS, _COMPANIONS, _MARKS, _config, _tables, _taught, _read_by)
