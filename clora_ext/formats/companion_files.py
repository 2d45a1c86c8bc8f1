"""Text encoders and VAEs in files of their own, by whichever names, as a file of everything has them.

Needs no torch.
"""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from clora_ext.errors import CheckpointError

from .flow_keys import FLOW_VAE_PREFIX
from .hash_cache import cached_sha256
from .header import Header, read_header
from .keys import VAE_PREFIX
from .pieces import Piece, Pieces, file_pieces
from .quantised import quantised
from .vae_file import vae_pieces

__all__ = ["companion_sha256", "flow_vae_pieces", "language_model_pieces"]

_ALONE = ("model.", "")
"""What stands before the names of a language model's layers: transformers' own class, or its inner one."""

_MARK = "embed_tokens.weight"
_SIGHT = ("visual.", "model.visual.")
_NAME_ONE = "name a text encoder, such as qwen_3_4b.safetensors"


def language_model_pieces(file: Path, prefix: str) -> Mapping[str, Piece]:
    """The tensors of a language model, by their names in a file of everything.

    Args:
        file: of the model alone, of everything, or a folder with all of its files.
        prefix: where its tensors stand in a file of everything.

    Raises:
        CheckpointError: it is none, or a quantised one.
    """
    headers = _headers(file)
    names = {name for header in headers.values() for name in header.tensors}
    found = next((one for one in (f"{prefix}model.", *_ALONE) if one + _MARK in names), None)
    if found is None:
        raise CheckpointError(f"{file} holds no language model", fix=_NAME_ONE)
    if any(name.startswith(_SIGHT) for name in names):
        raise CheckpointError(f"{file} is a language model that sees pictures, too", fix=_NAME_ONE)
    pieces: dict[str, Piece] = {}
    for path, header in headers.items():
        own = {name: piece for name, piece in file_pieces(path, header).items() if name.startswith(found)}
        _refuse_quantised(path, header, found)
        pieces |= {f"{prefix}model.{name.removeprefix(found)}": piece for name, piece in own.items()}
    return pieces


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
        return {name: piece for name, piece in everything.items() if name.startswith(FLOW_VAE_PREFIX)}
    found: Pieces = vae_pieces(file)
    return {FLOW_VAE_PREFIX + name.removeprefix(VAE_PREFIX): piece for name, piece in found.tensors.items()}


def companion_sha256(file: Path) -> str:
    """What identifies a file, or all safetensors files of a folder; what has not changed is not read again.

    Raises:
        CheckpointError: it cannot be read.
    """
    if not file.is_dir():
        return cached_sha256(file)
    total = sha256()
    for one in _files(file):
        total.update(f"{one.name}\0{cached_sha256(one)}\n".encode())
    return total.hexdigest()


def _headers(file: Path) -> Mapping[Path, Header]:
    return {one: read_header(one) for one in _files(file)}


def _files(file: Path) -> tuple[Path, ...]:
    """The file, or a folder's in a fixed order.

    Raises:
        CheckpointError: the folder holds none.
    """
    if not file.is_dir():
        return (file,)
    found = tuple(sorted(file.glob("*.safetensors")))
    if not found:
        raise CheckpointError(f"{file} holds no .safetensors file", fix="name the file itself")
    return found


def _refuse_quantised(file: Path, header: Header, prefix: str) -> None:
    how = quantised({name: info for name, info in header.tensors.items() if name.startswith(prefix)})
    if how is not None:
        raise CheckpointError(f"{file} is {how}", fix="use its fp16, bf16 or fp32 version")
