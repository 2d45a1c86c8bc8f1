"""The trained adapter as LoRA files: finished, and from the middle of the training."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from clora_ext.adapters.sites import Target
from clora_ext.errors import writing
from clora_ext.events import Sink

from .lora_files import LoraAbout, write_layers
from .lora_output import LoraOutput
from .plan import Plan
from .token_rows import word_vectors

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from clora_ext.adapters.decomposed import TrainedDecomposition
    from clora_ext.adapters.delta import DenseDelta
    from clora_ext.adapters.factors import Factors
    from clora_ext.training.training import Training

__all__ = ["lora_snapshots", "snapshot_files", "write_adapter"]


def snapshot_files(plan: Plan, output: LoraOutput) -> "dict[int, list[Path]]":
    """The files from the middle of the plan's training, by the step (from 1) after which they are written."""
    return output.on_the_way(plan.settings.schedule.steps, plan.epoch)


def lora_snapshots(plan: Plan, training: "Training", sink: Sink) -> Callable[[int], None]:
    """Called after every step with its number, from 1: now and then, the adapter as it is becomes a file."""
    output = plan.lora_output
    if output is None:
        return lambda step: None
    files, steps, epoch = snapshot_files(plan, output), plan.settings.schedule.steps, plan.epoch

    def write(step: int) -> None:
        for file in files.get(step, ()):
            rows = {} if training.token_rows is None else dict(training.token_rows.deltas())
            write_adapter(plan, output, file, dict(training.adapters.learned()), rows, sink)
        for old in output.no_longer_kept(step, steps, epoch):
            with writing(old):
                old.unlink(missing_ok=True)

    return write


def write_adapter(
    plan: Plan,
    output: LoraOutput,
    file: "Path",
    trained: "Mapping[str, Factors | TrainedDecomposition]",
    rows: "Mapping[str, DenseDelta]",
    sink: Sink,
) -> None:
    """Write an adapter of the plan's layers, with its magnitudes where it has any.

    Args:
        plan: of pictures.
        output: how it is written.
        file: where to.
        trained: the adapter, by the layers' names.
        rows: what the text encoders read the trigger as, changed; by the rows' names.
        sink: told of every tensor.

    Raises:
        CheckpointError: values do not fit the dtype.
        StorageError: the disk is full or refuses.
    """
    from clora_ext.adapters.factors import Factors

    evolving = plan.context.evolving()
    layers = {target: trained[target.name] for target in plan.targets}

    def value(row: Target) -> "Tensor":
        """A row of a table of tokens as it has become."""
        before = evolving.matrix_rows(row, 0, 1)
        return before + rows[row.name].delta() if row.name in rows else before

    write_layers(
        file,
        {target: one if isinstance(one, Factors) else one.factors for target, one in layers.items()},
        plan.context,
        LoraAbout((plan.concept,), plan.settings.prompts, output, plan.fingerprint),
        sink,
        magnitudes={
            target: one.magnitude(partial(evolving.matrix_rows, target))
            for target, one in layers.items()
            if not isinstance(one, Factors)
        },
        embeddings={plan.concept.token: word_vectors(plan.context, plan.concept.token, value)}
        if rows
        else {},
    )
