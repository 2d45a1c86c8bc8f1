"""Bytes that lie in files: where, and how they are read or copied without being decoded. Needs no torch."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from clora_ext.errors import CheckpointError

__all__ = ["Files", "Span", "part", "reading", "write_all"]

_CHUNK = 1 << 18  # bytes read at once: more no longer fit into a processor's cache
_STRETCH = 1 << 26  # bytes that the system copies at once


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a file.

    Attributes:
        path: of the file.
        start: its first byte's place.
        length: bytes.
    """

    path: Path
    start: int
    length: int


def part(spans: Sequence[Span], start: int, length: int) -> list[Span]:
    """The ``length`` bytes from ``start`` of what ``spans`` are together.

    >>> here = Path("a")
    >>> [(span.start, span.length) for span in part([Span(here, 0, 4), Span(here, 9, 4)], 3, 3)]
    [(3, 1), (9, 2)]
    """
    found = []
    for span in spans:
        if start < span.length and length:
            taken = min(length, span.length - start)
            found.append(Span(span.path, span.start + start, taken))
            length -= taken
            start = span.length
        start -= span.length
    return found


@contextmanager
def reading() -> "Iterator[Files]":
    """Files for the time that one thread needs them."""
    with ExitStack() as stack:
        yield Files(stack)


class Files:
    """Files that are open for reading, each once; made by :func:`reading`."""

    def __init__(self, stack: ExitStack) -> None:
        self._open: dict[Path, FileIO] = {}
        self._stack = stack

    def read_into(self, spans: Sequence[Span], buffer: memoryview) -> None:
        """Fill ``buffer``, as long as the spans together.

        Raises:
            CheckpointError: a file cannot be read, or ends too early.
        """
        for span in spans:
            file = self._at(span)
            taken, buffer = buffer[: span.length], buffer[span.length :]
            while taken:
                count = _read(span.path, file, taken)
                taken = taken[count:]

    def chunks(self, spans: Sequence[Span]) -> Iterator[memoryview]:
        """The bytes, some at a time; each chunk is valid until the next one is asked for.

        Raises:
            CheckpointError: a file cannot be read, or ends too early.
        """
        buffer = memoryview(bytearray(min(_CHUNK, max((span.length for span in spans), default=0))))
        for span in spans:
            for start in range(0, span.length, _CHUNK):
                chunk = buffer[: min(_CHUNK, span.length - start)]
                self.read_into([Span(span.path, span.start + start, len(chunk))], chunk)
                yield chunk

    def copy(self, spans: Sequence[Span], target: FileIO) -> None:
        """Append the bytes to ``target``, by the system itself where it can (Linux).

        Raises:
            CheckpointError: a file cannot be read, or ends too early.
            OSError: ``target`` cannot be written.
        """
        for span in spans:
            done = self._copy_inside(span, target)
            for chunk in self.chunks([Span(span.path, span.start + done, span.length - done)]):
                write_all(target, chunk)

    def _copy_inside(self, span: Span, target: FileIO) -> int:
        """How many of the bytes the system has copied; it may refuse any time."""
        if not hasattr(os, "copy_file_range"):
            return 0
        file = self._at(span)
        done = 0
        try:
            while done < span.length:
                stretch = min(_STRETCH, span.length - done)
                count = os.copy_file_range(
                    file.fileno(), target.fileno(), stretch, offset_src=span.start + done
                )
                if not count:
                    break
                done += count
        except OSError:  # two file systems, an old kernel, a full disk: reading and writing will tell
            pass
        return done

    def _at(self, span: Span) -> FileIO:
        """The span's file, at the span's start."""
        try:
            if span.path not in self._open:
                self._open[span.path] = self._stack.enter_context(FileIO(span.path))
            file = self._open[span.path]
            file.seek(span.start)
        except OSError as error:
            raise _unreadable(span.path, error) from error
        return file


def _read(path: Path, file: FileIO, buffer: memoryview) -> int:
    """Bytes read into ``buffer``: one or more."""
    try:
        count = file.readinto(buffer)
    except OSError as error:
        raise _unreadable(path, error) from error
    if not count:
        raise CheckpointError(f"{path} was cut off while it was read", fix="keep it unchanged")
    return count


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(f"cannot read {path}: {error.strerror or error}", fix="check its permissions")


def write_all(file: FileIO, data: memoryview) -> None:
    """Write all of ``data`` (bytes): an unbuffered file may take less at once."""
    while data:
        data = data[file.write(data) or 0 :]
