"""What a stopped training run leaves behind: adapters, optimiser, loss scale and losses, as safetensors.

Asking how far a run had come needs no torch; it is imported when a state is read or written.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clora_ext.errors import CheckpointError, writing
from clora_ext.formats.header import read_header
from clora_ext.formats.training_state import (
    FORMAT,
    FORMAT_KEY,
    LOSSES_KEY,
    TRAINING_KEY,
    read_losses,
    run_metadata,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from clora_ext.formats.checkpoint import Checkpoint

    from .validation import Validation

__all__ = ["TrainingState", "resume_step"]

_OPTIMIZER = "clora.optimizer"
_SCALER = "clora.scaler"
_VALIDATION = "clora.validation"
# How an optimiser computes, which is this run's affair and not that of the run before.
_HOW = ("foreach", "fused", "capturable", "differentiable")


def resume_step(file: Path, fingerprint: str) -> int:
    """Steps that the run of this plan had done when it stopped; 0: there is nothing to resume."""
    if not file.is_file():
        return 0
    try:
        metadata = read_header(file).metadata
        if metadata.get(TRAINING_KEY) != fingerprint or metadata.get(FORMAT_KEY) != FORMAT:
            return 0
        return len(read_losses(metadata))
    except (CheckpointError, RecursionError, ValueError):
        return 0  # not a finished file: the run starts over, nothing else depends on it


class TrainingState:
    """The state of one plan's run in one file.

    Args:
        file: where it lies.
        fingerprint: of the plan; another plan's state is never taken.
        concept: what is learned, for people.
        steps: of the whole run.
    """

    def __init__(self, file: Path, fingerprint: str, concept: str = "", steps: int = 0) -> None:
        self._file = file
        self._fingerprint = fingerprint
        self._said = run_metadata(concept, steps)

    def restore(
        self,
        parameters: "Mapping[str, nn.Parameter]",
        optimizer: "torch.optim.Optimizer",
        scaler: "torch.amp.GradScaler",
        validation: "Validation | None" = None,
    ) -> list[float]:
        """Fill parameters, optimiser, loss scale and what was validated from the file, if it is of this plan.

        The optimiser itself decides where its values belong: AdamW's steps stay on the processor.

        Returns:
            The losses of the steps done so far; their number is the next step.

        Raises:
            CheckpointError: the file is this plan's and does not hold what it should.
        """
        from clora_ext.formats.checkpoint import Checkpoint

        if not resume_step(self._file, self._fingerprint):
            return []
        checkpoint = Checkpoint(self._file)
        metadata = checkpoint.header.metadata
        try:
            for name, parameter in parameters.items():
                parameter.data = _fitting(checkpoint, name, parameter).to(parameter.device)
            _fill_optimizer(optimizer, json.loads(metadata[_OPTIMIZER]), checkpoint)
            if scale := json.loads(metadata[_SCALER]):
                scaler.load_state_dict(scale)
            if validation is not None:
                kept = [name for name in checkpoint.names if name.startswith("validation.")]
                tensors = {name: checkpoint.read(name) for name in kept}
                validation.restore(json.loads(metadata[_VALIDATION]), tensors)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            message = f"{self._file} does not hold the training that it should ({error})"
            fix = "delete it, then run the same command again: the training starts over"
            raise CheckpointError(message, fix=fix) from error
        return read_losses(metadata)

    def save(
        self,
        parameters: "Mapping[str, nn.Parameter]",
        optimizer: "torch.optim.Optimizer",
        scaler: "torch.amp.GradScaler",
        losses: list[float],
        validation: "Validation | None" = None,
    ) -> None:
        """Write the state; the file is replaced as a whole.

        Raises:
            CheckpointError: a value is NaN or infinite.
            StorageError: the disk is full or refuses.
            TrainingError: the optimiser keeps what cannot be stored.
        """
        from clora_ext.formats.checkpoint import Source, write_checkpoint

        from .plain_values import split

        tensors: dict[str, Tensor] = {name: parameter.detach() for name, parameter in parameters.items()}
        metadata = {
            TRAINING_KEY: self._fingerprint,
            FORMAT_KEY: FORMAT,
            **self._said,
            LOSSES_KEY: json.dumps(losses),
            _OPTIMIZER: json.dumps(split(optimizer.state_dict(), "optimizer", tensors)),
            _SCALER: json.dumps(scaler.state_dict()),
        }
        if validation is not None:
            aside, told = validation.stored()
            tensors |= aside
            metadata[_VALIDATION] = json.dumps(told)
        with writing(self._file):
            self._file.parent.mkdir(parents=True, exist_ok=True)
        write_checkpoint(self._file, {name: Source.of(one) for name, one in tensors.items()}, metadata)


def _fitting(checkpoint: "Checkpoint", name: str, parameter: "nn.Parameter") -> "Tensor":
    """A parameter's stored values, which must be of its shape and dtype."""
    value = checkpoint.read(name)
    if value.shape != parameter.shape or value.dtype != parameter.dtype:
        message = f"{name} is {value.dtype} of shape {list(value.shape)}"
        raise ValueError(message)
    return value


def _fill_optimizer(optimizer: "torch.optim.Optimizer", stored: Any, checkpoint: "Checkpoint") -> None:  # noqa: ANN401
    """Give the optimiser what it knew; how it computes stays as it is."""
    from .plain_values import joined

    state = joined(stored, checkpoint.read)
    for group, now in zip(state["param_groups"], optimizer.param_groups, strict=True):
        group.update({key: now[key] for key in _HOW if key in now})
    optimizer.load_state_dict(state)
