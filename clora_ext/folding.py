"""Fold trained adapters into the evolving model: one layer at a time, everything else as bytes.

The state of a model is two files. The checkpoint is what other programs load; it stores every tensor in the
base's dtype. The memory holds, in float32, the weights that were ever taught, because rounding to fp16
after every concept would lose a fifth of a small change, and what the strategy wants back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from clora_ext.events import FoldStep, Sink
from clora_ext.families.base import Target
from clora_ext.formats.checkpoint import Checkpoint, Copy, Source, write_checkpoint
from clora_ext.strategies.base import Fold, Layer, Strategy
from clora_ext.tensors import Factors

__all__ = ["STRATEGY_KEY", "Evolving", "fold_checkpoint", "fold_memory"]

STRATEGY_KEY = "clora.strategy"
"""Metadata key of a memory file: whose memory it holds besides the weights."""

_WEIGHT = "weight"


def _entry(name: str, part: str) -> str:
    """Name of a layer's part in a memory file."""
    return f"{name}::{part}"


@dataclass(frozen=True)
class Evolving:
    """A model with everything learned so far.

    Attributes:
        origin: the base.
        current: the checkpoint as other programs load it; the base itself before the first concept.
        memory: float32 weights of the taught layers and the strategy's memory; None before the first concept.
    """

    origin: Checkpoint
    current: Checkpoint
    memory: Checkpoint | None

    def weight(self, name: str) -> Tensor:
        """The layer's exact weight, float32."""
        entry = _entry(name, _WEIGHT)
        if self.memory is not None and entry in self.memory:
            return self.memory.read(entry)
        return self.current.read_float(name)

    def layer(self, target: Target, strategy: str) -> Layer:
        """The layer as the named strategy sees it; another strategy's memory is not shown."""
        kept: dict[str, Tensor] = {}
        if self.memory is not None and self.memory.header.metadata.get(STRATEGY_KEY) == strategy:
            start = _entry(target.name, "")
            entries = (name for name in self.memory.names if name.startswith(start))
            kept = {name.removeprefix(start): self.memory.read(name) for name in entries}
            kept.pop(_WEIGHT, None)
        return Layer(target.name, self.origin.read_float(target.name), self.weight(target.name), kept)


def fold_memory(
    evolving: Evolving,
    targets: Mapping[str, Target],
    strategy: Strategy,
    strategy_name: str,
    trained: Mapping[str, Factors],
    file: Path,
) -> None:
    """Write the memory after the fold: every taught layer's new weight and what the strategy keeps.

    Weights taught by earlier concepts but not by this one are carried over as they are.
    """

    @lru_cache(maxsize=1)
    def folded(name: str) -> Fold:
        return strategy.fold(evolving.layer(targets[name], strategy_name), trained[name])

    def part(name: str, kind: str) -> Tensor:
        fold = folded(name)
        return fold.weight if kind == _WEIGHT else fold.memory[kind]

    sources: dict[str, Source] = {}
    if evolving.memory is not None:
        for entry in evolving.memory.names:
            if entry.endswith(_entry("", _WEIGHT)):
                sources[entry] = Source.copy(evolving.memory, entry)
    for name, factors in trained.items():
        shapes = {_WEIGHT: targets[name].shape, **strategy.memory_shapes(targets[name].shape, factors.rank)}
        for kind, shape in shapes.items():
            sources[_entry(name, kind)] = Source(
                "F32",
                shape,
                lambda name=name, kind=kind: part(name, kind),  # type: ignore[misc]  # bound now
            )
    write_checkpoint(file, sources, {STRATEGY_KEY: strategy_name})


def fold_checkpoint(
    current: Checkpoint, memory: Checkpoint, metadata: Mapping[str, str], file: Path, sink: Sink
) -> str:
    """Write the checkpoint that goes with ``memory``; give its content hash.

    A layer in the memory is rounded once, from float32 to the dtype that the base stores it in; every other
    tensor is copied byte for byte from ``current``.
    """

    def source(name: str) -> Source:
        entry = _entry(name, _WEIGHT)
        if entry not in memory:
            return Source.copy(current, name)
        info = current.info(name)

        def make() -> Tensor | Copy:
            return memory.read(entry).reshape(info.shape)

        return Source(info.dtype, info.shape, make)

    sources = {name: source(name) for name in current.names}
    return write_checkpoint(
        file, sources, metadata, on_tensor=lambda done, total, name: sink(FoldStep(done, total, name))
    )
