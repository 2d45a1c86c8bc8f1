"""The evolving model's tensors as other programs want them: rounded once at the most, the VAE as it was."""

from collections import Counter
from collections.abc import Mapping
from math import inf, isfinite, prod
from pathlib import Path

import torch
from torch import Tensor

from clora_ext.errors import CheckpointError
from clora_ext.events import FoldStep, Sink
from clora_ext.evolving.model import Evolving
from clora_ext.families.components import Role
from clora_ext.formats.checkpoint import Checkpoint, Source, write_checkpoint
from clora_ext.formats.digest import stream_sha256
from clora_ext.formats.flush import flush
from clora_ext.formats.header import BITS, encode_header, layout, read_header
from clora_ext.formats.prediction import V_MARKER, ZERO_SNR_MARKER, Prediction, markers_of

from .dtypes import DTYPES, NAMES
from .metadata import HASH_KEY

__all__ = ["describe", "model_bytes", "model_sources", "with_markers", "write_model"]

_FLOATS = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
_KEPT = frozenset({"F16", "BF16"})
_LIMITS = {"F16": torch.finfo(torch.float16).max, "BF16": torch.finfo(torch.bfloat16).max}


def model_sources(
    evolving: Evolving, roles: Mapping[str, Role | None], dtype: str | None, usual: str = "fp16"
) -> dict[str, Source]:
    """What the exported file holds, by name.

    Args:
        evolving: the model.
        roles: of the tensors that are exported; see :meth:`clora_ext.families.base.Family.roles`.
        dtype: one of :data:`DTYPES`, for the weights of denoiser and text encoders; None: fp16 and bf16 stay
            as they are, everything else becomes ``usual``. VAE and left-overs always stay as they are.
        usual: likewise.

    Making a tensor raises CheckpointError when it holds values that are not finite or that do not fit.
    """
    return {name: _source(evolving, name, role, (dtype, usual)) for name, role in roles.items()}


def with_markers(sources: Mapping[str, Source], prediction: Prediction) -> dict[str, Source]:
    """The same tensors with the empty ones from which other programs see what the model predicts."""
    wanted = markers_of(prediction)
    left_over = {V_MARKER, ZERO_SNR_MARKER}.difference(wanted)
    new = {name: Source.of(torch.empty(0)) for name in wanted if name not in sources}
    return {**{name: source for name, source in sources.items() if name not in left_over}, **new}


def _source(evolving: Evolving, name: str, role: Role | None, dtypes: tuple[str | None, str]) -> Source:
    """One tensor; left-overs and whole numbers travel as bytes."""
    current = evolving.current
    info = current.info(name)
    if role is None or info.dtype not in _FLOATS:
        return Source.copy(current, name)
    stored = info.dtype if role == "vae" else _stored(info.dtype, *dtypes)
    if stored == info.dtype:
        return Source(stored, info.shape, lambda: _checked(name, current.read(name), stored))
    return Source(
        stored, info.shape, lambda: _checked(name, evolving.weight(name).reshape(info.shape), stored)
    )


def _stored(now: str, wanted: str | None, usual: str) -> str:
    """The dtype in the exported file of a tensor that is ``now`` in the project."""
    if wanted is not None:
        return DTYPES[wanted]
    return now if now in _KEPT else DTYPES[usual]


def _checked(name: str, tensor: Tensor, dtype: str) -> Tensor:
    """The tensor, if ``dtype`` can hold all of it."""
    if tensor.numel() == 0:
        return tensor
    # aminmax passes NaN on and is a hundred times faster than isfinite; float8 has neither.
    lowest, highest = torch.aminmax(tensor if tensor.dtype.itemsize > 1 else tensor.float())
    largest = max(-float(lowest), float(highest))
    if not isfinite(largest):
        message = f"tensor {name!r} holds values that are NaN or infinite"
        fix = "use another copy of the base; if the base is sound, undo the last concept and train it again"
        raise CheckpointError(message, fix=fix)
    if largest >= _LIMITS.get(dtype, inf):
        message = (
            f"tensor {name!r} holds a value of {largest:g}, more than {NAMES.get(dtype, dtype)} can hold"
        )
        raise CheckpointError(message, fix="export with --dtype fp32, or bf16 where it has to be small")
    return tensor


def describe(sources: Mapping[str, Source], roles: Mapping[str, Role | None]) -> str:
    """The precision of the exported file in words, the VAE's apart if it differs; left-overs do not count."""

    def describe(names: list[str]) -> str:
        counts = Counter(sources[name].dtype for name in names if sources[name].dtype in _FLOATS)
        return " and ".join(NAMES.get(dtype, dtype) for dtype, _ in counts.most_common())

    vae = describe([name for name in sources if roles[name] == "vae"])
    rest = describe([name for name in sources if roles[name] not in {"vae", None}])
    return rest if vae in ("", rest) else f"{rest}; the VAE {vae}, as in the base"


def model_bytes(sources: Mapping[str, Source], metadata: Mapping[str, str]) -> int:
    """Size of the exported file."""
    header = encode_header(
        layout({name: (source.dtype, source.shape) for name, source in sources.items()}), metadata
    )
    return len(header) + sum(prod(source.shape) * BITS[source.dtype] // 8 for source in sources.values())


def write_model(target: Path, sources: Mapping[str, Source], metadata: Mapping[str, str], sink: Sink) -> str:
    """Write a checkpoint that names the hash of its own bytes; give its content hash.

    Args:
        target: nothing else refers to it yet.
        sources: the tensors.
        metadata: of :func:`clora_ext.export.metadata.make_metadata`; the hash is filled in.
        sink: told of every tensor; may raise Cancelled to stop.

    Raises:
        CheckpointError: a value is not finite or does not fit.
        StorageError: the disk is full or refuses.
    """
    content = write_checkpoint(
        target, sources, metadata, on_tensor=lambda done, total, name: sink(FoldStep(done, total, name))
    )
    header = read_header(target)
    sealed = {**metadata, HASH_KEY: f"0x{_data_hash(target, header.data_start)}"}
    head = encode_header(header.tensors, sealed)
    if len(head) != header.data_start:
        message = f"{target}: the sealed header has {len(head)} bytes, there is room for {header.data_start}"
        raise CheckpointError(message, fix="report this: it is a bug in clora")
    with target.open("r+b") as file:
        file.write(head)
        file.flush()
        flush(file.fileno())
    if Checkpoint(target).header.metadata != sealed:
        raise CheckpointError(f"{target} does not hold what was written", fix="check the disk")
    return content


def _data_hash(path: Path, start: int) -> str:
    """sha256 of everything from ``start`` on."""
    with path.open("rb") as file:
        file.seek(start)
        return stream_sha256(file)
