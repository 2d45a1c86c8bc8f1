"""The change of one concept as it was folded, in a file of its own: it can be taken out again by it.

A past adapter, which the strict regime forbids: no strategy reads it, and only who asks for it keeps it. A
pair of low-rank factors is kept as such, in float32; any other change as its value for every weight.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from clora_ext.adapters.delta import Delta
from clora_ext.adapters.factors import Factors
from clora_ext.adapters.sites import Target
from clora_ext.errors import CheckpointError
from clora_ext.formats.checkpoint import Checkpoint, Source, write_checkpoint
from clora_ext.formats.lora.whole import StoredDelta
from clora_ext.formats.memory import memory_key
from clora_ext.formats.text import quoted

from .trained_concept import TrainedConcept

__all__ = ["delta_bytes", "read_delta", "write_delta"]

_DOWN, _UP, _ALPHA = "down", "up", "alpha"
_CHANGE = "change"
_FLOAT = 4
_DOUBLE = 8
_ROWS = re.compile(r"(?P<tensor>.+)\[(?P<first>\d{1,12}):(?P<last>\d{1,12})\]", re.DOTALL)


def write_delta(file: Path, concept: TrainedConcept) -> None:
    """Write what a concept changes, exactly.

    Args:
        file: the new file.
        concept: as it is folded.

    Raises:
        CheckpointError: a value is not finite.
        StorageError: the disk is full or refuses.
    """
    sources: dict[str, Source] = {}
    for name, delta in concept.trained.items():
        sources.update(_sources(name, delta, concept.targets[name]))
    write_checkpoint(file, sources, {})


def _sources(name: str, delta: Delta, target: Target) -> Mapping[str, Source]:
    """The tensors of one layer; what is no pair of factors is computed when it is written."""
    if not isinstance(delta, Factors):
        return {memory_key(name, _CHANGE): Source("F32", target.shape, lambda: delta.delta().contiguous())}
    # alpha is a float64, and all of its bits are needed to multiply by it again.
    alpha = torch.tensor(delta.alpha, dtype=torch.float64)
    factors = {_DOWN: delta.down.float().contiguous(), _UP: delta.up.float().contiguous(), _ALPHA: alpha}
    return {memory_key(name, part): Source.of(tensor) for part, tensor in factors.items()}


def delta_bytes(changes: Mapping[Target, object]) -> int:
    """Bytes of the tensors that :func:`write_delta` will write.

    Args:
        changes: what will be folded, by its target; of what is not there yet, the rank of its factors, or
            None: it will be no pair of factors.
    """
    return sum(_bytes(target, change) for target, change in changes.items())


def _bytes(target: Target, change: object) -> int:
    if not isinstance(change, Factors | int):
        return _FLOAT * target.shape[0] * target.shape[1]
    rank = change if isinstance(change, int) else change.rank
    return _FLOAT * rank * sum(target.shape) + _DOUBLE


def read_delta(file: Checkpoint, known: Sequence[Target]) -> dict[Target, Delta]:
    """The change that :func:`write_delta` has written, by what it changes of the model.

    Changes of whole matrices stay in the file until their rows are asked for.

    Args:
        file: of the change.
        known: what can be changed of the model.

    Raises:
        CheckpointError: the file is damaged, or of another model.
    """
    by_name = {target.name: target for target in known}
    by_tensor = {target.tensor: target for target in known}
    found: dict[Target, Delta] = {}
    for name in dict.fromkeys(key.rpartition("::")[0] for key in file.names):
        target = by_name.get(name) or _rows_of(name, by_tensor)
        if target is None:
            raise _foreign(file, f"the model has no layer {quoted(name)}")
        found[target] = _read(file, name, target)
    return found


def _rows_of(name: str, by_tensor: Mapping[str, Target]) -> Target | None:
    """Rows of a tensor that is taught as a whole, or in other rows: those of a token."""
    match = _ROWS.fullmatch(name)
    whole = by_tensor.get(match["tensor"]) if match else None
    if match is None or whole is None:
        return None
    first, last = int(match["first"]), int(match["last"])
    return replace(whole, rows=(first, last), shape=(last - first, whole.shape[1]))


def _read(file: Checkpoint, name: str, target: Target) -> Delta:
    """One layer's change."""
    change = memory_key(name, _CHANGE)
    if change in file:
        if (file.info(change).dtype, file.info(change).shape) != ("F32", target.shape):
            raise _foreign(file, f"the change of {quoted(name)} has another shape than the layer")
        return StoredDelta(file, change, 1.0, 0, *target.shape)
    down, up, alpha = (file.read(memory_key(name, part)) for part in (_DOWN, _UP, _ALPHA))
    fits = down.ndim == up.ndim == 2 and (up.shape[0], down.shape[1]) == target.shape  # noqa: PLR2004
    if not fits or up.shape[1] != down.shape[0] or alpha.numel() != 1:
        raise _foreign(file, f"the factors of {quoted(name)} do not fit the layer")
    return Factors(down.float(), up.float(), float(alpha))


def _foreign(file: Checkpoint, problem: str) -> CheckpointError:
    message = f"{file.path} is not the change of a concept of this model: {problem}"
    return CheckpointError(message, fix="restore the file from a backup")
