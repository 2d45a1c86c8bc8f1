"""The evolving model on the disk: what other programs load, and what rounding took from it.

The checkpoint stores every tensor in the base's dtype. The memory beside it keeps the residuals that restore
the float32 values of every tensor that was ever taught, because rounding to fp16 after every concept
would lose a fifth of a small change; and what the strategy wants back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from clora_ext.adapters.moments import Moment
from clora_ext.adapters.scratch import Scratch
from clora_ext.adapters.sites import Target
from clora_ext.errors import CheckpointError
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.kept_inputs import read_moments
from clora_ext.formats.memory import DIGESTS, RESIDUAL, STRATEGY_KEY, WEIGHT, memory_key
from clora_ext.formats.spans import Files, reading
from clora_ext.formats.stored import dtype_of
from clora_ext.formats.writer import combine
from clora_ext.prompts.concept_prompts import ConceptPrompts
from clora_ext.strategies.base import Layer

from .prompts import decode_prompts
from .residual import HALVES, join

__all__ = ["Evolving", "memory_part"]

_SHA256 = 32  # bytes


def memory_part(dtype: str) -> str | None:
    """What the memory keeps of a taught tensor that is stored in ``dtype``; None: nothing is lost there."""
    if dtype == "F32":
        return None
    return RESIDUAL if dtype_of(dtype) in HALVES else WEIGHT


@dataclass(frozen=True)
class Evolving:
    """A model with everything learned so far.

    Attributes:
        origin: the base; None: it is not at hand, and nothing but the model as it is now can be read.
        current: the checkpoint as other programs load it; the base itself before the first concept.
        memory: what belongs to ``current``; None before the first concept.
        learned: how many concepts it has learned.
    """

    origin: Checkpoint | None
    current: Checkpoint
    memory: Checkpoint | None
    learned: int = 0

    def weight(self, name: str) -> Tensor:
        """The tensor's exact value, float32, in its own shape."""
        shape = self.current.info(name).shape
        with reading() as files:
            return self.rows(name, 0, shape[0] if shape else 1, files).reshape(shape)

    def rows(self, name: str, start: int, stop: int, files: Files, scratch: Scratch | None = None) -> Tensor:
        """Rows of the exact value of a tensor seen as a matrix, float32, (stop - start, columns).

        They have memory of their own, or lie in ``scratch``.
        """
        if not self.current.info(name).shape:
            return self.current.read_float(name).reshape(1, 1)
        if self.memory is not None and memory_key(name, WEIGHT) in self.memory:
            return self._kept(name, WEIGHT, start, stop, files, scratch)
        stored = self.current.read_rows(name, start, stop, files, scratch)
        if self.memory is not None and memory_key(name, RESIDUAL) in self.memory:
            return join(stored, self._kept(name, RESIDUAL, start, stop, files, scratch), scratch)
        return _float(stored, "exact", scratch)

    def layer(self, target: Target, strategy: str) -> Layer:
        """The layer as the named strategy sees it, (out, in); another strategy's memory is not shown."""
        start, stop = target.stored_rows
        with reading() as files:
            layer = self.layer_rows(target, start, stop, files, self._strategy_memory(target, strategy))
        if target.layout != "transposed":
            return layer
        origin, current = layer.origin.T.contiguous(), layer.current.T.contiguous()
        return replace(layer, origin=origin, current=current)

    def matrix_rows(self, target: Target, start: int, stop: int) -> Tensor:
        """Rows (counted in the layer) of the exact current weight, (stop - start, in), float32."""
        first, last = target.stored_rows
        with reading() as files:
            if target.layout == "transposed":
                return self.rows(target.tensor, first, last, files).T[start:stop].contiguous()
            return self.rows(target.tensor, first + start, first + stop, files)

    def layer_rows(
        self,
        target: Target,
        start: int,
        stop: int,
        files: Files,
        memory: Mapping[str, Tensor],
        scratch: Scratch | None = None,
    ) -> Layer:
        """Rows (counted in the tensor) of the layer as the tensor holds it, with the given memory.

        They have memory of their own, or lie in ``scratch``.
        """
        current = origin = self.rows(target.tensor, start, stop, files, scratch)
        base = self._base()
        if self.memory is not None or self.current.path != base.path:
            stored = base.read_rows(target.tensor, start, stop, files, scratch)
            origin = _float(stored, "origin", scratch)
        return Layer(target.name, origin, current, memory, number=self.learned + 1)

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """sha256 of the bytes of ``current``'s tensors, in hex, by name; empty where they are not known."""
        names = sorted(self.current.own_names)
        if self.memory is None or DIGESTS not in self.memory:
            return {}
        table = self.memory.read(DIGESTS)
        if table.dtype != torch.uint8 or tuple(table.shape) != (len(names), _SHA256):
            raise self._foreign()
        return {name: bytes(row.tolist()).hex() for name, row in zip(names, table, strict=True)}

    @property
    def strategy(self) -> str:
        """Name of the strategy whose memory this is; empty before the first concept."""
        return "" if self.memory is None else self.memory.header.metadata.get(STRATEGY_KEY, "")

    @property
    def strategy_parts(self) -> tuple[str, ...]:
        """Names of what the memory holds for its strategy."""
        names = () if self.memory is None else self.memory.names
        engines_own = (memory_key("", RESIDUAL), memory_key("", WEIGHT), DIGESTS)
        return tuple(name for name in names if not name.endswith(engines_own))

    def prompts(self, strategy: str) -> tuple[ConceptPrompts, ...]:
        """What the named strategy has kept of past concepts in words; another's is not shown.

        Raises:
            CheckpointError: they are damaged.
        """
        if self.memory is None or self.strategy != strategy:
            return ()
        return decode_prompts(self.memory.header)

    def past_inputs(self, strategy: str) -> dict[str, Moment]:
        """Second moments that the named strategy has kept, by the input's name; another's are not shown."""
        if self.memory is None or self.memory.header.metadata.get(STRATEGY_KEY) != strategy:
            return {}
        return read_moments(self.memory)

    def check(self, content_hash: str) -> None:
        """Make sure that the memory belongs to the checkpoint of that content hash.

        Raises:
            CheckpointError: it belongs to another one; residuals would then restore nonsense.
        """
        known = self.digests
        own = {name: self.current.info(name) for name in known}
        if known and combine(own, known) != content_hash:
            raise self._foreign()
        residuals = self.memory is not None and any(
            name.endswith(memory_key("", RESIDUAL)) for name in self.memory.names
        )
        if residuals and not known:
            raise self._foreign()

    @property
    def changed_tensors(self) -> Sequence[str]:
        """Names of the tensors whose values the memory keeps."""
        kept = self.memory.names if self.memory is not None else ()
        ends = (memory_key("", RESIDUAL), memory_key("", WEIGHT))
        parts = (name.rpartition("::")[0] for name in kept if name.endswith(ends))
        return [name for name in parts if name in self.current]

    def changeable(self, targets: Sequence[Target]) -> list[Target]:
        """Those of the layers that may have changed; of tensors in float32 the memory keeps nothing."""
        taught = set(self.changed_tensors)
        return [t for t in targets if t.tensor in taught or self.current.info(t.tensor).dtype == "F32"]

    def _base(self) -> Checkpoint:
        """The base, which this model needs to tell what it has learned from what it knew."""
        if self.origin is None:
            message = f"{self.current.path} was opened without its base"
            raise CheckpointError(message, fix="report this: it is a bug in clora")
        return self.origin

    def _kept(
        self, name: str, part: str, start: int, stop: int, files: Files, scratch: Scratch | None
    ) -> Tensor:
        """Rows of what the memory keeps of a tensor."""
        if self.memory is None:  # pragma: no cover - asked for only where there is one
            raise self._foreign()
        kept, info = self.memory.info(memory_key(name, part)), self.current.info(name)
        dtype = "I16" if part == RESIDUAL else "F32"
        if kept.dtype != dtype or kept.elements != info.elements or kept.shape[0] != info.shape[0]:
            raise self._foreign()
        return self.memory.read_rows(memory_key(name, part), start, stop, files, scratch)

    def _strategy_memory(self, target: Target, strategy: str) -> dict[str, Tensor]:
        """What the strategy returned from its last fold of the layer, if that was its own."""
        if self.memory is None or self.strategy != strategy:
            return {}
        start = memory_key(target.name, "")
        parts = (name.removeprefix(start) for name in self.memory.names if name.startswith(start))
        return {n: self.memory.read(start + n) for n in parts if n not in {RESIDUAL, WEIGHT}}

    def _foreign(self) -> CheckpointError:
        """The complaint about a memory that does not fit."""
        path = self.memory.path if self.memory is not None else self.current.path
        message = f"{path} does not belong to {self.current.path}"
        return CheckpointError(message, fix="restore both files from one backup, or clora undo")


def _float(stored: Tensor, name: str, scratch: Scratch | None) -> Tensor:
    """The same numbers in float32; in ``scratch`` under ``name`` if they are not float32 already."""
    if stored.dtype == torch.float32 or scratch is None:
        return stored.float()
    return scratch.take(name, stored.shape).copy_(stored)
