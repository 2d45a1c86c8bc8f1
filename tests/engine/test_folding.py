"""Folding of whole checkpoints: exact over a hundred concepts, the rest as bytes, no past adapter kept."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from clora_ext import strategies
from clora_ext.errors import Cancelled
from clora_ext.events import FoldStep, ignore
from clora_ext.evolving import DIGESTS, STRATEGY_KEY, Evolving
from clora_ext.families.base import Target
from clora_ext.folding import Lesson, fold
from clora_ext.formats.checkpoint import Checkpoint, content_hash
from clora_ext.strategies.base import Layer
from clora_ext.tensors import Factors

SHAPES = {"a.to_q.weight": (16, 24), "b.to_k.weight": (16, 40)}
TARGETS = {name: Target(name, name.removesuffix(".weight"), shape) for name, shape in SHAPES.items()}
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
    lesson = Lesson(strategies.load(strategy), strategy, targets, trained)
    digest = fold(evolving, lesson, current, memory, evolving.current.header.metadata, ignore)
    assert digest == content_hash(Checkpoint(current))
    return Evolving(evolving.origin, Checkpoint(current), Checkpoint(memory))


def start(folder: Path, dtype: torch.dtype = torch.float16) -> Evolving:
    origin = base(folder, dtype)
    return Evolving(origin, origin, None)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_hundred_merges_stay_exact_and_the_file_is_one_rounding(tmp_path: Path, dtype: torch.dtype) -> None:
    evolving = start(tmp_path, dtype)
    exact = {name: evolving.origin.read(name).double() for name in SHAPES}
    for number in range(100):
        trained = adapters(2 * number)
        evolving = taught(evolving, "merge", trained, tmp_path, number % 2)
        for name, factors in trained.items():
            exact[name] += ALPHA / RANK * factors.up.double() @ factors.down.double()
    for name in SHAPES:
        change = (exact[name] - evolving.origin.read(name).double()).norm()
        assert float((evolving.weight(name).double() - exact[name]).norm() / change) < 1e-4
        assert torch.equal(evolving.current.read(name), evolving.weight(name).to(dtype))


@pytest.mark.parametrize("name", strategies.names())
def test_streamed_folds_equal_folds_in_memory(tmp_path: Path, name: str) -> None:
    strategy = strategies.load(name)
    evolving = start(tmp_path)
    layers = {key: Layer(key, evolving.origin.read_float(key), evolving.weight(key)) for key in SHAPES}
    for number in range(3):
        trained = adapters(5 * number)
        evolving = taught(evolving, name, trained, tmp_path, number)
        folds = {key: strategy.fold(layer, trained[key]) for key, layer in layers.items()}
        layers = {k: Layer(k, layers[k].origin, fold.weight, fold.memory) for k, fold in folds.items()}
    for key, layer in layers.items():
        assert torch.equal(evolving.weight(key), layer.current)
        seen = evolving.layer(TARGETS[key], name)
        assert seen.memory.keys() == layer.memory.keys()
        assert all(torch.equal(seen.memory[part], layer.memory[part]) for part in layer.memory)


def test_what_is_not_taught_passes_through_byte_for_byte(tmp_path: Path) -> None:
    evolving = start(tmp_path)
    once = taught(evolving, "mask", adapters(0), tmp_path, 1)
    for name in ("conv.weight", "position_ids"):
        assert b"".join(once.current.chunks(name)) == b"".join(evolving.origin.chunks(name))
    assert once.current.names == evolving.origin.names
    assert once.current.header.metadata == evolving.origin.header.metadata


def test_layers_taught_earlier_but_not_now_keep_their_exact_weight(tmp_path: Path) -> None:
    once = taught(start(tmp_path), "merge", adapters(0), tmp_path, 1)
    only = {"a.to_q.weight": adapters(9)["a.to_q.weight"]}
    twice = taught(once, "merge", only, tmp_path, 2)
    assert torch.equal(twice.weight("b.to_k.weight"), once.weight("b.to_k.weight"))
    assert not torch.equal(twice.weight("a.to_q.weight"), once.weight("a.to_q.weight"))


def test_another_strategys_memory_is_not_shown_and_not_carried(tmp_path: Path) -> None:
    once = taught(start(tmp_path), "naive", adapters(0), tmp_path, 1)
    assert once.layer(TARGETS["a.to_q.weight"], "naive").memory.keys() == {"down", "up", "alpha"}
    assert not once.layer(TARGETS["a.to_q.weight"], "mask").memory
    twice = taught(once, "mask", adapters(4), tmp_path, 2)
    assert twice.memory is not None
    assert set(twice.memory.names) == {DIGESTS, *(f"{name}::residual" for name in SHAPES)}
    assert twice.memory.header.metadata == {STRATEGY_KEY: "mask"}


@pytest.mark.parametrize("name", strategies.names())
def test_no_past_adapter_can_be_read_back(tmp_path: Path, name: str) -> None:
    """Of three concepts, no factor and no delta of the first or second is in the state.

    Looked for: every tensor and every difference between base, checkpoint and memory, and their leading
    ``RANK`` singular directions, which is what an extraction would find.
    """
    evolving = start(tmp_path)
    chain = [adapters(10 * number) for number in range(3)]
    for number, trained in enumerate(chain):
        evolving = taught(evolving, name, trained, tmp_path, number)
    kept = {**load_file(evolving.current.path), **load_file(_memory(evolving).path)}
    for key in SHAPES:
        origin = evolving.origin.read_float(key)
        tensors = [
            tensor.float() for entry, tensor in kept.items() if entry.startswith(key) and tensor.ndim == 2
        ]
        whole = [tensor - origin for tensor in tensors if tensor.shape == origin.shape]
        found = [*tensors, *whole, *(_leading(change) for change in whole)]
        for past in chain[:2]:
            secrets = (past[key].down, past[key].up, past[key].delta())
            assert all(_likeness(secret, tensor) < 0.95 for secret in secrets for tensor in found)


def test_the_search_for_past_adapters_can_find_one(tmp_path: Path) -> None:
    """The test above would be worthless if its search were blind: the *latest* naive adapter is there."""
    trained = adapters(0)
    evolving = taught(start(tmp_path), "naive", trained, tmp_path, 1)
    key = "a.to_q.weight"
    assert _likeness(trained[key].down, _memory(evolving).read(f"{key}::down")) > 0.999
    change = evolving.weight(key) - evolving.origin.read_float(key)
    assert _likeness(trained[key].delta(), _leading(change)) > 0.999


def test_stopping_while_folding_leaves_no_file(tmp_path: Path) -> None:
    evolving = start(tmp_path)
    lesson = Lesson(strategies.load("merge"), "merge", TARGETS, adapters(0))

    def stop(event: object) -> None:
        assert isinstance(event, FoldStep)
        raise Cancelled

    with pytest.raises(Cancelled):
        fold(evolving, lesson, tmp_path / "c.safetensors", tmp_path / "m.safetensors", {}, stop)
    assert [path.name for path in tmp_path.iterdir()] == ["base.safetensors"]


def _memory(evolving: Evolving) -> Checkpoint:
    assert evolving.memory is not None
    return evolving.memory


def _leading(change: Tensor) -> Tensor:
    left, values, right = torch.linalg.svd(change, full_matrices=False)
    return (left[:, :RANK] * values[:RANK]) @ right[:RANK]


def _likeness(a: Tensor, b: Tensor) -> float:
    """Cosine of two tensors of one shape, else 0."""
    if a.shape != b.shape or not a.any() or not b.any():
        return 0.0
    return abs(float((a * b).sum() / (a.norm() * b.norm())))
