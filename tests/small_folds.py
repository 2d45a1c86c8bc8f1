"""Models of a few hundred weights, adapters for them, and a fold of both."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from clora_ext import strategies
from clora_ext.adapters.factors import Factors
from clora_ext.adapters.sites import Target
from clora_ext.events import ignore
from clora_ext.evolving.fold import TrainedConcept, fold
from clora_ext.evolving.model import Evolving
from clora_ext.formats.checkpoint import Checkpoint, content_hash

SHAPES = {"a.to_q.weight": (16, 24), "b.to_k.weight": (16, 40), "c.ff.weight": (330, 20)}
TARGETS = {name: Target("unet", name.removesuffix(".weight"), name, shape) for name, shape in SHAPES.items()}
RANK, ALPHA = 4, 4.0


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def base(folder: Path, dtype: torch.dtype = torch.float16) -> Checkpoint:
    tensors = {
        name: (torch.randn(shape, generator=rng(i)) * 0.05).to(dtype)
        for i, (name, shape) in enumerate(SHAPES.items())
    }
    tensors["conv.weight"] = torch.randn(3, 3, generator=rng(7)).to(dtype)
    tensors["position_ids"] = torch.arange(5)
    save_file(tensors, folder / "base.safetensors", metadata={"clora.config": "{}"})
    return Checkpoint(folder / "base.safetensors")


def adapters(seed: int, size: float = 0.01) -> dict[str, Factors]:
    return {
        name: Factors(
            torch.randn(RANK, shape[1], generator=rng(seed)) * size,
            torch.randn(shape[0], RANK, generator=rng(seed + 1)) * size,
            ALPHA,
        )
        for name, shape in SHAPES.items()
    }


def taught(
    evolving: Evolving, strategy: str, trained: Mapping[str, Factors], folder: Path, number: int
) -> Evolving:
    memory, current = folder / f"memory{number}.safetensors", folder / f"current{number}.safetensors"
    targets = {name: TARGETS[name] for name in trained}
    concept = TrainedConcept(strategies.load(strategy), strategy, targets, trained)
    digest = fold(evolving, concept, current, memory, evolving.current.header.metadata, ignore)
    assert digest == content_hash(Checkpoint(current))
    return Evolving(evolving.origin, Checkpoint(current), Checkpoint(memory), evolving.learned + 1)


def start(folder: Path, dtype: torch.dtype = torch.float16) -> Evolving:
    origin = base(folder, dtype)
    return Evolving(origin, origin, None)


def memory_of(evolving: Evolving) -> Checkpoint:
    assert evolving.memory is not None
    return evolving.memory
