"""Another VAE in the place of a model's own: for encoding and drawing, never folded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clora_ext.families.latent.filling import fill
from clora_ext.families.latent.modules import empty_module
from clora_ext.formats.companion_files import flow_vae_pieces
from clora_ext.formats.composed import Composed
from clora_ext.formats.pieces import Pieces

from .vae_kind import VaeKind

__all__ = ["load_flow_vae"]


def load_flow_vae(file: Path, kind: VaeKind, config: Mapping[str, Any], device: torch.device) -> nn.Module:
    """The VAE, float32, frozen.

    Args:
        file: any that :func:`clora_ext.formats.companion_files.flow_vae_pieces` reads.
        kind: of the VAE.
        config: of the VAE whose place it takes; what shapes do not tell of its latents holds.
        device: where it goes.

    Raises:
        CheckpointError: it is of other layers, or damaged.
    """
    empty = empty_module(lambda: kind.build(config), "vae", file)
    pieces = Pieces(flow_vae_pieces(file))
    found = fill(empty, kind.table(config), Composed(file, pieces), {}, torch.float32)
    vae: Any = found.to(device).eval().requires_grad_(requires_grad=False)
    vae.enable_slicing()
    return vae  # type: ignore[no-any-return]
