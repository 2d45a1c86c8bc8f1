"""What a stopped training run leaves behind: adapters, optimiser moments and losses, as safetensors.

Asking how far a run had come needs no torch; it is imported when a state is read or written.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from clora_ext.errors import CheckpointError
from clora_ext.formats.header import read_header

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["STATE_FILE", "TRAINING_KEY", "TrainingState", "resume_step"]

STATE_FILE = "state.safetensors"
"""Its name inside the project's training folder."""

TRAINING_KEY = "clora.plan"
"""Metadata key of a training state: the fingerprint of its plan."""

_LOSSES = "clora.losses"
_MOMENTS = ("exp_avg", "exp_avg_sq")


def resume_step(file: Path, fingerprint: str) -> int:
    """Steps that the run of this plan had done when it stopped; 0: there is nothing to resume."""
    if not file.is_file():
        return 0
    try:
        metadata = read_header(file).metadata
    except CheckpointError:
        return 0  # not a finished file: the run starts over, nothing else depends on it
    if metadata.get(TRAINING_KEY) != fingerprint:
        return 0
    return len(json.loads(metadata[_LOSSES]))


class TrainingState:
    """The state of one plan's run in one file.

    Args:
        file: where it lies.
        fingerprint: of the plan; another plan's state is never taken.
    """

    def __init__(self, file: Path, fingerprint: str) -> None:
        self._file = file
        self._fingerprint = fingerprint

    def restore(
        self, parameters: "Mapping[str, nn.Parameter]", optimizer: "torch.optim.AdamW"
    ) -> list[float]:
        """Fill parameters and optimiser from the file, if it is of this plan.

        Returns:
            The losses of the steps done so far; their number is the next step.
        """
        import torch

        from clora_ext.formats.checkpoint import Checkpoint

        steps = resume_step(self._file, self._fingerprint)
        if not steps:
            return []
        checkpoint = Checkpoint(self._file)
        for name, parameter in parameters.items():
            parameter.data = checkpoint.read(name).to(parameter.device)
            if f"{name}::{_MOMENTS[0]}" in checkpoint:
                moments = {key: checkpoint.read(f"{name}::{key}").to(parameter.device) for key in _MOMENTS}
                optimizer.state[parameter] = {"step": torch.tensor(float(steps)), **moments}
        losses: list[float] = json.loads(checkpoint.header.metadata[_LOSSES])
        return losses

    def save(
        self, parameters: "Mapping[str, nn.Parameter]", optimizer: "torch.optim.AdamW", losses: list[float]
    ) -> None:
        """Write the state; the file is replaced as a whole."""
        from clora_ext.formats.checkpoint import Source, write_checkpoint

        sources = {}
        for name, parameter in parameters.items():
            sources[name] = Source.of(parameter.detach())
            # A parameter that the loss does not depend on has none: SDXL's UNet never sees CLIP's last layer.
            moments = {key: optimizer.state[parameter].get(key) for key in _MOMENTS}
            sources |= {f"{name}::{key}": Source.of(m) for key, m in moments.items() if m is not None}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        metadata = {TRAINING_KEY: self._fingerprint, _LOSSES: json.dumps(losses)}
        write_checkpoint(self._file, sources, metadata)
