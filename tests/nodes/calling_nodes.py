"""The nodes called as a graph calls them, and what came of it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

INPUTS: dict[str, Any] = {
    "strategy": "mask", "preset": "balanced", "steps": 4, "rank": 4, "learning_rate": 0.001, "seed": 1,
    "resolution": 0, "text_encoder": False, "sample_prompt": "", "preview_every": 0,
}  # fmt: skip


def batch(count: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((count, 32, 32, 3), dtype=np.float32))


def start(pack: Any, name: str = "mine") -> Any:
    return pack.StartProject.execute("tiny.safetensors", name).args[3]


def dataset(pack: Any, seed: int = 0, **words: str) -> Any:
    given = {"token": "", "class_name": "dog", "captions": "", **words}
    return pack.DatasetFromImages.execute(batch(seed=seed), **given).args[0]


def taught(pack: Any, project: Any = None, seed: int = 0, **inputs: Any) -> Any:
    copy_to = inputs.pop("copy_to", "")
    return pack.AddConcept.execute(
        project or start(pack), dataset(pack, seed), copy_to, **{**INPUTS, **inputs}
    ).args


def state(project: Any) -> dict[str, torch.Tensor]:
    return load_file(project.checkpoint)


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(weight, other[name]) for name, weight in one.items()
    )
