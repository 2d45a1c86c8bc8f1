"""A checkpoint that lies in other files, or under other names: seen as one in the original layout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from .checkpoint import Checkpoint
from .header import Header, TensorInfo
from .spans import Span

__all__ = ["Composed", "Piece"]


@dataclass(frozen=True, slots=True)
class Piece:
    """Where a tensor comes from.

    Attributes:
        shape: as the original layout says it.
        sources: tensors of other files, (file, name), of one dtype, whose bytes follow one another.
        transposed: whether rows and columns of the one source are exchanged.
    """

    shape: tuple[int, ...]
    sources: tuple[tuple[Checkpoint, str], ...]
    transposed: bool = False


@dataclass(frozen=True)
class Composed(Checkpoint):
    """Tensors of other files; ``path`` says what they are together.

    Attributes:
        pieces: by name in the original layout.
        metadata: what a header would say.
    """

    pieces: Mapping[str, Piece] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def header(self) -> Header:
        """dtypes, shapes and sizes; places mean nothing."""
        return Header({name: _info(piece) for name, piece in self.pieces.items()}, self.metadata)

    def spans(self, name: str) -> Sequence[Span] | None:
        """Where the tensor's bytes lie, in order; None: nowhere as they are."""
        self.info(name)
        piece = self.pieces[name]
        if piece.transposed:
            return None
        found = [source.spans(inner) for source, inner in piece.sources]
        return [span for spans in found for span in spans or ()]

    def read(self, name: str) -> Tensor:
        """The tensor in its own dtype, in memory of its own."""
        self.info(name)
        piece = self.pieces[name]
        if not piece.transposed:
            return super().read(name)
        source, inner = piece.sources[0]
        return source.read(inner).T.contiguous()


def _info(piece: Piece) -> TensorInfo:
    """dtype, shape and size."""
    infos = [source.info(inner) for source, inner in piece.sources]
    dtype = infos[0].dtype if infos else "F32"
    return TensorInfo(dtype, piece.shape, 0, sum(info.bytes for info in infos))
