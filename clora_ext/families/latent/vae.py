"""Another VAE in the place of a model's own: for encoding and drawing, never folded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL

from clora_ext.formats.composed import Composed
from clora_ext.formats.keys import vae_table
from clora_ext.formats.vae_file import vae_pieces

from .filling import fill
from .modules import empty_module, places_in

__all__ = ["check_vae", "load_vae"]


def check_vae(file: Path, config: Mapping[str, Any]) -> None:
    """Make sure that the file fills a VAE of this configuration; reads headers only.

    Raises:
        CheckpointError: it does not.
    """
    empty = empty_module(lambda: AutoencoderKL.from_config(dict(config)), "vae", file)
    places_in(empty, vae_table(config), vae_pieces(file).header(), file)


def load_vae(file: Path, config: Mapping[str, Any], device: torch.device) -> AutoencoderKL:
    """The VAE, float32, frozen.

    Args:
        file: any file or folder that :func:`clora_ext.formats.vae_file.vae_pieces` reads.
        config: of the VAE whose place it takes; its scaling factor holds.
        device: where it goes.

    Raises:
        CheckpointError: it is of other layers, or damaged.
    """
    empty = empty_module(lambda: AutoencoderKL.from_config(dict(config)), "vae", file)
    found = fill(empty, vae_table(config), Composed(file, vae_pieces(file)), {}, torch.float32)
    vae: AutoencoderKL = found.to(device).eval().requires_grad_(requires_grad=False)
    vae.enable_slicing()
    return vae
