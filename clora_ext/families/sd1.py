"""Stable Diffusion 1 and smaller models of its architecture, in the original single-file layout.

The configuration is read from the shapes in the header and from ``sd1.json``; a header that carries one of
its own (``clora.config``, JSON), as the built-in demo model does, is taken at its word.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from clora_ext.errors import CheckpointError
from clora_ext.formats.header import Header
from clora_ext.formats.keys import (
    SD1_TEXT_PREFIX,
    UNET_PREFIX,
    VAE_PREFIX,
    KeyTable,
    clip_table,
    unet_table,
    vae_table,
)
from clora_ext.formats.prediction import find_prediction
from clora_ext.formats.statements import scheduler_statement

from .components import Component, components_by_name
from .family_data import family_data
from .latent.layout import Config, OriginalLayout
from .latent.shapes import clip_config, unet_config, vae_config

__all__ = ["CONFIG_KEY", "FAMILY"]

CONFIG_KEY = "clora.config"
"""Metadata key of the configuration of a model that is not Stable Diffusion's own size."""

_NAME = "sd1"
_COMPONENTS = components_by_name(
    (
        Component("unet", UNET_PREFIX, "denoiser"),
        Component("vae", VAE_PREFIX, "vae"),
        Component("text_encoder", SD1_TEXT_PREFIX, "text_encoder"),
    )
)
_DAMAGED = "export the file again; it is damaged or was made to do harm"
_REPEATS = ("layers_per_block", "num_hidden_layers", "transformer_layers_per_block")
_MOST_REPEATS = 64
_MOST = 1 << 20  # no width, count or vocabulary of such a model comes near


def _tables(config: Config) -> Mapping[str, KeyTable]:
    """The key table of every component."""
    return {
        "unet": unet_table(config["unet"]),
        "vae": vae_table(config["vae"]),
        "text_encoder": clip_table("text_encoder", SD1_TEXT_PREFIX),
    }


def _config(header: Header, where: Path) -> Config:
    """The configuration.

    Raises:
        CheckpointError: it is not one that could belong to such a model.
    """
    try:
        is_own = CONFIG_KEY in header.metadata
        config = _own(header.metadata[CONFIG_KEY]) if is_own else _from_shapes(header)
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {error.message}", fix=error.fix) from error
    own = scheduler_statement(config["scheduler"], CONFIG_KEY) if is_own else None
    prediction = find_prediction(header, where, own)
    scheduler = {**config["scheduler"], **prediction.scheduler}
    return {**config, "prediction": prediction, "scheduler": scheduler}


def _from_shapes(header: Header) -> Config:
    """What the tensors' shapes and Stable Diffusion 1's own data say."""
    data = family_data(_NAME)
    unet = unet_config(header, UNET_PREFIX, data["heads"])
    width, published = unet["cross_attention_dim"], data["text_width"]
    if width != published:
        message = f"its UNet reads text of width {width}; Stable Diffusion 1's reads {published}"
        raise CheckpointError(message, fix="use a Stable Diffusion 1 checkpoint")
    return {
        **data,
        "unet": {**unet, "sample_size": data["resolution"] // 8},
        "vae": vae_config(header, VAE_PREFIX, data["scaling_factor"]),
        "text_encoder": clip_config(header, SD1_TEXT_PREFIX, data["text_encoder"]),
    }


def _own(text: str) -> Config:
    """The checked configuration of a header that carries one."""
    if len(text) > _MOST:
        raise CheckpointError(f"{CONFIG_KEY} has {len(text):,} characters", fix=_DAMAGED)
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{CONFIG_KEY} is not JSON ({error})", fix=_DAMAGED) from error
    if not isinstance(config, dict) or not all(
        isinstance(config.get(part), dict) for part in (*_COMPONENTS, "scheduler")
    ):
        raise CheckpointError(f"{CONFIG_KEY} misses a component", fix=_DAMAGED)
    try:
        _check_size(config)
        blocks = [len(config[part]["block_out_channels"]) for part in ("unet", "vae")]
        sane = 0 < config["resolution"] <= _MOST and all(0 < count <= 8 for count in blocks)  # noqa: PLR2004
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{CONFIG_KEY} is unusable ({error})", fix=_DAMAGED) from error
    if not sane:
        raise CheckpointError(f"{CONFIG_KEY} does not describe such a model", fix=_DAMAGED)
    return {**config, "suggested_settings": {}}  # the defaults of Settings are the demo model's


def _check_size(value: object, key: str = "") -> None:
    """Refuse numbers with which building the model would exhaust the machine."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _check_size(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            _check_size(inner, key)
    elif isinstance(value, int | float) and abs(value) > (_MOST_REPEATS if key in _REPEATS else _MOST):
        message = f"{key} = {value}"
        raise ValueError(message)


FAMILY = OriginalLayout(_NAME, _COMPONENTS, _config, _tables)
