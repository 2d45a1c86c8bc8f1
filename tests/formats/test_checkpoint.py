"""Checkpoints: written and read against the safetensors library."""

import errno
import os
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each
from safetensors.torch import load_file, save_file
from torch import Tensor

from clora_ext.errors import Cancelled, CheckpointError, StorageError
from clora_ext.formats import writer as module
from clora_ext.formats.checkpoint import Checkpoint, Source, content_hash, write_checkpoint
from clora_ext.formats.spans import Span, reading

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


def test_what_the_library_writes_is_read(tmp_path: Path) -> None:
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


def test_tensors_are_copied_byte_for_byte(tmp_path: Path) -> None:
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


def test_values_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    def check(value: float) -> None:
        source = Source("F16", (1,), lambda: torch.tensor([value]))
        with pytest.raises(CheckpointError, match="'w'"):
            write_checkpoint(tmp_path / "x.safetensors", {"w": source}, {})
        assert not list(tmp_path.iterdir())

    check_each([float("nan"), float("inf"), 1e6], check)


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


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
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


def test_room_on_the_disk_is_asked_for_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.disk_usage(tmp_path)
    source = {"w": Source("F32", (300,), lambda: pytest.fail("nothing should be made"))}
    for free in (1000, 1300):
        monkeypatch.setattr(module.shutil, "disk_usage", lambda _, free=free: real._replace(free=free))
        with pytest.raises(StorageError, match=rf"1,\d+ bytes are needed, {free:,} bytes are free") as caught:
            write_checkpoint(tmp_path / "x.safetensors", source, {"note": "x" * 100})
        assert "free some space" in caught.value.fix
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: real._replace(free=1500))
    write_checkpoint(tmp_path / "x.safetensors", {"w": Source.of(torch.ones(300))}, {"note": "x" * 100})
    assert (tmp_path / "x.safetensors").stat().st_size <= 1500


def test_rows_are_read_without_the_rest(tmp_path: Path) -> None:
    kernel = torch.randn(6, 4, 3, 3).half()
    save_file({"w": kernel}, tmp_path / "x.safetensors")
    with reading() as files:
        rows = Checkpoint(tmp_path / "x.safetensors").read_rows("w", 2, 5, files)
    assert torch.equal(rows, kernel.reshape(6, -1)[2:5])


class Assembled(Checkpoint):
    """A model in pieces: `joined` lies in two places, `turned` nowhere as it is."""

    def spans(self, name: str) -> Sequence[Span] | None:
        first = self.header.tensors["joined"]
        half = first.bytes // 2
        start = self.header.data_start + first.start
        both = (Span(self.path, start + half, half), Span(self.path, start, half))
        return both if name == "joined" else None

    def read(self, name: str) -> Tensor:
        return super().read(name) if name == "joined" else torch.arange(6.0).reshape(2, 3).T.contiguous()


def test_tensors_in_pieces_and_decoded_ones_are_read_copied_and_hashed(tmp_path: Path) -> None:
    joined = torch.arange(8.0).reshape(4, 2)
    save_file({"joined": joined, "turned": torch.zeros(3, 2)}, tmp_path / "x.safetensors")
    assembled = Assembled(tmp_path / "x.safetensors")
    expected = {"joined": joined.roll(2, 0), "turned": torch.tensor([[0.0, 3], [1, 4], [2, 5]])}
    sources = {name: Source.copy(assembled, name) for name in assembled.names}
    digest = write_checkpoint(tmp_path / "y.safetensors", sources, {})
    loaded = load_file(tmp_path / "y.safetensors")
    with reading() as files:
        for name, tensor in expected.items():
            assert torch.equal(loaded[name], tensor)
            assert torch.equal(assembled.read_float(name), tensor)
            assert torch.equal(assembled.read_rows(name, 1, 3, files), tensor[1:3])
    assert digest == content_hash(assembled) == content_hash(Checkpoint(tmp_path / "y.safetensors"))


def test_a_known_digest_saves_hashing_and_a_wrong_one_is_found_by_reading_again(tmp_path: Path) -> None:
    save_file({"w": torch.ones(5)}, tmp_path / "x.safetensors")
    source = Checkpoint(tmp_path / "x.safetensors")
    right = sha256(torch.ones(5).numpy().tobytes()).hexdigest()
    for digest in (right, "00" * 32):
        told = write_checkpoint(tmp_path / "y.safetensors", {"w": Source.copy(source, "w", digest)}, {})
        found = content_hash(Checkpoint(tmp_path / "y.safetensors"))
        assert found == content_hash(source)
        assert (told == found) == (digest == right)
