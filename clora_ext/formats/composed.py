"""A checkpoint that lies in several files, or under other names, read as one in the original layout."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from .checkpoint import Checkpoint
from .header import Header
from .models import model_pieces, statements_beside
from .pieces import Pieces
from .prediction import say
from .spans import Span, reading
from .statements import Statement
from .stored import dtype_of, raw

__all__ = ["Composed", "open_model"]


@dataclass(frozen=True)
class Composed(Checkpoint):
    """Tensors that lie elsewhere; ``path`` says what they are together.

    Attributes:
        pieces: where.
    """

    pieces: Pieces

    @cached_property
    def header(self) -> Header:
        """dtypes, shapes and sizes; the places in it mean nothing."""
        return say(self.pieces.header(), *self.statements)

    def spans(self, name: str) -> Sequence[Span] | None:
        """Where the tensor's bytes lie, in order; None: nowhere as they are."""
        self.info(name)
        piece = self.pieces.tensors[name]
        return None if piece.transposed else piece.spans

    def read(self, name: str) -> Tensor:
        """The tensor in its own dtype, in memory of its own."""
        self.info(name)
        piece = self.pieces.tensors[name]
        if not piece.transposed:
            return super().read(name)
        found = torch.empty(piece.shape[::-1], dtype=dtype_of(piece.dtype))
        with reading() as files:
            files.read_into(piece.spans, raw(found))
        return found.T.contiguous()


def open_model(path: Path, *said: Statement) -> Checkpoint:
    """The model at ``path``: a safetensors file or a diffusers folder.

    Args:
        path: of the model.
        said: what counts more than all that stands in it and beside it.

    Raises:
        CheckpointError: it cannot be used; names the file.
    """
    pieces = model_pieces(path)
    statements = (*said, *statements_beside(path))
    if pieces is None:
        return Checkpoint(path, statements=statements)
    return Composed(path, pieces, statements=statements)
