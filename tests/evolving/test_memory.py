"""What is kept beside the checkpoint: enough, not more, no past adapter, and never another model's."""

from pathlib import Path

import pytest
import torch
from cases import check_each, empty_folder
from safetensors.torch import load_file, save_file
from small_folds import RANK, SHAPES, TARGETS, adapters, memory_of, start, taught
from torch import Tensor

from clora_ext import strategies
from clora_ext.errors import CheckpointError
from clora_ext.events import ignore
from clora_ext.evolving.fold import TrainedConcept, fold
from clora_ext.evolving.model import Evolving
from clora_ext.formats.checkpoint import Checkpoint, content_hash
from clora_ext.formats.memory import DIGESTS, STRATEGY_KEY


def test_another_strategys_memory_is_not_shown_and_not_carried(tmp_path: Path) -> None:
    once = taught(start(tmp_path), "naive", adapters(0), tmp_path, 1)
    assert once.layer(TARGETS["a.to_q.weight"], "naive").memory.keys() == {"down", "up", "alpha"}
    assert not once.layer(TARGETS["a.to_q.weight"], "mask").memory
    twice = taught(once, "mask", adapters(4), tmp_path, 2)
    assert twice.memory is not None
    assert set(twice.memory.names) == {DIGESTS, *(f"{name}::residual" for name in SHAPES)}
    assert twice.memory.header.metadata == {STRATEGY_KEY: "mask"}


def test_no_past_adapter_can_be_read_back(tmp_path: Path) -> None:
    """Of three concepts, no factor and no delta of the first or second is in the state.

    Looked for: every tensor and every difference between base, checkpoint and memory, and their leading
    ``RANK`` singular directions, which is what an extraction would find.
    """

    def check(name: str) -> None:
        folder = empty_folder(tmp_path)
        evolving = start(folder)
        chain = [adapters(10 * number) for number in range(3)]
        for number, trained in enumerate(chain):
            evolving = taught(evolving, name, trained, folder, number)
        kept = {**load_file(evolving.current.path), **load_file(memory_of(evolving).path)}
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

    check_each(strategies.names(), check)


def test_the_search_for_past_adapters_can_find_one(tmp_path: Path) -> None:
    """The test above would be worthless if its search were blind: the *latest* naive adapter is there."""
    trained = adapters(0)
    evolving = taught(start(tmp_path), "naive", trained, tmp_path, 1)
    key = "a.to_q.weight"
    assert _likeness(trained[key].down, memory_of(evolving).read(f"{key}::down")) > 0.999
    change = evolving.weight(key) - evolving.origin.read_float(key)
    assert _likeness(trained[key].delta(), _leading(change)) > 0.999


def test_a_memory_of_float32_weights_is_read_and_becomes_one_of_residuals(tmp_path: Path) -> None:
    """As memories were before there were residuals, and as they are for dtypes that have none."""
    before = start(tmp_path)
    exact = {name: before.weight(name) + 1e-5 for name in SHAPES}
    halves = {name: weight.half() for name, weight in exact.items()}
    rest = {name: before.current.read(name) for name in before.current.names if name not in SHAPES}
    save_file({**halves, **rest}, tmp_path / "current.safetensors")
    save_file({f"{n}::weight": w for n, w in exact.items()}, tmp_path / "memory.safetensors")
    old = Evolving(
        before.origin,
        Checkpoint(tmp_path / "current.safetensors"),
        Checkpoint(tmp_path / "memory.safetensors"),
    )
    old.check("any")
    only = {"a.to_q.weight": adapters(9)["a.to_q.weight"]}
    new = taught(old, "merge", only, tmp_path, 1)
    exact["a.to_q.weight"] += only["a.to_q.weight"].delta()
    for name, weight in exact.items():
        torch.testing.assert_close(new.weight(name), weight, rtol=0, atol=2**-40)
    assert set(memory_of(new).names) == {DIGESTS, *(f"{name}::residual" for name in SHAPES)}


def test_the_memory_keeps_only_what_the_checkpoint_lacks(tmp_path: Path) -> None:
    def check(case: tuple[torch.dtype, set[str]]) -> None:
        dtype, kept = case
        folder = empty_folder(tmp_path)
        once = taught(start(folder, dtype), "merge", adapters(0), folder, 1)
        assert set(memory_of(once).names) == {DIGESTS, *kept}

    check_each([(torch.float32, set()), (torch.float64, {f"{name}::weight" for name in SHAPES})], check)


def test_a_memory_of_another_checkpoint_is_refused(tmp_path: Path) -> None:
    once = taught(start(tmp_path), "merge", adapters(0), tmp_path, 1)
    twice = taught(once, "merge", adapters(4), tmp_path, 2)
    hashes = [content_hash(state.current) for state in (once, twice)]
    once.check(hashes[0])
    twice.check(hashes[1])
    for current, memory, digest in ((0, 1, 0), (1, 0, 1), (0, 0, 1)):
        mixed = Evolving(once.origin, (once, twice)[current].current, (once, twice)[memory].memory)
        with pytest.raises(CheckpointError, match="does not belong"):
            mixed.check(hashes[digest])
    tensors = {name: tensor for name, tensor in load_file(memory_of(once).path).items() if name != DIGESTS}
    save_file(tensors, tmp_path / "stripped.safetensors")
    with pytest.raises(CheckpointError, match="does not belong"):
        Evolving(once.origin, once.current, Checkpoint(tmp_path / "stripped.safetensors")).check(hashes[0])
    tensors["a.to_q.weight::residual"] = torch.zeros(3, 3, dtype=torch.int16)
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="does not belong"):
        Evolving(once.origin, once.current, Checkpoint(tmp_path / "other.safetensors")).weight(
            "a.to_q.weight"
        )


def test_bytes_that_changed_on_the_disk_are_found_when_the_new_file_is_read(tmp_path: Path) -> None:
    """What is copied is not hashed again: its known digest must not match bytes that have changed."""
    once = taught(start(tmp_path), "merge", adapters(0), tmp_path, 1)
    info, path = once.current.info("position_ids"), once.current.path
    content = bytearray(path.read_bytes())
    content[once.current.header.data_start + info.start] ^= 1
    path.write_bytes(content)
    concept = TrainedConcept(strategies.load("merge"), "merge", TARGETS, adapters(3))
    new = tmp_path / "new.safetensors"
    digest = fold(once, concept, new, tmp_path / "m.safetensors", {}, ignore)
    assert content_hash(Checkpoint(new)) != digest


def _leading(change: Tensor) -> Tensor:
    left, values, right = torch.linalg.svd(change, full_matrices=False)
    return (left[:, :RANK] * values[:RANK]) @ right[:RANK]


def _likeness(a: Tensor, b: Tensor) -> float:
    """Cosine of two tensors of one shape, else 0."""
    if a.shape != b.shape or not a.any() or not b.any():
        return 0.0
    return abs(float((a * b).sum() / (a.norm() * b.norm())))
