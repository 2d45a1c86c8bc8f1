"""A VAE in a file of its own, by whichever names, seen in the original layout. Needs no torch."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from clora_ext.errors import CheckpointError

from .diffusers_folder import component_pieces
from .flow_keys import flux2_vae_table
from .header import read_header
from .keys import VAE_PREFIX, vae_table
from .models import model_pieces
from .pieces import Pieces, file_pieces

__all__ = ["vae_pieces"]

_BLOCK = re.compile(r"encoder\.down_blocks\.(\d{1,2})\.resnets\.(\d{1,2})\.")


def vae_pieces(file: Path) -> Pieces:
    """The tensors of a VAE: of its own file, in diffusers' names or the original ones, or of a whole model.

    Raises:
        CheckpointError: it is no VAE of Stable Diffusion's kind.
    """
    if file.is_dir():
        found = model_pieces(file)
        return _only(Pieces({}) if found is None else found, file)
    header = read_header(file)
    if any(name.startswith(VAE_PREFIX) for name in header.tensors):
        return _only(model_pieces(file) or Pieces(file_pieces(file, header)), file)
    if "encoder.conv_in.weight" not in header.tensors:
        message = f"{file} holds no VAE of Stable Diffusion's kind"
        raise CheckpointError(message, fix="name one, such as vae-ft-mse-840000-ema-pruned.safetensors")
    if any(_BLOCK.match(name) for name in header.tensors):
        described = _described(header.tensors)
        normed = "bn.running_mean" in header.tensors  # of Flux.2
        table = replace(flux2_vae_table(described), prefix=VAE_PREFIX) if normed else vae_table(described)
        return Pieces(dict(component_pieces([file], table)))
    return Pieces({VAE_PREFIX + name: piece for name, piece in file_pieces(file, header).items()})


def _only(pieces: Pieces, where: Path) -> Pieces:
    """The VAE of a whole model."""
    found = {name: piece for name, piece in pieces.tensors.items() if name.startswith(VAE_PREFIX)}
    if not found:
        raise CheckpointError(f"{where} holds no VAE", fix="name a file that does")
    return Pieces(found)


def _described(names: Iterable[str]) -> Mapping[str, Any]:
    """As much of diffusers' configuration as names tell: blocks, and layers in each."""
    found = [(int(block[1]), int(block[2])) for name in names if (block := _BLOCK.match(name))]
    blocks, layers = (max(numbers) + 1 for numbers in zip(*found, strict=True))
    return {"block_out_channels": [0] * blocks, "layers_per_block": layers}
