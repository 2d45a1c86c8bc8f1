"""VAEs in files of their own, as a file of everything has them; and what identifies a file.

Needs no torch.
"""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from .flow_keys import FLOW_VAE_PREFIX
from .flow_layouts import FLUX2_KLEIN
from .hash_cache import cached_sha256
from .header import Header, read_header
from .keys import VAE_PREFIX
from .language_model import files_in
from .pieces import Piece, Pieces, file_pieces
from .vae_file import vae_pieces

__all__ = ["companion_sha256", "flow_vae_pieces"]


def flow_vae_pieces(file: Path) -> Mapping[str, Piece]:
    """The tensors of a VAE, by their names in a file of everything.

    Args:
        file: of the VAE alone, in any layout, or of everything.

    Raises:
        CheckpointError: it is none.
    """
    header = Header({}) if file.is_dir() else read_header(file)
    if f"{FLOW_VAE_PREFIX}encoder.conv_in.weight" in header.tensors:
        everything = file_pieces(file, header)
        found = {name: piece for name, piece in everything.items() if name.startswith(FLOW_VAE_PREFIX)}
    else:
        alone: Pieces = vae_pieces(file)
        found = {FLOW_VAE_PREFIX + n.removeprefix(VAE_PREFIX): piece for n, piece in alone.tensors.items()}
    if f"{FLOW_VAE_PREFIX}bn.running_mean" not in found:
        return found
    return {FLUX2_KLEIN.usual(name): piece for name, piece in found.items()}


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
