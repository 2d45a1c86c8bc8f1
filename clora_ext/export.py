"""The evolving model as one safetensors file for other programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clora_ext.errors import UsageError, did_you_mean
from clora_ext.events import FoldStep, Sink, Stage, ignore
from clora_ext.plan import base_file
from clora_ext.project import Project

if TYPE_CHECKING:
    from torch import Tensor

    from clora_ext.evolving import Evolving
    from clora_ext.formats.checkpoint import Source

__all__ = ["DTYPES", "Exported", "export_checkpoint"]

DTYPES = {"fp16": "F16", "bf16": "BF16", "fp32": "F32"}
"""Names that users know for the dtypes a checkpoint may be exported in, and safetensors' names of them."""

_FLOATS = frozenset(DTYPES.values())


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written.

    Attributes:
        path: of the file.
        bytes: its size.
        content_hash: of its tensors.
        dtype: of its floating point tensors; ``as stored`` if none was asked for.
    """

    path: Path
    bytes: int
    content_hash: str
    dtype: str


def export_checkpoint(
    project: Path,
    target: Path,
    dtype: str | None = None,
    *,
    overwrite: bool = False,
    sink: Sink = ignore,
) -> Exported:
    """Write the project's model to ``target``.

    Without ``dtype`` the checkpoint is copied byte for byte. With one, every floating point tensor is
    rounded once, taught layers from their exact weights.

    Raises:
        UsageError: unknown dtype, a name that does not end in .safetensors, or an existing file.
        CheckpointError: a value does not fit the dtype.
        StorageError: the disk is full or refuses.
    """
    from clora_ext.evolving import Evolving
    from clora_ext.formats.checkpoint import Checkpoint, Source, write_checkpoint
    from clora_ext.formats.composed import open_model

    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"unknown dtype {dtype!r}", fix=did_you_mean(dtype, tuple(DTYPES)))
    if target.suffix != ".safetensors":
        raise UsageError(f"{target} does not end in .safetensors", fix=f"name it {target}.safetensors")
    opened = Project.open(project)
    base = open_model(base_file(opened))
    current = Checkpoint(opened.checkpoint_path) if opened.checkpoint_path else base
    if target.exists() and target.resolve() in {base.path.resolve(), current.path.resolve()}:
        raise UsageError(f"{target} belongs to the project or is its base", fix="export to another name")
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists", fix="choose another name or pass --overwrite")
    memory = Checkpoint(opened.memory_path) if opened.memory_path else None
    evolving = Evolving(base, current, memory)
    if opened.current is not None:
        evolving.check(opened.current.content_hash)
    sources = {
        name: Source.copy(current, name) if dtype is None else _cast(evolving, name, DTYPES[dtype])
        for name in current.names
    }
    sink(Stage("export", str(target)))
    digest = write_checkpoint(
        target,
        sources,
        current.header.metadata,
        on_tensor=lambda done, total, name: sink(FoldStep(done, total, name)),
    )
    return Exported(target, target.stat().st_size, digest, dtype or "as stored")


def _cast(evolving: "Evolving", name: str, dtype: str) -> "Source":
    """A tensor in ``dtype``; whole numbers and tensors that have it already are copied."""
    from clora_ext.formats.checkpoint import Source

    info = evolving.current.info(name)
    if info.dtype not in _FLOATS or info.dtype == dtype:
        return Source.copy(evolving.current, name)

    def make() -> "Tensor":
        return evolving.weight(name)

    return Source(dtype, info.shape, make)
