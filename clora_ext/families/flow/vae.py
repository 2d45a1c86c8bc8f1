"""Another VAE in the place of a model's own: for encoding and drawing, never folded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL

from clora_ext.families.latent.filling import fill
from clora_ext.families.latent.modules import empty_module
from clora_ext.formats.companion_files import flow_vae_pieces
from clora_ext.formats.composed import Composed
from clora_ext.formats.flow_keys import flow_vae_table
from clora_ext.formats.pieces import Pieces

__all__ = ["load_flow_vae"]


def load_flow_vae(file: Path, config: Mapping[str, Any], device: torch.device) -> AutoencoderKL:
    """The VAE, float32, frozen.

    Args:
        file: any that :func:`clora_ext.formats.companion_files.flow_vae_pieces` reads.
        config: of the VAE whose place it takes; how it scales and shifts latents holds.
        device: where it goes.

    Raises:
        CheckpointError: it is of other layers, or damaged.
    """
    empty = empty_module(lambda: AutoencoderKL.from_config(dict(config)), "vae", file)
    pieces = Pieces(flow_vae_pieces(file))
    found = fill(empty, flow_vae_table(config), Composed(file, pieces), {}, torch.float32)
    vae: AutoencoderKL = found.to(device).eval().requires_grad_(requires_grad=False)
    vae.enable_slicing()
    return vae
