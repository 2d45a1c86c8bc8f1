"""Checkpoints: written and read against the safetensors library."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from clora_ext.errors import Cancelled, CheckpointError, StorageError
from clora_ext.formats import writer as module
from clora_ext.formats.checkpoint import Checkpoint, Source, content_hash, write_checkpoint

TENSORS = {
    "half": torch.randn(3, 4).half(),
    "brain": torch.randn(5).bfloat16(),
    "single": torch.randn(2, 2, 3),
    "count": torch.arange(7),
    "flag": torch.tensor([True, False]),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
}


def sources() -> dict[str, Source]:
    return {name: Source.of(tensor) for name, tensor in TENSORS.items()}


def test_the_library_reads_what_is_written(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "x.safetensors", sources(), {"a": "b"})
    loaded = load_file(tmp_path / "x.safetensors")
    assert loaded.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)


def test_reads_what_the_library_writes(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "x.safetensors", metadata={"b": "1", "a": "2"})
    checkpoint = Checkpoint(tmp_path / "x.safetensors")
    for name, tensor in TENSORS.items():
        assert torch.equal(checkpoint.read(name), tensor)
        assert b"".join(checkpoint.chunks(name)) == tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def test_equal_content_gives_equal_bytes_and_hash(tmp_path: Path) -> None:
    one = write_checkpoint(tmp_path / "1.safetensors", sources(), {"a": "1", "b": "2"})
    backwards = dict(reversed(sources().items()))
    two = write_checkpoint(tmp_path / "2.safetensors", backwards, {"b": "2", "a": "1"})
    assert one == two
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()


def test_hash_ignores_metadata_and_the_writer_but_not_a_bit(tmp_path: Path) -> None:
    ours = write_checkpoint(tmp_path / "1.safetensors", sources(), {"a": "1"})
    save_file(TENSORS, tmp_path / "2.safetensors")
    assert content_hash(Checkpoint(tmp_path / "1.safetensors")) == ours
    assert content_hash(Checkpoint(tmp_path / "2.safetensors")) == ours
    changed = {**TENSORS, "count": torch.arange(7).roll(1)}
    save_file(changed, tmp_path / "3.safetensors")
    assert content_hash(Checkpoint(tmp_path / "3.safetensors")) != ours


def test_copies_travel_as_bytes(tmp_path: Path) -> None:
    strange = {"nan": torch.tensor([float("nan"), -0.0]), "w": torch.ones(2)}
    save_file(strange, tmp_path / "1.safetensors")
    source = Checkpoint(tmp_path / "1.safetensors")
    write_checkpoint(tmp_path / "2.safetensors", {n: Source.copy(source, n) for n in source.names}, {})
    copied = Checkpoint(tmp_path / "2.safetensors")
    assert b"".join(copied.chunks("nan")) == b"".join(source.chunks("nan"))


def test_mode_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_checkpoint(tmp_path / "x.safetensors", sources(), {})
    finally:
        os.umask(before)
    assert (tmp_path / "x.safetensors").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_values_that_do_not_fit_are_refused(tmp_path: Path, value: float) -> None:
    source = Source("F16", (1,), lambda: torch.tensor([value]))
    with pytest.raises(CheckpointError, match="'w'"):
        write_checkpoint(tmp_path / "x.safetensors", {"w": source}, {})
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "x.safetensors"
    write_checkpoint(target, sources(), {})
    before = target.read_bytes()

    def stop(done: int, total: int, name: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        write_checkpoint(target, {"w": Source.of(torch.ones(3))}, {}, on_tensor=stop)
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(StorageError, match="no space left"):
        write_checkpoint(tmp_path / "x.safetensors", sources(), {})
    assert not list(tmp_path.iterdir())


def test_eight_bit_floats_are_copied(tmp_path: Path) -> None:
    save_file({"w": torch.ones(4).to(torch.float8_e4m3fn)}, tmp_path / "1.safetensors")
    source = Checkpoint(tmp_path / "1.safetensors")
    write_checkpoint(tmp_path / "2.safetensors", {"w": Source.copy(source, "w")}, {})
    assert Checkpoint(tmp_path / "2.safetensors").info("w").dtype == "F8_E4M3"


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "x.safetensors", sources(), {})
    with pytest.raises(CheckpointError, match="'nothing'"):
        Checkpoint(tmp_path / "x.safetensors").read("nothing")


def test_bytes_do_not_depend_on_strides(tmp_path: Path) -> None:
    tensor: Tensor = torch.arange(12.0).reshape(3, 4)
    made: Any = Source("F32", (4, 3), lambda: tensor.T)
    write_checkpoint(tmp_path / "x.safetensors", {"w": made}, {})
    assert torch.equal(Checkpoint(tmp_path / "x.safetensors").read("w"), tensor.T)
