"""The exact weights of a taught float16 model, read from its two files without the engine's arithmetic."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from clora_ext.project import Project


def exact_weights(checkpoint: Path, memory: Path) -> dict[str, Tensor]:
    """float32 by tensor: stored + residual * 2 ** (e - 24), where e is the exponent of what is stored."""
    stored = load_file(checkpoint)
    found = {}
    for entry, residual in load_file(memory).items():
        name, _, part = entry.rpartition("::")
        if part != "residual":
            continue
        near = stored[name].double().numpy()
        with np.errstate(divide="ignore"):
            # Smaller numbers share the steps of 2 ** -16.
            exponent = np.maximum(np.floor(np.log2(np.abs(near))), -16)
        found[name] = torch.from_numpy(near + residual.numpy() * 2.0 ** (exponent - 24)).float()
    return found


def exact_project(folder: Path) -> dict[str, Tensor]:
    """Of a project's current state."""
    project = Project.open(folder)
    assert project.checkpoint_path is not None
    assert project.memory_path is not None
    return exact_weights(project.checkpoint_path, project.memory_path)
