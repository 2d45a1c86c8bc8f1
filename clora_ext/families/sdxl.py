"""Stable Diffusion XL and models of its architecture, in the original single-file layout.

The configuration is read from the shapes in the header and from ``sdxl.json``; what the UNet predicts, as
:mod:`clora_ext.formats.prediction` finds it.
"""

from collections.abc import Mapping
from pathlib import Path

from clora_ext.errors import CheckpointError
from clora_ext.formats.header import Header
from clora_ext.formats.keys import (
    SDXL_TEXT_2_PREFIX,
    SDXL_TEXT_PREFIX,
    UNET_PREFIX,
    VAE_PREFIX,
    KeyTable,
    clip_table,
    open_clip_table,
    unet_table,
    vae_table,
)
from clora_ext.formats.prediction import find_prediction

from .components import Component, components_by_name
from .family_data import family_data
from .latent.layout import Config, OriginalLayout
from .latent.shapes import clip_config, open_clip_config, unet_config, vae_config

__all__ = ["FAMILY"]

_NAME = "sdxl"
_COMPONENTS = components_by_name(
    (
        Component("unet", UNET_PREFIX, "denoiser"),
        Component("vae", VAE_PREFIX, "vae"),
        Component("text_encoder", SDXL_TEXT_PREFIX, "text_encoder"),
        Component("text_encoder_2", SDXL_TEXT_2_PREFIX, "text_encoder"),
    )
)


def _tables(config: Config) -> Mapping[str, KeyTable]:
    """The key table of every component."""
    return {
        "unet": unet_table(config["unet"]),
        "vae": vae_table(config["vae"]),
        "text_encoder": clip_table("text_encoder", SDXL_TEXT_PREFIX),
        "text_encoder_2": open_clip_table(
            "text_encoder_2", SDXL_TEXT_2_PREFIX, config["text_encoder_2"]["num_hidden_layers"]
        ),
    }


def _config(header: Header, where: Path) -> Config:
    """The configuration.

    Raises:
        CheckpointError: the tensors are not those of such a model.
    """
    data, prediction = family_data(_NAME), find_prediction(header, where)
    try:
        config = {
            **data,
            "prediction": prediction,
            "scheduler": {**data["scheduler"], **prediction.scheduler},
            "unet": {**unet_config(header, UNET_PREFIX, None), "sample_size": data["resolution"] // 8},
            "vae": vae_config(header, VAE_PREFIX, data["scaling_factor"]),
            "text_encoder": clip_config(header, SDXL_TEXT_PREFIX, data["text_encoder"]),
            "text_encoder_2": open_clip_config(header, SDXL_TEXT_2_PREFIX, data["text_encoder_2"]),
        }
        _check_widths(config)
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {error.message}", fix=error.fix) from error
    return config


def _check_widths(config: Config) -> None:
    """The UNet must read what the two text encoders give."""
    unet, one, two = config["unet"], config["text_encoder"], config["text_encoder_2"]
    if unet["cross_attention_dim"] != one["hidden_size"] + two["hidden_size"]:
        message = (
            f"its UNet reads text of width {unet['cross_attention_dim']}, its text encoders give "
            f"{one['hidden_size']} and {two['hidden_size']}"
        )
        raise CheckpointError(message, fix="use an SDXL base checkpoint")
    width = unet.get("projection_class_embeddings_input_dim")
    needed = two["projection_dim"] + 6 * 256
    if width != needed:
        message = f"its UNet takes {width} numbers about a picture's size, SDXL's takes {needed}"
        raise CheckpointError(message, fix="use an SDXL base checkpoint")


FAMILY = OriginalLayout(_NAME, _COMPONENTS, _config, _tables)
