"""A model as pieces: where each tensor of the original layout lies, whatever it is called there.

Needs no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .header import Header, TensorInfo
from .spans import Span
from .statements import Statement

__all__ = ["Piece", "Pieces", "file_pieces"]


@dataclass(frozen=True, slots=True)
class Piece:
    """One tensor of the original layout.

    Attributes:
        dtype: safetensors' name of it.
        shape: as the original layout says it.
        spans: where its bytes lie, in order.
        transposed: whether rows and columns are exchanged there.
    """

    dtype: str
    shape: tuple[int, ...]
    spans: tuple[Span, ...]
    transposed: bool = False

    @property
    def bytes(self) -> int:
        """Size of the data."""
        return sum(span.length for span in self.spans)


@dataclass(frozen=True, slots=True)
class Pieces:
    """A whole model.

    Attributes:
        tensors: by name in the original layout.
        metadata: what a header would say.
        statements: what stands beside the weights; see :attr:`Header.statements`.
    """

    tensors: Mapping[str, Piece]
    metadata: Mapping[str, str] = field(default_factory=dict)
    statements: tuple[Statement, ...] = ()

    def header(self) -> Header:
        """dtypes, shapes and sizes; the places in it mean nothing."""
        infos = {
            name: TensorInfo(piece.dtype, piece.shape, 0, piece.bytes) for name, piece in self.tensors.items()
        }
        return Header(infos, self.metadata, statements=self.statements)


def file_pieces(file: Path, header: Header) -> dict[str, Piece]:
    """The tensors of one file under the names that they have there."""
    return {
        name: Piece(info.dtype, info.shape, (Span(file, header.data_start + info.start, info.bytes),))
        for name, info in header.tensors.items()
    }
