"""safetensors checkpoints: tensors read one by one, files written one tensor at a time.

A file is never changed in place: :func:`write_checkpoint` writes beside the target and renames. What is not
touched travels as bytes and is never decoded.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from clora_ext.adapters.scratch import Scratch
from clora_ext.errors import CheckpointError

from .header import Header, TensorInfo, layout, read_header
from .spans import Files, Span, part, reading
from .statements import Statement
from .stored import check_finite, dtype_name, dtype_of, raw
from .text import quoted
from .threads import workers
from .writer import Writer, combine, reserve

__all__ = [
    "Checkpoint",
    "Copy",
    "Source",
    "content_hash",
    "copy_tensor",
    "stored_chunks",
    "write_checkpoint",
]


@dataclass(frozen=True)
class Checkpoint:
    """A safetensors file whose tensors are read on demand.

    Everything is read through :attr:`header`, :meth:`spans` and, where a tensor has no spans, :meth:`read`.

    Attributes:
        path: of the file.
        statements: what is said beside the file of the model; see :attr:`Header.statements`.

    Raises:
        CheckpointError: on access, when the file is damaged, hostile or a pickle.
    """

    path: Path
    statements: tuple[Statement, ...] = field(default=(), kw_only=True)

    @cached_property
    def header(self) -> Header:
        """The checked header."""
        return replace(read_header(self.path), statements=self.statements)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all tensors, in the file's order."""
        return tuple(self.header.tensors)

    @property
    def own_names(self) -> tuple[str, ...]:
        """Names of the tensors that are written where it is written anew: here, all."""
        return self.names

    def __contains__(self, name: str) -> bool:
        """Whether there is a tensor of that name."""
        return name in self.header.tensors

    def info(self, name: str) -> TensorInfo:
        """dtype, shape and place of a tensor."""
        try:
            return self.header.tensors[name]
        except KeyError as error:
            message = f"{self.path} has no tensor {quoted(name)}"
            raise CheckpointError(message, fix="use a complete checkpoint") from error

    def spans(self, name: str) -> Sequence[Span] | None:
        """Where the tensor's bytes lie, in order; None: nowhere as they are, it has to be :meth:`read`."""
        info = self.info(name)
        return (Span(self.path, self.header.data_start + info.start, info.bytes),)

    def read(self, name: str, scratch: Scratch | None = None) -> Tensor:
        """The tensor in its own dtype, in memory of its own, or in ``scratch`` under the file's path."""
        with reading() as files:
            found = self._read(files, name, 0, self.info(name).bytes, scratch)
            return found.reshape(self.info(name).shape)

    def read_rows(
        self, name: str, start: int, stop: int, files: Files, scratch: Scratch | None = None
    ) -> Tensor:
        """Rows of the tensor seen as a matrix: (stop - start, columns), its own dtype.

        They lie in memory of their own, or in ``scratch`` under the file's path.
        """
        info = self.info(name)
        if self.spans(name) is None:
            return self.read(name).reshape(info.shape[0], -1)[start:stop]
        width = info.bytes // info.shape[0]
        found = self._read(files, name, start * width, (stop - start) * width, scratch)
        return found.reshape(stop - start, -1)

    def read_float(self, name: str) -> Tensor:
        """The tensor in float32."""
        return self.read(name).to(torch.float32)

    def chunks(self, name: str) -> Iterator[memoryview]:
        """The tensor's bytes, some at a time; a chunk is valid until the next is asked for."""
        spans = self.spans(name)
        if spans is None:
            yield raw(self.read(name))
            return
        with reading() as files:
            yield from files.chunks(spans)

    def _read(
        self, files: Files, name: str, start: int, length: int, scratch: Scratch | None = None
    ) -> Tensor:
        """``length`` bytes of the tensor, flat, in its own dtype."""
        stored = self.info(name).dtype
        dtype = dtype_of(stored)
        if dtype is None:
            message = f"{self.path}: tensor {quoted(name)} is {stored}, which cannot be computed with"
            raise CheckpointError(message, fix="use an fp16, bf16 or fp32 version of the model")
        spans = self.spans(name)
        if spans is None:
            message = f"{self.path}: tensor {name!r} is not stored as it is anywhere"
            raise CheckpointError(message, fix="report this: it is a bug in clora")
        tensor = (scratch or Scratch()).take(str(self.path), (length // dtype.itemsize,), dtype)
        files.read_into(part(spans, start, length), raw(tensor))
        return tensor


@dataclass(frozen=True, slots=True)
class Copy:
    """A tensor that is copied, byte for byte, from another file (where it may have another name).

    Attributes:
        source: the other file.
        name: the tensor's name there.
        digest: sha256 of its bytes, in hex, if it is known: they then need not be looked at.
    """

    source: Checkpoint
    name: str
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """What will stand in the new file under one name.

    Attributes:
        dtype: safetensors' name of the dtype that is stored.
        shape: of the tensor.
        make: gives the tensor (cast to ``dtype`` here), or where to copy it from.
    """

    dtype: str
    shape: tuple[int, ...]
    make: Callable[[], Tensor] | Copy

    @staticmethod
    def of(tensor: Tensor) -> "Source":
        """A tensor that is at hand, stored in its own dtype."""
        return Source(dtype_name(tensor.dtype), tuple(tensor.shape), lambda: tensor)

    @staticmethod
    def copy(source: Checkpoint, name: str, digest: str | None = None) -> "Source":
        """A tensor of another file, byte for byte; ``digest`` as in :class:`Copy`."""
        info = source.info(name)
        return Source(info.dtype, info.shape, Copy(source, name, digest))


def write_checkpoint(
    target: Path,
    sources: Mapping[str, Source],
    metadata: Mapping[str, str],
    *,
    on_tensor: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> str:
    """Write ``target`` and give its content hash.

    The file appears complete or not at all, its mode follows the umask (the safetensors library writes
    0600, which a web interface under another user cannot read), and equal content gives equal bytes.
    Copies are made by threads, tensors by the caller's.

    Args:
        target: the new file; its folder exists.
        sources: what to write, by name.
        metadata: the header's metadata.
        on_tensor: called after every tensor with (done, total, name); may raise to stop.

    Raises:
        CheckpointError: a value is NaN or infinite, or does not fit the stored dtype.
        StorageError: the disk is full or refuses.
    """
    tensors = layout({name: (source.dtype, source.shape) for name, source in sources.items()})
    writer = Writer(target, tensors, metadata)
    reserve([writer])
    with writer.open():
        with workers() as pool:
            copies = _copies(pool, writer, sources)
            for done, name in enumerate(tensors, start=1):
                make = sources[name].make
                if isinstance(make, Copy):
                    copies[name].result()
                else:
                    _write(writer, name, sources[name], make())
                on_tensor(done, len(tensors), name)
        writer.finish()
        writer.publish()
    return combine(tensors, writer.digests)


def _copies(pool: Executor, writer: Writer, sources: Mapping[str, Source]) -> "dict[str, Future[None]]":
    """The jobs of the tensors that are copied, begun in the file's order."""
    makes = ((name, sources[name].make) for name in writer.tensors)
    return {n: pool.submit(copy_tensor, writer, n, make) for n, make in makes if isinstance(make, Copy)}


def copy_tensor(writer: Writer, name: str, copied: Copy) -> None:
    """Fill one tensor's place with another file's bytes."""
    spans = copied.source.spans(copied.name)
    with writer.part(name) as place, reading() as files:
        if spans is None:
            place.write(raw(copied.source.read(copied.name)))
        else:
            place.copy(files, spans, copied.digest)


def _write(writer: Writer, name: str, source: Source, tensor: Tensor) -> None:
    """Fill one tensor's place with ``tensor`` in the stored dtype."""
    stored = _stored(name, source, tensor)
    with writer.part(name) as place:
        place.write(raw(stored))


def _stored(name: str, source: Source, tensor: Tensor) -> Tensor:
    """``tensor`` in the stored dtype; refuses what is not finite there."""
    stored = tensor.detach().to("cpu", dtype_of(source.dtype)).contiguous()
    if tuple(stored.shape) != source.shape:
        message = f"tensor {name!r} has the shape {tuple(stored.shape)}, declared as {source.shape}"
        raise CheckpointError(message, fix="report this: it is a bug in clora")
    check_finite(name, stored)
    return stored


def stored_chunks(name: str, source: Source) -> Iterator[memoryview]:
    """The bytes that :func:`write_checkpoint` writes for one tensor; a chunk is valid until the next.

    Raises:
        CheckpointError: a value is NaN or infinite, or does not fit the stored dtype.
    """
    if isinstance(source.make, Copy):
        yield from source.make.source.chunks(source.make.name)
    else:
        yield raw(_stored(name, source, source.make()))


def content_hash(checkpoint: Checkpoint, known: Mapping[str, str] | None = None) -> str:
    """sha256 over names, dtypes, shapes and bytes of all tensors, whatever their order and the metadata.

    Args:
        checkpoint: that is hashed, but for what it borrows of other files.
        known: sha256 of the bytes of tensors that need not be read, in hex, by name.
    """
    digests = dict(known or {})
    unknown = [name for name in checkpoint.own_names if name not in digests]
    with workers() as pool:
        found = pool.map(lambda name: _digest(checkpoint, name), unknown)
        digests.update(zip(unknown, found, strict=True))
    return combine({name: checkpoint.info(name) for name in checkpoint.own_names}, digests)


def _digest(checkpoint: Checkpoint, name: str) -> str:
    """sha256 of one tensor's bytes."""
    digest = sha256()
    for chunk in checkpoint.chunks(name):
        digest.update(chunk)
    return digest.hexdigest()
