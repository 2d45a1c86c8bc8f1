"""A safetensors file in the making: it appears complete or not at all. Needs no torch."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from io import FileIO
from pathlib import Path

from clora_ext.errors import CheckpointError, StorageError, writing

from .allocate import allocate
from .flush import flush
from .header import TensorInfo, encode_header
from .spans import Files, Span, write_all

__all__ = ["Part", "Writer", "combine", "reserve"]


class Writer:
    """A new file beside ``target``, which takes its place when all is written.

    Tensors may be written in any order and by several threads, each tensor by one.

    Attributes:
        target: the file that will appear.
        tensors: places of the tensors.
        digests: sha256 of the bytes of each tensor written so far, in hex; none of a file that is not
            ``hashed``.
    """

    def __init__(
        self,
        target: Path,
        tensors: Mapping[str, TensorInfo],
        metadata: Mapping[str, str],
        *,
        hashed: bool = True,
    ) -> None:
        self.target = target
        self._hashed = hashed
        self.tensors = tensors
        self.digests: dict[str, str] = {}
        self._header = encode_header(tensors, metadata)
        self._partial = target.with_name(f"{target.name}.partial")

    @property
    def bytes(self) -> int:
        """Size of the whole file."""
        return len(self._header) + max((info.end for info in self.tensors.values()), default=0)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Begin the file; on leaving, what did not become ``target`` is gone.

        What the system refuses elsewhere meanwhile, such as a pipe that is told of the progress, stays what
        it is.

        Raises:
            StorageError: the disk is full or refuses.
        """
        try:
            with writing(self.target), FileIO(self._partial, "w") as file:
                write_all(file, memoryview(self._header))
                allocate(file.fileno(), self.bytes)
            yield
        finally:
            with suppress(OSError):
                self._partial.unlink()

    @contextmanager
    def part(self, name: str) -> Iterator["Part"]:
        """The place of one tensor, to be filled from its first byte to its last.

        Raises:
            CheckpointError: another number of bytes was written than was announced.
            StorageError: the disk is full or refuses.
        """
        info = self.tensors[name]
        with ExitStack() as stack:
            with writing(self.target):
                file = stack.enter_context(FileIO(self._partial, "r+"))
                file.seek(len(self._header) + info.start)
            part = Part(file, self.target, hashed=self._hashed)
            yield part
        if part.written != info.bytes:
            message = f"{self.target}: tensor {name!r} got {part.written} bytes, declared were {info.bytes}"
            raise CheckpointError(message, fix="report this: it is a bug in clora")
        if self._hashed:
            self.digests[name] = part.digest

    def finish(self) -> None:
        """Force everything to the disk; only then may :meth:`publish` follow."""
        with writing(self.target), FileIO(self._partial, "r+") as file:
            flush(file.fileno())

    def publish(self) -> None:
        """Take ``target``'s place."""
        with writing(self.target):
            self._partial.replace(self.target)


class Part:
    """One tensor in the making.

    Attributes:
        written: bytes so far.
    """

    def __init__(self, file: FileIO, target: Path, *, hashed: bool) -> None:
        self.written = 0
        self._file = file
        self._target = target
        self._hashed = hashed
        self._sha256 = sha256()
        self._known: str | None = None

    @property
    def digest(self) -> str:
        """sha256 of the bytes, in hex."""
        return self._known or self._sha256.hexdigest()

    def write(self, data: memoryview) -> None:
        """Append ``data`` (bytes)."""
        if self._hashed:
            self._sha256.update(data)
        with writing(self._target):
            write_all(self._file, data)
        self.written += len(data)

    def copy(self, files: Files, spans: Sequence[Span], digest: str | None = None) -> None:
        """Fill the whole part with bytes of other files.

        Args:
            files: through which they are read.
            spans: where they lie.
            digest: their sha256 if it is known; the bytes are then copied without being looked at.
        """
        if self._hashed and digest is None:
            for chunk in files.chunks(spans):
                self.write(chunk)
            return
        with writing(self._target):  # what cannot be read is told as such by ``files`` itself
            files.copy(spans, self._file)
        self.written = sum(span.length for span in spans)
        self._known = digest


def reserve(writers: Sequence[Writer]) -> None:
    """Make sure that the disk has room for all the files, which lie in one file system.

    Raises:
        StorageError: says how much is needed and how much is free.
    """
    needed = sum(writer.bytes for writer in writers)
    target = writers[0].target
    with writing(target):
        free = shutil.disk_usage(target.parent).free
    if needed > free:
        message = f"cannot write {target}: {needed:,} bytes are needed, {free:,} bytes are free on that disk"
        raise StorageError(message, fix="free some space, then run the same command again")


def combine(tensors: Mapping[str, TensorInfo], digests: Mapping[str, str]) -> str:
    """The content hash: sha256 over sorted lines of name, dtype, shape and the bytes' sha256."""
    total = sha256()
    for name in sorted(tensors):
        info = tensors[name]
        total.update(f"{name}\0{info.dtype}\0{list(info.shape)}\0{digests[name]}\n".encode())
    return total.hexdigest()
