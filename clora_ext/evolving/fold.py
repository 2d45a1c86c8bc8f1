"""Fold trained adapters into the evolving model: some rows at a time, everything else as bytes.

The new checkpoint and its memory (see :mod:`clora_ext.evolving.model`) are written side by side in one pass.
Each taught tensor is a job of its own; a job holds a few blocks of rows, whatever the tensor's size, unless
the strategy wants to see whole layers.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from dataclasses import replace
from math import prod
from pathlib import Path
from threading import local

import torch

from clora_ext.adapters.delta import Delta, delta_in
from clora_ext.adapters.scratch import Scratch
from clora_ext.adapters.sites import Target
from clora_ext.errors import CheckpointError
from clora_ext.events import FoldStep, Sink
from clora_ext.formats.checkpoint import Checkpoint, Copy, copy_tensor
from clora_ext.formats.header import layout
from clora_ext.formats.kept_inputs import kept_shapes, stored_moment
from clora_ext.formats.memory import DIGESTS, RESIDUAL, STRATEGY_KEY, memory_key
from clora_ext.formats.spans import Files, reading
from clora_ext.formats.stored import check_finite, dtype_of, raw
from clora_ext.formats.threads import one_thread, workers
from clora_ext.formats.writer import Writer, combine, reserve
from clora_ext.strategies.base import keeps_memory

from .model import Evolving, memory_part
from .prompts import check_declared, encode_prompts
from .tensor_pair import TensorPair, blocks
from .trained_concept import TrainedConcept, rows_of

__all__ = ["fold"]

_Shapes = dict[str, tuple[str, tuple[int, ...]]]


def fold(
    evolving: Evolving,
    concept: TrainedConcept,
    checkpoint: Path,
    memory: Path,
    metadata: Mapping[str, str],
    sink: Sink,
) -> str:
    """Write the model with one more concept; give the content hash of its checkpoint.

    A taught tensor is rounded once, from float32 to the dtype that the base stores it in. Every other
    tensor is copied byte for byte, and so is what the memory keeps of earlier concepts. Both
    files appear when both are complete, or neither does.

    Args:
        evolving: the model before.
        concept: what was learned.
        checkpoint: the new model.
        memory: what belongs to it, in the same file system.
        metadata: of the checkpoint's header.
        sink: told of every tensor of the checkpoint; may raise to stop.

    Raises:
        CheckpointError: a value is not finite or does not fit, or a file cannot be read.
        StorageError: the disk is full or refuses.
    """
    by_tensor = concept.by_tensor()
    for target in (target for layers in by_tensor.values() for target in layers):
        _check_place(target, evolving.current)
    infos = {name: evolving.current.info(name) for name in evolving.current.own_names}
    model = Writer(checkpoint, layout({n: (i.dtype, i.shape) for n, i in infos.items()}), metadata)
    kept = Writer(
        memory,
        layout(_memory_shapes(evolving, concept, by_tensor)),
        _memory_metadata(evolving, concept),
        hashed=False,
    )
    reserve([model, kept])
    with ExitStack() as stack:
        stack.enter_context(model.open())
        stack.enter_context(kept.open())
        stack.enter_context(one_thread())
        pool = stack.enter_context(workers())
        folds = _Folding(evolving, concept, model, kept)
        jobs = {name: _begin(pool, folds, name, by_tensor.get(name, ())) for name in model.tensors}
        sums = [pool.submit(folds.keep_input, name) for name in concept.kept_inputs]
        for done, (name, job) in enumerate(jobs.items(), start=1):
            job.result()
            sink(FoldStep(done, len(jobs), name))
        for one in sums:
            one.result()
        _write_digests(kept, model.digests)
        if concept.carries_memory and evolving.memory is not None:
            for name in evolving.strategy_parts:
                copy_tensor(kept, name, Copy(evolving.memory, name))
        model.finish()
        kept.finish()
        kept.publish()
        model.publish()
    return combine(model.tensors, model.digests)


def _check_place(target: Target, current: Checkpoint) -> None:
    """A layer must be rows of a tensor with as many columns."""
    shape = current.info(target.tensor).shape
    start, stop = rows_of(target)
    if not shape or stop > shape[0] or (stop - start, prod(shape[1:])) != target.stored_shape:
        message = f"{current.path}: the layer {target.name!r} of shape {list(target.shape)} does not lie in "
        message += f"its tensor of shape {list(shape)}"
        raise CheckpointError(message, fix="report this: it is a bug in clora")


def _memory_metadata(evolving: Evolving, concept: TrainedConcept) -> dict[str, str]:
    """Whose memory it is, and past concepts in words."""
    if concept.carries_memory:
        return {STRATEGY_KEY: evolving.strategy, **encode_prompts(concept.prompts)}
    check_declared(concept.strategy, concept.prompts)
    return {STRATEGY_KEY: concept.name, **encode_prompts(concept.prompts)}


def _memory_shapes(
    evolving: Evolving, concept: TrainedConcept, by_tensor: Mapping[str, Sequence[Target]]
) -> _Shapes:
    """dtype and shape of everything in the new memory."""
    shapes: _Shapes = {DIGESTS: ("U8", (len(evolving.current.own_names), 32))}
    for name in {*evolving.changed_tensors, *by_tensor}:
        info = evolving.current.info(name)
        part = memory_part(info.dtype)
        if part is not None:
            shapes[memory_key(name, part)] = ("I16" if part == RESIDUAL else "F32", info.shape)
    if concept.carries_memory and evolving.memory is not None:
        infos = {name: evolving.memory.info(name) for name in evolving.strategy_parts}
        return {**shapes, **{name: (info.dtype, info.shape) for name, info in infos.items()}}
    for name, width in concept.kept_inputs.items():
        shapes.update({memory_key(name, part): ("BF16", shape) for part, shape in kept_shapes(width).items()})
    if not keeps_memory(concept.strategy):  # changes need not be read just for that
        return shapes
    for name, trained in concept.trained.items():
        declared = concept.strategy.memory_shapes(concept.targets[name].shape, trained.rank)
        shapes.update({memory_key(name, part): ("F32", shape) for part, shape in declared.items()})
    return shapes


def _begin(pool: Executor, folds: "_Folding", name: str, layers: Sequence[Target]) -> "Future[None]":
    """The job of one tensor."""
    return pool.submit(folds.write, name, layers) if layers else pool.submit(folds.carry, name)


def _write_digests(kept: Writer, digests: Mapping[str, str]) -> None:
    with kept.part(DIGESTS) as place:
        place.write(memoryview(b"".join(bytes.fromhex(digests[name]) for name in sorted(digests))))


class _Folding:
    """The jobs of one fold."""

    def __init__(self, evolving: Evolving, concept: TrainedConcept, model: Writer, kept: Writer) -> None:
        self._evolving = evolving
        self._concept = concept
        self._model = model
        self._kept = kept
        self._digests = evolving.digests
        self._local = local()

    @property
    def _scratch(self) -> Scratch:
        """This thread's."""
        found: Scratch = self._local.__dict__.setdefault("scratch", Scratch())
        return found

    def carry(self, name: str) -> None:
        """A tensor that was not taught now: its bytes, and those of what the memory keeps of it."""
        part = memory_part(self._evolving.current.info(name).dtype)
        beside = memory_key(name, part) if part is not None else ""
        if beside in self._kept.tensors:
            memory = self._evolving.memory
            if memory is None or beside not in memory:
                self.write(name, ())
                return
            copy_tensor(self._kept, beside, Copy(memory, beside))
        copy_tensor(self._model, name, Copy(self._evolving.current, name, self._digests.get(name)))

    @torch.inference_mode()  # of many small steps, a tenth is keeping account for gradients
    def write(self, name: str, layers: Sequence[Target]) -> None:
        """A tensor of which these layers, in the order of their rows, were taught."""
        info = self._evolving.current.info(name)
        part = memory_part(info.dtype)
        with ExitStack() as stack:
            files = stack.enter_context(reading())
            place = stack.enter_context(self._model.part(name))
            beside = stack.enter_context(self._kept.part(memory_key(name, part))) if part else None
            pair = TensorPair(name, dtype_of(info.dtype) or torch.float32, place, beside, self._scratch)
            position = 0
            for target in layers:
                start, position_after = rows_of(target)
                self._pass(name, position, start, files, pair)
                self._fold(target, files, pair)
                position = position_after
            self._pass(name, position, info.shape[0], files, pair)

    def keep_input(self, name: str) -> None:
        """What is kept of an input that layers read."""
        for key, tensor in stored_moment(name, self._concept.kept_input(name)).items():
            check_finite(key, tensor)
            with self._kept.part(key) as place:
                place.write(raw(tensor.contiguous()))

    def _pass(self, name: str, start: int, stop: int, files: Files, pair: TensorPair) -> None:
        """Rows between the layers: the bytes they have."""
        info, scratch = self._evolving.current.info(name), pair.scratch
        for first, last in blocks(start, stop, info.elements // max(1, info.shape[0])):
            exact = self._evolving.rows(name, first, last, files, scratch)
            pair.put(self._evolving.current.read_rows(name, first, last, files, scratch), exact)

    def _fold(self, target: Target, files: Files, pair: TensorPair) -> None:
        """The rows of one layer: some at a time where the strategy allows it."""
        concept = self._concept
        trained = concept.trained[target.name]
        alone = concept.strategy.rowwise and not keeps_memory(concept.strategy) and not concept.measured
        if alone and target.layout != "transposed":
            self._fold_rows(target, trained, files, pair)
        else:
            self._fold_whole(target, trained, pair)

    def _fold_rows(self, target: Target, trained: Delta, files: Files, pair: TensorPair) -> None:
        """A few rows at a time."""
        strategy, scratch = self._concept.strategy, pair.scratch
        start, stop = rows_of(target)
        for first, last in blocks(start, stop, target.shape[1]):
            change = trained.rows(first - start, last - start)
            if strategy.adds:  # whatever the base is: it need not be read
                exact = self._evolving.rows(target.tensor, first, last, files, scratch)
                pair.put_exact(exact.add_(delta_in(scratch, change)))
            else:
                layer = self._evolving.layer_rows(target, first, last, files, {}, scratch)
                pair.put_exact(strategy.fold_rows(layer, change, scratch))

    def _fold_whole(self, target: Target, trained: Delta, pair: TensorPair) -> None:
        """The whole layer at once, and what the strategy keeps of it."""
        concept = self._concept
        layer = self._evolving.layer(target, "" if concept.imported else concept.name)
        read = target.input_name
        layer = replace(
            layer,
            inputs=concept.inputs.get(read),
            past_inputs=concept.past_inputs.get(read),
            gradients=concept.gradients.get(target.name),
        )
        join = concept.strategy.adopt if concept.imported else concept.strategy.fold
        folded = join(layer, trained)
        weight = folded.weight.T.contiguous() if target.layout == "transposed" else folded.weight
        for first, last in blocks(0, *target.stored_shape):
            pair.put_exact(weight[first:last])
        for part in concept.strategy.memory_shapes(target.shape, trained.rank):
            tensor = folded.memory[part].float().contiguous()
            check_finite(memory_key(target.name, part), tensor)
            with self._kept.part(memory_key(target.name, part)) as place:
                place.write(raw(tensor))
