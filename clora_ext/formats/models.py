"""Where a model lies: one safetensors file, or a diffusers folder; read as headers. Needs no torch."""

import re
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

from .diffusers_folder import files_of, folder_pieces
from .digest import file_sha256
from .flow_files import flow_pieces
from .flow_folder import flow_files_of, flow_folder_pieces, is_flow_folder
from .folder_files import folder_at
from .hash_cache import cached_sha256
from .header import Header, read_header
from .keys import SD1_TEXT_PREFIX, SDXL_TEXT_PREFIX, VAE_PREFIX
from .pieces import Piece, Pieces
from .prediction import say
from .spans import Span
from .statements import Statement, yaml_statement

__all__ = ["NOTHING", "file_sha256", "model_header", "model_pieces", "model_sha256", "statements_beside"]

NOTHING: Mapping[str, Piece] = MappingProxyType({})
"""A model that borrows no tensors."""

# Some programs write CLIP-L without `text_model.`; others then lose it in silence.
_CLIP_L = "|".join(map(re.escape, (SD1_TEXT_PREFIX, SDXL_TEXT_PREFIX)))
_FLAT_TEXT = re.compile(rf"({_CLIP_L})(embeddings|encoder|final_layer_norm)\.")
# Some write the VAE's attention as diffusers calls it now, or called it once, and as matrices.
_VAE_ATTENTION = re.compile(
    rf"({re.escape(VAE_PREFIX)}(?:encoder|decoder)\.mid\.attn_1\.)(.+)\.(weight|bias)"
)
_VAE_NAMES = {
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
    "group_norm": "norm",
    "query": "q",
    "key": "k",
    "value": "v",
    "proj_attn": "proj_out",
}


def model_header(path: Path, *said: Statement, borrowed: Mapping[str, Piece] = NOTHING) -> Header:
    """The header of the model at ``path``, in the original layout, with what stands beside it.

    Args:
        path: of the model.
        said: what counts more than all that stands in it and beside it.
        borrowed: tensors that it lacks and that lie in files of their own, by name.

    Raises:
        CheckpointError: it cannot be used; names the file.
    """
    pieces = model_pieces(path)
    header = read_header(path) if pieces is None else pieces.header()
    if borrowed:
        header = replace(header, tensors={**header.tensors, **Pieces(borrowed).header().tensors})
    return say(header, *said, *statements_beside(path))


def statements_beside(path: Path) -> tuple[Statement, ...]:
    """What files beside a single-file model say of what it predicts; a folder has it inside.

    Raises:
        CheckpointError: there is such a file, and it cannot be read.
    """
    found = None if folder_at(path) is not None else yaml_statement(path)
    return () if found is None else (found,)


def model_pieces(path: Path) -> Pieces | None:
    """Where the model's tensors lie; None: in one file, under the names of the original layout.

    Raises:
        CheckpointError: it cannot be used; names the file.
    """
    folder = folder_at(path)
    if folder is not None:
        return flow_folder_pieces(folder) if is_flow_folder(folder) else folder_pieces(folder)
    header = read_header(path)
    transformer = flow_pieces(path, header)
    if transformer is not None:
        return transformer
    names = {name: _usual_name(name) for name in header.tensors}
    # A file may hold both: then the other one is a left-over, and keeps its name.
    renamed = {name: usual for name, usual in names.items() if usual != name and usual not in header.tensors}
    if not renamed:
        return None
    pieces = {
        renamed.get(name, name): Piece(
            info.dtype,
            _usual_shape(renamed.get(name, ""), info.shape),
            (Span(path, header.data_start + info.start, info.bytes),),
        )
        for name, info in header.tensors.items()
    }
    return Pieces(pieces, header.metadata)


def _usual_name(name: str) -> str:
    """A tensor's name in the original layout as its authors wrote it."""
    attention = _VAE_ATTENTION.fullmatch(name)
    if attention and attention[2] in _VAE_NAMES:
        return f"{attention[1]}{_VAE_NAMES[attention[2]]}.{attention[3]}"
    return _FLAT_TEXT.sub(r"\1text_model.\2.", name)


def _usual_shape(renamed: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The VAE's attention is made of convolutions of 1 x 1; what was not ``renamed`` stays as it is."""
    return (*shape, 1, 1) if renamed.startswith(VAE_PREFIX) and len(shape) == 2 else shape  # noqa: PLR2004


def model_sha256(path: Path) -> str:
    """What identifies the model at ``path``: sha256 of the file; of a folder, of all files it is read from.

    A file that has not changed since it was hashed last is not read again.

    Raises:
        CheckpointError: it cannot be read.
    """
    folder = folder_at(path)
    if folder is None:
        return cached_sha256(path)
    total = sha256()
    for file in flow_files_of(folder) if is_flow_folder(folder) else files_of(folder):
        total.update(f"{file.relative_to(folder.path).as_posix()}\0{cached_sha256(file)}\n".encode())
    return total.hexdigest()
