"""Opening a model wherever it lies: one safetensors file, or a diffusers folder."""

import re
from hashlib import sha256
from pathlib import Path

from clora_ext.errors import CheckpointError

from .checkpoint import Checkpoint
from .composed import Composed, Piece
from .diffusers_folder import files_of, open_folder

__all__ = ["open_checkpoint", "sha256_of"]

# Some programs write CLIP-L without `text_model.`; others then lose it in silence.
_FLAT_TEXT = re.compile(
    r"((?:cond_stage_model|conditioner\.embedders\.0)\.transformer\.)(embeddings|encoder|final_layer_norm)\."
)
_CHUNK = 1 << 22


def open_checkpoint(path: Path) -> Checkpoint:
    """The model at ``path``, in the original layout.

    Raises:
        CheckpointError: a diffusers folder that cannot be used. (Of a file, the header is read on access.)
    """
    if path.is_dir():
        return open_folder(path)
    checkpoint = Checkpoint(path)
    if not any(_FLAT_TEXT.match(name) for name in checkpoint.names):
        return checkpoint
    pieces = {
        _FLAT_TEXT.sub(r"\1text_model.\2.", name): Piece(checkpoint.info(name).shape, ((checkpoint, name),))
        for name in checkpoint.names
    }
    return Composed(path, pieces, checkpoint.header.metadata)


def sha256_of(path: Path) -> str:
    """What identifies the model at ``path``: sha256 of the file; of a folder, of all files it is read from.

    Raises:
        CheckpointError: it cannot be read.
    """
    if not path.is_dir():
        return _file_sha256(path)
    total = sha256()
    for file in files_of(path):
        total.update(f"{file.relative_to(path).as_posix()}\0{_file_sha256(file)}\n".encode())
    return total.hexdigest()


def _file_sha256(path: Path) -> str:
    """Reads the file once, a few megabytes at a time."""
    digest = sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        message = f"cannot read {path}: {error.strerror or error}"
        raise CheckpointError(message, fix="check the path and its permissions") from error
    return digest.hexdigest()
