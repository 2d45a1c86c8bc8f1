"""What a stopped training run leaves behind: adapters, optimiser, loss scale and losses, as safetensors.

Asking how far a run had come needs no torch; it is imported when a state is read or written.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from clora_ext.errors import CheckpointError, TrainingError, writing
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
    from collections.abc import Sequence

    import torch
    from torch import Tensor, nn

    from clora_ext.formats.checkpoint import Checkpoint

__all__ = ["Kept", "TrainingState", "resume_step"]

_OPTIMIZER = "clora.optimizer"
_SCALER = "clora.scaler"
# How an optimiser computes, which is this run's affair and not that of the run before.
_HOW = ("foreach", "fused", "capturable", "differentiable")


class Kept(Protocol):
    """What a training keeps beside parameters and optimiser."""

    @property
    def name(self) -> str:
        """Of its part of the file."""
        ...

    def stored(self) -> "tuple[dict[str, Tensor], dict[str, Any]]":
        """Tensors, whose names begin with that name and a point, and plain values."""
        ...

    def restore(self, told: Mapping[str, Any], tensors: "Mapping[str, Tensor]") -> None:
        """Take up what :meth:`stored` gave.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: it gave something else.
        """
        ...


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
        processes: that train it.
    """

    def __init__(
        self, file: Path, fingerprint: str, concept: str = "", steps: int = 0, processes: int = 1
    ) -> None:
        self._file = file
        self._fingerprint = fingerprint
        self._said = run_metadata(concept, steps, processes)

    def restore(
        self,
        parameters: "Mapping[str, nn.Parameter]",
        optimizer: "torch.optim.Optimizer",
        scaler: "torch.amp.GradScaler",
        beside: "Sequence[Kept]" = (),
    ) -> list[float]:
        """Fill parameters, optimiser, loss scale and what is kept beside, if the file is of this plan.

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
            for one in beside:
                kept = [name for name in checkpoint.names if name.startswith(f"{one.name}.")]
                tensors = {name: checkpoint.read(name) for name in kept}
                one.restore(json.loads(metadata[_told_by(one)]), tensors)
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
        beside: "Sequence[Kept]" = (),
    ) -> None:
        """Write the state; the file is replaced as a whole.

        Raises:
            CheckpointError: a value is NaN or infinite.
            StorageError: the disk is full or refuses.
            TrainingError: the optimiser keeps what cannot be stored.
        """
        from clora_ext.formats.checkpoint import Source, write_checkpoint

        tensors: dict[str, Tensor] = {name: parameter.detach() for name, parameter in parameters.items()}
        metadata = {
            TRAINING_KEY: self._fingerprint,
            FORMAT_KEY: FORMAT,
            **self._said,
            LOSSES_KEY: json.dumps(losses),
            _OPTIMIZER: json.dumps(_split(optimizer, tensors)),
            _SCALER: json.dumps(scaler.state_dict()),
        }
        for one in beside:
            aside, told = one.stored()
            tensors |= aside
            metadata[_told_by(one)] = json.dumps(told)
        with writing(self._file):
            self._file.parent.mkdir(parents=True, exist_ok=True)
        write_checkpoint(self._file, {name: Source.of(one) for name, one in tensors.items()}, metadata)


def _split(optimizer: "torch.optim.Optimizer", tensors: "dict[str, Tensor]") -> object:
    """What it knows, as plain values; its tensors go into ``tensors``."""
    from .plain_values import split

    try:
        return split(optimizer.state_dict(), "optimizer", tensors)
    except TypeError as error:
        message = f"what the optimiser keeps cannot be stored: {error}"
        raise TrainingError(message, fix="choose another optimiser") from error


def _told_by(kept: Kept) -> str:
    """The metadata's key of its plain values."""
    return f"clora.{kept.name}"


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
    # Loading gives every tensor the dtype of its parameter. What an optimiser keeps in another (the sums of
    # ProdigyPlusScheduleFree are bfloat16) would grow to other bits from then on.
    parameters = (one for group in optimizer.param_groups for one in group["params"])
    for number, parameter in enumerate(parameters):
        if number in state["state"]:
            _keep_types(optimizer.state[parameter], state["state"][number])


def _keep_types(loaded: dict[str, Any], stored: Mapping[str, Any]) -> None:
    """Give what an optimiser has loaded for a parameter the types that it was stored in."""
    loaded.update({key: _as_stored(loaded[key], one) for key, one in stored.items() if key in loaded})


def _as_stored(loaded: Any, stored: Any) -> Any:  # noqa: ANN401 - whatever optimisers keep
    """What was stored, with its own dtypes and types; tensors where loading has put them."""
    from torch import Tensor

    if isinstance(stored, Tensor):
        return loaded if loaded.dtype == stored.dtype else stored.to(loaded.device)
    if isinstance(stored, Mapping):
        return {key: _as_stored(loaded[key], one) for key, one in stored.items()}
    if isinstance(stored, (list, tuple)):
        return type(stored)(_as_stored(one, kept) for one, kept in zip(loaded, stored, strict=True))
    return stored
