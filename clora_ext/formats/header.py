"""The header of a safetensors file, read as if it were hostile and written canonically. Needs no torch.

Layout: 8 bytes little-endian length n, n bytes of JSON, then the tensors' bytes without gaps
(https://github.com/huggingface/safetensors#format).
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from clora_ext.errors import CheckpointError

from .strict_json import read_json

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
_DAMAGED = "download or export the file again; it is damaged or was made to do harm"


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
    """

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str] = field(default_factory=dict)
    data_start: int = 0


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
    start = file.read(9)
    _refuse_pickle(path, start)
    if len(start) < 8:  # noqa: PLR2004 - the length field
        raise CheckpointError(f"{path} has {size} bytes and is not a safetensors file", fix=_DAMAGED)
    (length,) = struct.unpack("<Q", start[:8])
    file.seek(8)
    if length > min(size - 8, _LARGEST_HEADER):
        message = f"{path}: the header claims {length} bytes, the file has {size}"
        raise CheckpointError(message, fix=_DAMAGED)
    try:
        content = read_json(file.read(length).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: the header is not valid JSON ({error})", fix=_DAMAGED) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: the header is not a table", fix=_DAMAGED)
    metadata = _metadata(path, content.pop("__metadata__", {}))
    tensors = {name: _tensor(path, name, entry) for name, entry in content.items()}
    _check_cover(path, tensors, size - 8 - length)
    return Header(tensors, metadata, 8 + length)


def _refuse_pickle(path: Path, start: bytes) -> None:
    """Zip archives and raw pickles are what torch.save writes; opening one runs code from it."""
    # One length of a header in 2,000 begins like a pickle's protocol, but the header itself begins with "{".
    protocol = start.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"))
    if start.startswith(b"PK\x03\x04") or (protocol and start[8:] != b"{"):
        raise CheckpointError(
            f"{path} is a pickle checkpoint; opening one can run any program hidden in it",
            fix="use the model's .safetensors version",
        )


def _metadata(path: Path, entry: object) -> dict[str, str]:
    """The metadata table: text by text."""
    if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
        raise CheckpointError(f"{path}: the header's metadata is not text", fix=_DAMAGED)
    return entry


def _is_count(value: object) -> bool:
    """A whole number that is not negative (JSON's true is no number)."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _tensor(path: Path, name: str, entry: object) -> TensorInfo:
    """One checked entry."""
    where = f"{path}: tensor {name!r}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"{where} is not described as safetensors does", fix=_DAMAGED)
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise CheckpointError(f"{where} has the unknown dtype {dtype!r}", fix=_DAMAGED)
    if not isinstance(shape, list) or not all(map(_is_count, shape)):
        raise CheckpointError(f"{where} has the impossible shape {shape!r}", fix=_DAMAGED)
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_count, offsets)):  # noqa: PLR2004
        raise CheckpointError(f"{where} has the impossible offsets {offsets!r}", fix=_DAMAGED)
    info = TensorInfo(dtype, tuple(shape), offsets[0], offsets[1])
    if info.bytes * 8 != prod(shape) * BITS[dtype]:
        message = f"{where}: {dtype} of shape {shape} does not take {info.bytes} bytes"
        raise CheckpointError(message, fix=_DAMAGED)
    return info


def _check_cover(path: Path, tensors: Mapping[str, TensorInfo], size: int) -> None:
    """The tensors must fill the file's data exactly: no overlap, no gap, nothing beyond."""
    position = 0
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if info.start != position:
            kind = "overlaps another tensor" if info.start < position else "leaves a gap before it"
            raise CheckpointError(f"{path}: tensor {name!r} {kind}", fix=_DAMAGED)
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
