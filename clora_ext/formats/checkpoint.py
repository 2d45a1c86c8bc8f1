"""safetensors checkpoints: tensors read one by one, files written one tensor at a time.

A file is never changed in place: :func:`write_checkpoint` writes beside the target and renames. What is not
touched travels as bytes and is never decoded.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from clora_ext.errors import CheckpointError, writing

from .header import Header, TensorInfo, encode_header, layout, read_header

__all__ = ["Checkpoint", "Copy", "Source", "content_hash", "dtype_name", "stored_chunks", "write_checkpoint"]

_DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "BOOL": torch.bool, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Checkpoint:
    """A safetensors file whose tensors are read on demand.

    Raises:
        CheckpointError: on access, when the file is damaged, hostile or a pickle.
    """

    path: Path

    @cached_property
    def header(self) -> Header:
        """The checked header."""
        return read_header(self.path)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all tensors, in the file's order."""
        return tuple(self.header.tensors)

    def __contains__(self, name: str) -> bool:
        """Whether there is a tensor of that name."""
        return name in self.header.tensors

    def info(self, name: str) -> TensorInfo:
        """dtype, shape and place of a tensor."""
        try:
            return self.header.tensors[name]
        except KeyError as error:
            message = f"{self.path} has no tensor {name!r}"
            raise CheckpointError(message, fix="use a complete checkpoint") from error

    def read(self, name: str) -> Tensor:
        """The tensor in its own dtype, in memory of its own."""
        info = self.info(name)
        if info.dtype not in _DTYPES:
            message = f"{self.path}: tensor {name!r} is {info.dtype}, which cannot be computed with"
            raise CheckpointError(message, fix="use an fp16, bf16 or fp32 version of the model")
        if info.bytes == 0:
            return torch.empty(info.shape, dtype=_DTYPES[info.dtype])
        buffer = bytearray(info.bytes)
        with self.path.open("rb") as file:
            file.seek(self.header.data_start + info.start)
            if file.readinto(buffer) != info.bytes:
                raise CheckpointError(f"{self.path} was cut off while it was read", fix="keep it unchanged")
        return torch.frombuffer(buffer, dtype=_DTYPES[info.dtype]).reshape(info.shape)

    def read_float(self, name: str) -> Tensor:
        """The tensor in float32."""
        return self.read(name).to(torch.float32)

    def chunks(self, name: str) -> Iterator[bytes]:
        """The tensor's bytes, a few megabytes at a time."""
        info = self.info(name)
        with self.path.open("rb") as file:
            file.seek(self.header.data_start + info.start)
            left = info.bytes
            while left:
                chunk = file.read(min(left, _CHUNK))
                if not chunk:
                    raise CheckpointError(
                        f"{self.path} was cut off while it was read", fix="keep it unchanged"
                    )
                left -= len(chunk)
                yield chunk


@dataclass(frozen=True, slots=True)
class Copy:
    """A tensor that is copied, byte for byte, from another file (where it may have another name)."""

    source: Checkpoint
    name: str


@dataclass(frozen=True, slots=True)
class Source:
    """What will stand in the new file under one name.

    Attributes:
        dtype: safetensors' name of the dtype that is stored.
        shape: of the tensor.
        make: gives the tensor (cast to ``dtype`` here) or says where to copy it from.
    """

    dtype: str
    shape: tuple[int, ...]
    make: Callable[[], Tensor | Copy]

    @staticmethod
    def of(tensor: Tensor) -> "Source":
        """A tensor that is at hand, stored in its own dtype."""
        return Source(dtype_name(tensor.dtype), tuple(tensor.shape), lambda: tensor)

    @staticmethod
    def copy(source: Checkpoint, name: str) -> "Source":
        """A tensor of another file, byte for byte."""
        info = source.info(name)
        return Source(info.dtype, info.shape, lambda: Copy(source, name))


def dtype_name(dtype: torch.dtype) -> str:
    """safetensors' name of a dtype.

    >>> dtype_name(torch.float16)
    'F16'
    """
    return _NAMES[dtype]


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
    partial = target.with_name(f"{target.name}.partial")
    digests: dict[str, str] = {}
    with writing(target):
        try:
            with partial.open("wb") as file:
                file.write(encode_header(tensors, metadata))
                for done, name in enumerate(tensors, start=1):
                    digests[name] = _write_tensor(file, name, sources[name])
                    on_tensor(done, len(tensors), name)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        except BaseException:
            with suppress(FileNotFoundError):
                partial.unlink()
            raise
    return _combine(tensors, digests)


def content_hash(checkpoint: Checkpoint) -> str:
    """sha256 over names, dtypes, shapes and bytes of all tensors, whatever their order and the metadata."""
    digests: dict[str, str] = {}
    for name in checkpoint.names:
        digest = sha256()
        for chunk in checkpoint.chunks(name):
            digest.update(chunk)
        digests[name] = digest.hexdigest()
    return _combine(checkpoint.header.tensors, digests)


def stored_chunks(name: str, source: Source) -> Iterator[bytes]:
    """The bytes that :func:`write_checkpoint` writes for one tensor.

    Raises:
        CheckpointError: a value is NaN or infinite, or does not fit the stored dtype.
    """
    made = source.make()
    if isinstance(made, Copy):
        yield from made.source.chunks(made.name)
    else:
        yield _bytes(name, made, source)


def _write_tensor(file: BinaryIO, name: str, source: Source) -> str:
    """Append one tensor's bytes; give their sha256."""
    digest = sha256()
    for chunk in stored_chunks(name, source):
        file.write(chunk)
        digest.update(chunk)
    return digest.hexdigest()


def _bytes(name: str, tensor: Tensor, source: Source) -> bytes:
    """The tensor's bytes in the stored dtype; refuses what is not finite there."""
    stored = tensor.detach().to("cpu", _DTYPES[source.dtype]).contiguous()
    if tuple(stored.shape) != source.shape:
        message = f"tensor {name!r} has the shape {tuple(stored.shape)}, announced was {source.shape}"
        raise CheckpointError(message, fix="report this: it is a fault of clora")
    if stored.is_floating_point() and not torch.isfinite(stored).all():
        message = f"tensor {name!r} has values that are not finite in {source.dtype}"
        raise CheckpointError(message, fix="train with a lower learning rate; nothing was changed")
    # numpy knows no bfloat16: the bytes are taken through an integer view.
    return stored.reshape(-1).view(torch.uint8).numpy().tobytes() if prod(source.shape) else b""


def _combine(tensors: Mapping[str, TensorInfo], digests: Mapping[str, str]) -> str:
    """One hash of many: sorted lines of name, dtype, shape and the bytes' hash."""
    total = sha256()
    for name in sorted(tensors):
        info = tensors[name]
        total.update(f"{name}\0{info.dtype}\0{list(info.shape)}\0{digests[name]}\n".encode())
    return total.hexdigest()
