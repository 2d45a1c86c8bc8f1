"""VAEs in files of their own, as a file of everything has them; and what identifies a file.

Needs no torch.
"""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from .diffusers_folder import component_pieces
from .flow_keys import FLOW_VAE_PREFIX, qwen_image_vae_table
from .flow_layouts import FLUX2_KLEIN
from .hash_cache import cached_sha256
from .header import Header, read_header
from .keys import VAE_PREFIX
from .language_model import files_in
from .pieces import Piece, Pieces, file_pieces
from .vae_file import vae_pieces

__all__ = ["companion_sha256", "flow_vae_pieces"]

_FIRST = ("encoder.conv_in.weight", "encoder.conv1.weight")  # of a VAE, whoever names it; the latter: Wan's
_WAN = "decoder.middle.0.residual.0.gamma"
_WAN_IN_DIFFUSERS = "decoder.mid_block.resnets.0.norm1.gamma"
_LEVEL = re.compile(r"decoder\.up_blocks\.(\d{1,2})\.resnets\.(\d{1,2})\.")


def flow_vae_pieces(file: Path) -> Mapping[str, Piece]:
    """The tensors of a VAE, by their names in a file of everything.

    Args:
        file: of the VAE alone, in any layout, or of everything.

    Raises:
        CheckpointError: it is none.
    """
    header = Header({}) if file.is_dir() else read_header(file)
    if any(FLOW_VAE_PREFIX + name in header.tensors for name in _FIRST):
        everything = file_pieces(file, header)
        found = {name: piece for name, piece in everything.items() if name.startswith(FLOW_VAE_PREFIX)}
    elif _WAN in header.tensors:
        return {FLOW_VAE_PREFIX + name: piece for name, piece in file_pieces(file, header).items()}
    elif _WAN_IN_DIFFUSERS in header.tensors:
        return dict(component_pieces([file], qwen_image_vae_table(_wan_counts(header.tensors))))
    else:
        alone: Pieces = vae_pieces(file)
        found = {FLOW_VAE_PREFIX + n.removeprefix(VAE_PREFIX): piece for n, piece in alone.tensors.items()}
    if f"{FLOW_VAE_PREFIX}bn.running_mean" not in found:
        return found
    return {FLUX2_KLEIN.usual(name): piece for name, piece in found.items()}


def _wan_counts(names: Iterable[str]) -> Mapping[str, Any]:
    """As much of diffusers' configuration as names tell: levels, and blocks in each."""
    found = [(int(level[1]), int(level[2])) for name in names if (level := _LEVEL.match(name))]
    levels, blocks = (max(numbers) for numbers in zip(*found, strict=True))
    return {"dim_mult": [1] * (levels + 1), "num_res_blocks": blocks}  # one more on the way up


def companion_sha256(file: Path) -> str:
    """What identifies a file, or all safetensors files of a folder; what has not changed is not read again.

    Raises:
        CheckpointError: it cannot be read.
    """
    if not file.is_dir():
        return cached_sha256(file)
    total = sha256()
    for one in files_in(file):
        total.update(f"{one.name}\0{cached_sha256(one)}\n".encode())
    return total.hexdigest()
