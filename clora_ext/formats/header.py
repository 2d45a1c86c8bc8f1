"""The header of a safetensors file, read as if it were hostile and written canonically. Needs no torch.

Layout: 8 bytes little-endian length n, n bytes of JSON, then the tensors' bytes without gaps
(https://github.com/huggingface/safetensors#format).
"""

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from clora_ext.errors import CheckpointError, shortened

from .foreign import FIRST_BYTES, recognise_foreign
from .statements import Statement
from .strict_json import JsonReader
from .text import quoted

__all__ = ["BITS", "Header", "TensorInfo", "encode_header", "layout", "read_header"]

BITS: Mapping[str, int] = {
    "F64": 64, "I64": 64, "U64": 64, "C64": 64,
    "F32": 32, "I32": 32, "U32": 32,
    "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I8": 8, "U8": 8, "BOOL": 8,
    "F4": 4,
}  # fmt: skip
"""Bits of one element, by safetensors' name of the dtype."""

# The limit of the safetensors library itself.
_LARGEST_HEADER = 100_000_000
# Far beyond any model and what training programs note beside it: an SDXL has 2,515 tensors.
_MOST_TENSORS = 50_000
_MOST_NOTES = 10_000  # entries of the metadata
_LARGEST_COUNT = 1 << 63
_MOST_DIMENSIONS = 16
_LONGEST_ENTRY = 4096  # characters
_SHOWN = 120  # characters of what a stranger wrote
# An entry as all programs write it: most of a header's time is saved by not asking of each number what it is.
_COUNT = "(?:0|[1-9][0-9]{0,17})"
_USUAL = re.compile(
    rf'{{"dtype":"([A-Z0-9_]{{1,16}})","shape":\[((?:{_COUNT}(?:,{_COUNT}){{0,{_MOST_DIMENSIONS - 1}}})?)\],'
    rf'"data_offsets":\[({_COUNT}),({_COUNT})\]}}'
)
_DAMAGED = "download or export the file again; it is damaged or was made to do harm"
_AGAIN = "name a .safetensors file; if this should be one, download or export it again"


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where a tensor lies.

    Attributes:
        dtype: safetensors' name, such as ``F16``.
        shape: its dimensions.
        start: first byte, counted from the first tensor's first byte.
        end: one past the last byte.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def bytes(self) -> int:
        """Size of the data."""
        return self.end - self.start

    @property
    def elements(self) -> int:
        """How many numbers the tensor holds."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class Header:
    """What a safetensors file says about itself.

    Attributes:
        tensors: by name.
        metadata: free text by key.
        data_start: where in the file the tensors' bytes begin.
        statements: what is said beside the file of what its weights do not tell, the most deliberate first.
    """

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str] = field(default_factory=dict)
    data_start: int = 0
    statements: tuple[Statement, ...] = ()


def read_header(path: Path) -> Header:
    """The checked header of ``path``.

    Raises:
        CheckpointError: not a safetensors file, a pickle, or a header that contradicts itself or the file.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            return _parse(path, file, size)
    except IsADirectoryError as error:
        raise CheckpointError(f"{path} is a folder", fix="name a .safetensors file") from error
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist", fix="check the path") from error
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}", fix="check its permissions") from error


def _parse(path: Path, file: BinaryIO, size: int) -> Header:
    """Header of an open file of ``size`` bytes."""
    length = _length(path, file, size)
    try:
        text = file.read(length).decode("utf-8")
        _check_count(path, text)
        header = _read(path, JsonReader(text), 8 + length)
    except (ValueError, RecursionError) as error:
        message = f"{path}: the header is not valid JSON ({shortened(str(error), _SHOWN)})"
        raise CheckpointError(message, fix=_DAMAGED) from error
    _check_cover(path, header.tensors, size - 8 - length)
    return header


def _check_count(path: Path, text: str) -> None:
    """Asked before they are read one by one."""
    count = text.count('"data_offsets"')
    if count > _MOST_TENSORS:
        message = f"{path}: the header describes {count:,} tensors, {_MOST_TENSORS:,} are allowed"
        raise CheckpointError(message, fix=_DAMAGED)


def _length(path: Path, file: BinaryIO, size: int) -> int:
    """Bytes of JSON; ``file`` then stands where they begin."""
    start = file.read(FIRST_BYTES)
    length = int.from_bytes(start[:8], "little")
    fits = length <= min(size - 8, _LARGEST_HEADER)
    if not fits or start[8:9] != b"{":
        foreign = recognise_foreign(path, start)
        if foreign is not None:
            raise CheckpointError(f"{path} is {foreign.what}", fix=foreign.fix)
    if size < 8:  # noqa: PLR2004 - the length field
        raise CheckpointError(f"{path} has {size} bytes and is not a safetensors file", fix=_AGAIN)
    if not fits:
        message = f"{path}: the header claims {length:,} bytes, the file has {size:,}"
        message += f"; {_LARGEST_HEADER:,} are allowed" if size - 8 >= length else ""
        raise CheckpointError(message, fix=_AGAIN)
    file.seek(8)
    return length


def _read(path: Path, reader: JsonReader, data_start: int) -> Header:
    """The header entry by entry: the first that is wrong ends it, however many follow.

    Raises:
        ValueError: it is not JSON.
    """
    if not reader.next_is("{"):
        raise CheckpointError(f"{path}: the header is not a table", fix=_DAMAGED)
    metadata: dict[str, str] = {}
    tensors: dict[str, TensorInfo] = {}
    for name in reader.members(_MOST_TENSORS):
        if name == "__metadata__":
            metadata = _metadata(path, reader)
        else:
            tensors[name] = _tensor(path, name, reader)
    reader.end()
    return Header(tensors, metadata, data_start)


def _metadata(path: Path, reader: JsonReader) -> dict[str, str]:
    """The metadata table: text by text."""
    found: dict[str, str] = {}
    is_text = reader.next_is("{")
    if is_text:
        for key in reader.members(_MOST_NOTES):
            is_text = reader.next_is('"')
            if not is_text:
                break
            found[key] = reader.string()
    if not is_text:
        raise CheckpointError(f"{path}: the header's metadata is not text", fix=_DAMAGED)
    return found


def _is_count(value: object) -> bool:
    """A whole number that is not negative and that a machine can count to (JSON's true is no number)."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST_COUNT


def _tensor(path: Path, name: str, reader: JsonReader) -> TensorInfo:
    """One checked entry."""
    usual = reader.match(_USUAL)
    if usual is None:
        dtype, shape, start, end = _described(path, name, reader)
    else:
        dtype, start, end = usual[1], int(usual[3]), int(usual[4])
        shape = tuple(map(int, usual[2].split(","))) if usual[2] else ()
    if dtype not in BITS:
        raise _wrong(path, name, f"has the unknown dtype {dtype!r:.{_SHOWN}}")
    info = TensorInfo(dtype, shape, start, end)
    if info.bytes * 8 != prod(shape) * BITS[dtype]:
        problem = f"of {dtype} and the shape {list(shape)!r:.{_SHOWN}} does not take {info.bytes} bytes"
        raise _wrong(path, name, problem)
    return info


def _described(path: Path, name: str, reader: JsonReader) -> tuple[str, tuple[int, ...], int, int]:
    """An entry in whatever spelling: dtype, shape, first byte, and one past the last."""
    try:
        entry = reader.value(_LONGEST_ENTRY)
    except (ValueError, RecursionError) as error:
        problem = f"is not described as safetensors does ({shortened(str(error), _SHOWN)})"
        raise _wrong(path, name, problem) from error
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _wrong(path, name, "is not described as safetensors does")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str):
        raise _wrong(path, name, f"has the unknown dtype {dtype!r:.{_SHOWN}}")
    if not isinstance(shape, list) or len(shape) > _MOST_DIMENSIONS or not all(map(_is_count, shape)):
        raise _wrong(path, name, f"has the impossible shape {shape!r:.{_SHOWN}}")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_count, offsets)):  # noqa: PLR2004
        raise _wrong(path, name, f"has the impossible offsets {offsets!r:.{_SHOWN}}")
    return dtype, tuple(shape), offsets[0], offsets[1]


def _wrong(path: Path, name: str, problem: str) -> CheckpointError:
    """The complaint about one tensor."""
    return CheckpointError(f"{path}: tensor {quoted(name)} {problem}", fix=_DAMAGED)


def _check_cover(path: Path, tensors: Mapping[str, TensorInfo], size: int) -> None:
    """The tensors must fill the file's data exactly: no overlap, no gap, nothing beyond."""
    position = 0
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if info.start != position:
            kind = "overlaps another tensor" if info.start < position else "leaves a gap before it"
            raise _wrong(path, name, kind)
        position = info.end
    if position != size:
        kind = "is cut off" if position > size else "has bytes that belong to no tensor"
        message = f"{path} {kind}: {position} bytes of tensors are announced, {size} are there"
        raise CheckpointError(message, fix=_DAMAGED)


def layout(shapes: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, TensorInfo]:
    """Places for tensors given as name -> (dtype, shape): widest dtype first, then by name.

    This is the order in which the safetensors library writes, so that every tensor is aligned.
    """
    tensors: dict[str, TensorInfo] = {}
    position = 0
    for name, (dtype, shape) in sorted(shapes.items(), key=lambda item: (-BITS[item[1][0]], item[0])):
        size = prod(shape) * BITS[dtype] // 8
        tensors[name] = TensorInfo(dtype, shape, position, position + size)
        position += size
    return tensors


def encode_header(tensors: Mapping[str, TensorInfo], metadata: Mapping[str, str]) -> bytes:
    """Length field and JSON, canonical: equal content gives equal bytes; padded to 8 bytes.

    ``tensors`` must be in the order of :func:`layout`.
    """
    content: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    for name, info in tensors.items():
        content[name] = {
            "dtype": info.dtype,
            "shape": list(info.shape),
            "data_offsets": [info.start, info.end],
        }
    body = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    body += b" " * (-len(body) % 8)
    return struct.pack("<Q", len(body)) + body
