"""Tensors that took long to compute, in a folder, by what they were computed from.

An entry is a safetensors file that is called by the hash of its origins, so nothing in it is ever out of
date: what has another origin has another name. One that is damaged is computed anew.
"""

import json
import os
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from clora_ext.errors import CheckpointError, TrainingError, writing

from .header import read_header

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["TensorCache", "module_digest"]

_FORMAT = 1
_PIECE = 1 << 24  # bytes that are hashed at once


class TensorCache:
    """A folder of tensors.

    Args:
        folder: where they lie; it is made when the first is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(
        self, origin: Mapping[str, Any], what: str, compute: "Callable[[], Mapping[str, Tensor]]"
    ) -> "dict[str, Tensor]":
        """The tensors of an origin; computed and kept where they are not there.

        Args:
            origin: everything that they depend on, as plain values.
            what: they are, for people, such as "what the VAE gave for dog.png".
            compute: gives them, on the processor.

        Raises:
            TrainingError: some of their values are not finite; they are not kept.
            StorageError: they cannot be written.
        """
        name = sha256(json.dumps({"format": _FORMAT, **origin}, sort_keys=True).encode()).hexdigest()
        file = self._folder / name[:2] / f"{name}.safetensors"
        found = self._read(file)
        if found is None:
            found = {key: value.contiguous() for key, value in compute().items()}
            if not all(value.isfinite().all() for value in found.values()):
                raise TrainingError(f"{what} is not finite", fix="use another checkpoint or VAE")
            self._write(file, found)
        return found

    def _read(self, file: Path) -> "dict[str, Tensor] | None":
        """None: there is nothing, or nothing whole."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        if not file.is_file():
            return None
        try:
            read_header(file)
            found = load(file.read_bytes())
        except (CheckpointError, SafetensorError, OSError, ValueError):
            return None
        return found if all(value.isfinite().all() for value in found.values()) else None

    def _write(self, file: Path, tensors: "Mapping[str, Tensor]") -> None:
        """Whole or not at all; another process may be writing the same."""
        from safetensors.torch import save

        with writing(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=file.parent, delete=False) as partial:
                try:
                    partial.write(save(dict(tensors)))
                    partial.close()
                    os.replace(partial.name, file)
                except OSError:
                    Path(partial.name).unlink(missing_ok=True)
                    raise


def module_digest(*modules: "nn.Module") -> str:
    """sha256 of the values of networks, in hex; on whichever device they lie."""
    import torch

    found = sha256()
    for module in modules:
        for name, value in sorted(module.state_dict().items()):
            found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            data = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            for start in range(0, data.size, _PIECE):
                found.update(data[start : start + _PIECE])
    return found.hexdigest()
