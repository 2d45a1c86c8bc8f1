"""A checkpoint that lies in several files, or under other names, read as one in the original layout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from clora_ext.adapters.scratch import Scratch

from .checkpoint import Checkpoint
from .header import Header, read_header
from .models import NOTHING, model_pieces, statements_beside
from .pieces import Piece, Pieces, file_pieces
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
        borrowed: names of those tensors that lie in files of their own and are read alone.
    """

    pieces: Pieces
    borrowed: frozenset[str] = frozenset()

    @cached_property
    def header(self) -> Header:
        """dtypes, shapes and sizes; the places in it mean nothing."""
        return say(self.pieces.header(), *self.statements)

    @property
    def own_names(self) -> tuple[str, ...]:
        """Names of the tensors that are not borrowed."""
        return tuple(name for name in self.names if name not in self.borrowed)

    def spans(self, name: str) -> Sequence[Span] | None:
        """Where the tensor's bytes lie, in order; None: nowhere as they are."""
        self.info(name)
        piece = self.pieces.tensors[name]
        return None if piece.transposed else piece.spans

    def read(self, name: str, scratch: Scratch | None = None) -> Tensor:
        """See :meth:`Checkpoint.read`."""
        self.info(name)
        piece = self.pieces.tensors[name]
        if not piece.transposed:
            return super().read(name, scratch)
        found = torch.empty(piece.shape[::-1], dtype=dtype_of(piece.dtype))
        with reading() as files:
            files.read_into(piece.spans, raw(found))
        return found.T.contiguous()


def open_model(path: Path, *said: Statement, borrowed: Mapping[str, Piece] = NOTHING) -> Checkpoint:
    """The model at ``path``: a safetensors file or a diffusers folder.

    Args:
        path: of the model.
        said: what counts more than all that stands in it and beside it.
        borrowed: tensors that it lacks and that lie in files of their own, by name.

    Raises:
        CheckpointError: it cannot be used; names the file.
    """
    pieces = model_pieces(path)
    statements = (*said, *statements_beside(path))
    if pieces is None and not borrowed:
        return Checkpoint(path, statements=statements)
    if pieces is None:
        header = read_header(path)
        pieces = Pieces(file_pieces(path, header), header.metadata)
    whole = replace(pieces, tensors={**pieces.tensors, **borrowed})
    return Composed(path, whole, frozenset(borrowed), statements=statements)
