"""Stable Diffusion XL and models of its architecture, in the original single-file layout.

The configuration is read from the shapes in the header and from ``sdxl.json``. An empty tensor named
``v_pred`` says that the UNet predicts v, one named ``ztsnr`` that its noise schedule ends in pure noise.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from clora_ext.errors import CheckpointError
from clora_ext.formats.header import Header
from clora_ext.formats.keys import KeyTable, clip_table, open_clip_table, unet_table, vae_table

from .latent.layout import Config, OriginalLayout
from .latent.shapes import clip_config, open_clip_config, unet_config, vae_config

__all__ = ["FAMILY"]

_UNET = "model.diffusion_model."
_VAE = "first_stage_model."
_TEXT = "conditioner.embedders.0.transformer."
_TEXT_2 = "conditioner.embedders.1.model."


def _matches(header: Header) -> bool:
    """UNet and two text encoders under SDXL's prefixes."""
    return all(any(name.startswith(prefix) for name in header.tensors) for prefix in (_UNET, _TEXT, _TEXT_2))


def _tables(config: Config) -> Mapping[str, KeyTable]:
    """The key table of every component."""
    return {
        "unet": unet_table(config["unet"]),
        "vae": vae_table(config["vae"]),
        "text_encoder": clip_table("text_encoder", _TEXT),
        "text_encoder_2": open_clip_table(
            "text_encoder_2", _TEXT_2, config["text_encoder_2"]["num_hidden_layers"]
        ),
    }


def _config(header: Header, where: Path) -> Config:
    """The configuration.

    Raises:
        CheckpointError: the tensors are not those of such a model.
    """
    known = _known()
    try:
        config = {
            **known,
            "scheduler": {**known["scheduler"], **_prediction(header)},
            "unet": {**unet_config(header, _UNET, None), "sample_size": known["resolution"] // 8},
            "vae": vae_config(header, _VAE, known["scaling_factor"]),
            "text_encoder": clip_config(header, _TEXT, known["text_encoder"]),
            "text_encoder_2": open_clip_config(header, _TEXT_2, known["text_encoder_2"]),
        }
        _check_widths(config)
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {error.message}", fix=error.fix) from error
    return config


@cache
def _known() -> dict[str, Any]:
    """What shapes do not tell."""
    file = Path(__file__).with_name("sdxl.json")
    known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return known


def _prediction(header: Header) -> dict[str, Any]:
    """What the marker tensors say of the noise schedule."""
    kind = "v_prediction" if "v_pred" in header.tensors else "epsilon"
    return {"prediction_type": kind, "rescale_betas_zero_snr": "ztsnr" in header.tensors}


def _check_widths(config: Config) -> None:
    """The UNet must read what the two text encoders give."""
    unet, one, two = config["unet"], config["text_encoder"], config["text_encoder_2"]
    if unet["cross_attention_dim"] != one["hidden_size"] + two["hidden_size"]:
        message = (
            f"its UNet reads text of width {unet['cross_attention_dim']}, its text encoders give "
            f"{one['hidden_size']} and {two['hidden_size']}"
        )
        raise CheckpointError(message, fix="use an SDXL base checkpoint")
    told = unet.get("projection_class_embeddings_input_dim")
    needed = two["projection_dim"] + 6 * 256
    if told != needed:
        message = f"its UNet is told {told} numbers about a picture, SDXL's is told {needed}"
        raise CheckpointError(message, fix="use an SDXL base checkpoint")


FAMILY = OriginalLayout("sdxl", _matches, _config, _tables)
